import { card, expect, test } from './play.ts';

test('comments on lines become the next prompt', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/cards/13?tab=changes`);
  await expect(page.getByText('a_password_is_refused')).toBeVisible();
  await page.getByRole('button', { name: 'Comment on line 17' }).click();
  await page.getByLabel('Comment on this line').fill('What about a user name alone?');
  await page.getByRole('button', { name: 'Comment', exact: true }).click();
  await page.getByRole('button', { name: 'Side by side' }).click();
  await expect(page.getByText('What about a user name alone?')).toBeVisible();
  await page.getByRole('button', { name: 'Ask for these changes' }).click();
  await expect(page.getByText('1 comment sent')).toBeVisible();
  await page.getByRole('tab', { name: 'Activity' }).click();
  await expect(page.getByRole('log').getByText('line 17').first()).toBeVisible();
});

test('approved work is done', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/cards/13?tab=changes`);
  await page.getByRole('button', { name: 'Approve' }).click();
  await expect.poll(() => played.db.task('KAN-13').state).toBe('COMPLETED');
  await expect(card(page, 'Refuse a repository')).toHaveCount(1);
});
