import { fileURLToPath } from 'node:url';
import { test as base, expect, type Page } from '@playwright/test';
import { type Options, serve } from '../mock/server.ts';

export const DIST = fileURLToPath(new URL('../dist', import.meta.url));

type Played = Awaited<ReturnType<typeof serve>>;

/** Every test has a server of its own, below a path, with the policy of the binary; what the page complains of fails it. */
export const test = base.extend<{ options: Options; played: Played; complaints: string[] }>({
  options: [{}, { option: true }],
  played: async ({ options }, use) => {
    const played = await serve(DIST, { ...options, prefix: '/team/kanvoy' });
    await use(played);
    await played.close();
  },
  complaints: [
    async ({ page }, use) => {
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error' && !/WebSocket|Failed to load resource|ERR_CONNECTION/.test(message.text()))
          complaints.push(message.text());
      });
      await use(complaints);
      expect(complaints).toEqual([]);
    },
    { auto: true },
  ],
});

export const card = (page: Page, title: string | RegExp) => page.locator('[data-card]').filter({ hasText: title });
export const column = (page: Page, name: string) => page.locator(`[data-column="${name}"]`);
export { expect };
