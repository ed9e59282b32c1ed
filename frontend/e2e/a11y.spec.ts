import axe from 'axe-core';
import { expect, test } from './play.ts';

const PAGES = [
  '',
  'boards/KAN',
  'boards/WEB',
  'boards/KAN/settings',
  'boards/KAN/cards/1',
  'boards/KAN/cards/3',
  'boards/KAN/cards/13?tab=changes&wide=true',
  'boards/KAN/cards/1?tab=log',
  'inbox',
  'agents',
  'system',
  'login',
];

for (const scheme of ['light', 'dark'] as const) {
  test(`axe finds nothing in ${scheme}`, async ({ browser, played }) => {
    test.setTimeout(120_000);
    // The page's own policy forbids foreign scripts; axe is one.
    const context = await browser.newContext({
      bypassCSP: true,
      colorScheme: scheme,
      reducedMotion: 'reduce',
      viewport: { width: 1440, height: 900 },
    });
    const page = await context.newPage();
    const found: string[] = [];
    for (const path of PAGES) {
      await page.goto(played.url + path);
      await page.getByRole('heading').first().waitFor();
      await page.waitForTimeout(400);
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() =>
        (window as unknown as { axe: typeof axe }).axe.run(document, { resultTypes: ['violations'] }),
      );
      for (const each of violations)
        for (const node of each.nodes.slice(0, 3))
          found.push(`${path || '/'}: ${each.id} ${node.target} ${node.any[0]?.message ?? ''}`);
    }
    await context.close();
    expect(found).toEqual([]);
  });
}
