import { expect, test } from './play.ts';

test('answered with a key, gone everywhere', async ({ page, context, played }) => {
  const other = await context.newPage();
  await other.goto(`${played.url}boards/KAN/cards/3`);
  await expect(other.getByRole('region', { name: 'Waits for you' })).toContainText('openssl genpkey');
  await page.goto(`${played.url}inbox`);
  await expect(page).toHaveTitle(/^\(3\)/);
  await expect(page.getByText('openssl genpkey')).toBeVisible();
  await page.keyboard.press('1');
  await expect(page.getByText('openssl genpkey')).toBeHidden();
  await expect(other.getByText('openssl genpkey')).toBeHidden();
  await expect(page).toHaveTitle(/^\(2\)/);
  expect([...played.db.requests.values()][0]?.answer).toMatchObject({ option_id: 'once' });
});

test('a late answer says who was first', async ({ page, played }) => {
  await page.goto(`${played.url}inbox`);
  await expect(page.getByText('openssl genpkey')).toBeVisible();
  const request = [...played.db.requests.values()][0];
  if (!request) throw new Error('nothing is asked');
  request.state = 'resolved';
  request.answer = { option_id: 'no', by: 'ada', at: '' };
  await page.getByRole('button', { name: /Allow once/ }).click();
  await expect(page.getByText('ada answered first')).toBeVisible();
});
