import { fileURLToPath } from 'node:url';
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const SERVER = process.env.KANVOY_SERVER;

/** In development every page is served at its own depth, so the base is the root; in the binary the server writes it. */
function rootBase(): Plugin {
  return {
    name: 'kanvoy-root-base',
    apply: 'serve',
    transformIndexHtml: (html) => html.replace('<base href="./" />', '<base href="/" />'),
  };
}

/** `npm run dev` needs no server: without KANVOY_SERVER the API is played by mock/. */
function playedServer(): Plugin {
  return {
    name: 'kanvoy-mock',
    apply: 'serve',
    async configureServer(vite) {
      if (SERVER || process.env.VITEST) return;
      const { attach } = await import('./mock/server.ts');
      if (vite.httpServer) attach(vite.httpServer, vite.middlewares);
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [react(), tailwindcss(), rootBase(), playedServer()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  server: {
    host: '127.0.0.1',
    port: 5173,
    proxy: SERVER
      ? Object.fromEntries(
          ['/api', '/login/', '/healthz', '/readyz'].map((path) => [path, { target: SERVER, ws: true }]),
        )
      : {},
  },
  build: { target: 'es2022', modulePreload: { polyfill: false }, assetsInlineLimit: 0, reportCompressedSize: false },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}', 'mock/**/*.test.ts'] },
});
