import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Problem } from './api/client';
import { Live } from './api/live';
import { setStream } from './api/queries';
import './app.css';
import './lib/theme';
import { makeRouter } from './routes';

const cache = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // What the server refuses it will refuse again.
      retry: (count, error) =>
        error instanceof Problem && error.status !== 0 && error.status < 500 ? false : count < 3,
      refetchOnWindowFocus: false,
    },
    mutations: { networkMode: 'always' },
  },
});
const live = new Live(cache);
setStream(live);
const router = makeRouter({ cache, live });

// A page that was open while the binary was replaced asks for parts that are gone: it is read anew, once.
addEventListener('vite:preloadError', (event) => {
  const key = 'kanvoy.reloaded';
  if (Date.now() - Number(sessionStorage.getItem(key) ?? 0) < 30_000) return;
  sessionStorage.setItem(key, String(Date.now()));
  event.preventDefault();
  location.reload();
});

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={cache}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}
