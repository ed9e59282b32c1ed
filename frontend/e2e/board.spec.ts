import { card, column, expect, test } from './play.ts';

test('a card goes over by mouse, and comes back by undo', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await expect(card(page, 'Say in the readme')).toBeVisible();
  await card(page, 'Say in the readme').dragTo(card(page, 'Teach the parser'), { targetPosition: { x: 60, y: 4 } });
  await expect(column(page, 'In progress').locator('[data-card]').first()).toContainText('Say in the readme');
  await expect(page.getByText('KAN-6 moved to In progress')).toBeVisible();
  expect(played.db.task('KAN-6').state).toBe('IN_PROGRESS');
  await page.keyboard.press('z');
  await expect(column(page, 'To do')).toContainText('Say in the readme');
  await expect.poll(() => played.db.task('KAN-6').state).toBe('TODO');
});

test('a column that may not take the card says why, and the card stays', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await card(page, 'Teach the parser').dragTo(column(page, 'To do').getByRole('list'), {
    targetPosition: { x: 60, y: 400 },
  });
  await expect(page.getByText('Stop the run first').last()).toBeVisible();
  expect(played.db.task('KAN-1').state).toBe('IN_PROGRESS');
});

test('the keyboard alone walks, carries, selects and opens', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await expect(card(page, 'Paginate')).toBeVisible();
  await page.keyboard.press('j');
  await page.keyboard.press('l');
  await expect(card(page, 'Login fails').getByRole('link')).toBeFocused();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await expect(card(page, 'Say in the readme').getByRole('link')).toBeFocused();
  await page.keyboard.press('Alt+ArrowUp');
  await expect(column(page, 'To do').locator('[data-card]').nth(1)).toContainText('Say in the readme');
  await page.keyboard.press('Alt+ArrowLeft');
  await expect(column(page, 'Backlog')).toContainText('Say in the readme');
  await expect(card(page, 'Say in the readme').getByRole('link')).toBeFocused();
  await expect(page.locator('#announcements')).toContainText('Backlog');
  await page.keyboard.press('x');
  await expect(page.getByRole('toolbar')).toContainText('1 card');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('complementary')).toContainText('KAN-6');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('complementary')).toBeHidden();
});

test('cards are added one after another, and with every field', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await page.getByRole('button', { name: 'Add a card to Backlog' }).click();
  await page.keyboard.type('First thought');
  await page.keyboard.press('Enter');
  await page.keyboard.type('Second thought');
  await page.keyboard.press('Enter');
  await expect(column(page, 'Backlog')).toContainText('Second thought');
  await page.keyboard.press('Escape');
  await page.keyboard.press('c');
  await page.getByLabel('Title').fill('With everything');
  await page.getByLabel('Description').fill('**bold**');
  await page.getByLabel('Labels').fill('one, two');
  await page.getByRole('button', { name: 'Add card' }).click();
  await expect(page.getByRole('complementary')).toContainText('With everything');
  expect(played.db.task('KAN-23').labels).toEqual(['one', 'two']);
});

test('filters live in the address', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN?label=bug&needs=me`);
  await expect(page.locator('[data-card]')).toHaveCount(1);
  await page.getByRole('button', { name: 'Without Needs me' }).click();
  await expect(page.locator('[data-card]')).toHaveCount(3);
  await page.keyboard.press('/');
  await page.keyboard.type('login fails');
  await expect(page.locator('[data-card]')).toHaveCount(1);
  await expect(page).toHaveURL(/q=login/);
});

test('what somebody else does appears', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await expect(card(page, 'Login fails')).toBeVisible();
  played.db.createTask('KAN', { title: 'From elsewhere' });
  await expect(column(page, 'To do')).toContainText('From elsewhere', { timeout: 1_000 });
  played.db.updateTask('KAN-4', { title: 'Renamed elsewhere' });
  await expect(column(page, 'To do')).toContainText('Renamed elsewhere', { timeout: 1_000 });
  played.db.setState('KAN-4', 'COMPLETED');
  await expect(column(page, 'Done')).toContainText('Renamed elsewhere', { timeout: 1_000 });
});

test('a lost connection is said, and nothing is missing afterwards', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await expect(card(page, 'Login fails')).toBeVisible();
  await page.route('**/stream*', (route) => route.abort());
  await page.waitForTimeout(200);
  played.hangUp();
  await expect(page.getByText('The connection is lost')).toBeVisible({ timeout: 3_000 });
  played.db.createTask('KAN', { title: 'While nobody listened' });
  await expect(column(page, 'To do')).toContainText('While nobody listened', { timeout: 8_000 });
  await expect(page.getByText('The connection is lost')).toBeHidden();
});

test('the palette finds cards, and the sheet names every key', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN`);
  await expect(card(page, 'Login fails')).toBeVisible();
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').fill('rotate');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('complementary')).toContainText('Rotate signing keys');
  await page.keyboard.press('?');
  await expect(page.getByRole('dialog')).toContainText('Move the card up');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toBeHidden();
  await page.keyboard.press('g');
  await page.keyboard.press('i');
  await expect(page.getByRole('heading', { name: 'Inbox' })).toBeVisible();
});

test('an empty board explains itself', async ({ page, played }) => {
  await page.goto(`${played.url}boards/WEB`);
  await expect(page.getByText('Website has no cards yet')).toBeVisible();
  await page.getByRole('button', { name: 'Show me with the demo agent' }).click();
  await expect(card(page, 'Watch the demo agent work')).toBeVisible();
});

test('columns are changed in the settings', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/settings`);
  await page.getByRole('tab', { name: 'Columns' }).click();
  await page.getByLabel('Limit of To do').fill('2');
  await page.getByLabel('Limit of To do').blur();
  await expect.poll(() => played.db.board('KAN').columns[1]?.wip_limit).toBe(2);
  await page.getByRole('button', { name: 'Remove Done' }).click();
  await expect(page.getByRole('alert')).toContainText('COMPLETED');
  await page.keyboard.press('Escape');
  await expect(column(page, 'To do')).toContainText('4 / 2');
});
