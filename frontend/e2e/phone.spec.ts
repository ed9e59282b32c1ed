import { card, column, expect, test } from './play.ts';

test('one column a screen, the card over all of it, big answers', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  const width = page.viewportSize()?.width ?? 0;
  const box = await column(page, 'Backlog').boundingBox();
  expect(box?.width).toBeGreaterThan(width * 0.8);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  await card(page, 'Paginate').getByRole('link').click();
  const panel = await page.getByRole('complementary').boundingBox();
  expect(panel).toMatchObject({ x: 0, width });
  await page.getByRole('button', { name: 'Back to the board' }).click();
  await expect(page.getByRole('complementary')).toBeHidden();
  await page.getByRole('link', { name: /Inbox/ }).click();
  const allow = await page.getByRole('button', { name: /Allow once/ }).boundingBox();
  expect(allow?.height).toBeGreaterThanOrEqual(40);
});

test('a card is moved without dragging', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await card(page, 'Paginate')
    .getByRole('button', { name: /Actions/ })
    .click();
  await page.getByRole('menuitem', { name: 'Move to…' }).click();
  await page.getByRole('menuitem', { name: 'To do' }).click();
  await expect.poll(() => played.db.task('KAN-8').state).toBe('TODO');
});
