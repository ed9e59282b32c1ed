/** Pictures of every page: `npm run shots`, then look at shots/. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Page, test } from '@playwright/test';
import { serve } from '../mock/server.ts';
import { DIST } from './play.ts';

const OUT = fileURLToPath(new URL('../shots/', import.meta.url));
const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 1440, height: 900 },
  { name: 'dark', colorScheme: 'dark', width: 1440, height: 900 },
  { name: 'phone', colorScheme: 'light', width: 390, height: 844 },
  { name: 'phone-dark', colorScheme: 'dark', width: 390, height: 844 },
] as const;

const PAGES: [string, string, ((page: Page) => Promise<unknown>)?][] = [
  ['boards', ''],
  ['board', 'boards/KAN'],
  ['board-grouped', 'boards/KAN?group=agent&priority=urgent&priority=high&priority=normal'],
  ['first-run', 'boards/WEB'],
  ['card', 'boards/KAN/cards/1', (page) => page.getByText('Found it').waitFor()],
  ['card-wide', 'boards/KAN/cards/1?wide=true', (page) => page.getByText('Found it').waitFor()],
  [
    'card-asks',
    'boards/KAN/cards/3',
    (page) => page.getByText('Another answer').or(page.getByPlaceholder('Another answer')).first().waitFor(),
  ],
  ['card-failed', 'boards/KAN/cards/19'],
  ['review', 'boards/KAN/cards/13?tab=changes&wide=true', (page) => page.getByText('a_password_is_refused').waitFor()],
  ['log', 'boards/KAN/cards/1?tab=log'],
  ['inbox', 'inbox', (page) => page.getByText('Allow once').waitFor()],
  ['agents', 'agents', (page) => page.getByText('Agent types').waitFor()],
  ['system', 'system'],
  ['settings', 'boards/KAN/settings', (page) => page.getByRole('tab', { name: 'Columns' }).click()],
  [
    'new-card',
    'boards/KAN',
    async (page) => {
      await page.locator('[data-card]').first().waitFor();
      await page.keyboard.press('c');
      await page.getByRole('dialog').waitFor();
    },
  ],
  [
    'palette',
    'boards/KAN',
    async (page) => {
      await page.locator('[data-card]').first().waitFor();
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').fill('log');
      await page.waitForTimeout(300);
    },
  ],
  [
    'help',
    'boards/KAN',
    async (page) => {
      await page.locator('[data-card]').first().waitFor();
      await page.keyboard.press('?');
      await page.getByRole('dialog').waitFor();
    },
  ],
];

for (const { name, colorScheme, width, height } of LOOKS) {
  test(name, async ({ browser }) => {
    test.setTimeout(180_000);
    mkdirSync(OUT, { recursive: true });
    const played = await serve(DIST, { prefix: '/kanvoy' });
    const context = await browser.newContext({
      colorScheme,
      viewport: { width, height },
      reducedMotion: 'reduce',
      hasTouch: width < 500,
      isMobile: width < 500,
    });
    const page = await context.newPage();
    page.on('console', (message) => message.type() === 'error' && console.log(name, message.text()));
    page.on('pageerror', (error) => console.log(name, error.message));
    for (const [file, path, ready] of PAGES) {
      if (process.env.ONLY && !process.env.ONLY.split(',').includes(file)) continue;
      await page.goto(played.url + path);
      await page.getByRole('heading').first().waitFor();
      await ready?.(page).catch((error) => console.log(name, file, String(error).split('\n')[0]));
      await page.waitForTimeout(350);
      await page.screenshot({ path: `${OUT}${file}-${name}.png` });
    }
    await context.close();
    await played.close();
    if (process.env.ONLY && !process.env.ONLY.includes('login')) return;
    const locked = await serve(DIST, { locked: true });
    const other = await browser.newPage({ colorScheme, viewport: { width, height } });
    await other.goto(locked.url);
    await other.getByRole('button', { name: 'Log in' }).waitFor();
    await other.screenshot({ path: `${OUT}login-${name}.png` });
    await other.close();
    await locked.close();
  });
}
