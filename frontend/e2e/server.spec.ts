import { expect, type Page, test } from '@playwright/test';
import { BINARY, Front, isThere } from './front.ts';
import { card, column } from './play.ts';

test.describe.configure({ mode: 'serial' });
test.skip(!isThere, `there is no ${BINARY}: build it, or name one in KANVOY_BIN`);

const front = new Front();
test.beforeAll(() => front.start());
test.afterAll(() => front.end());

async function enter(page: Page) {
  await page.goto(front.url);
  await page.getByText('I have a token').click();
  await page.getByLabel('Token').fill(front.token());
  await page.getByRole('button', { name: 'Enter' }).click();
  await page.getByRole('heading', { name: 'Boards' }).waitFor();
}

test('a token opens the door; a board and its cards are made', async ({ page }) => {
  await enter(page);
  await page
    .getByRole('button', { name: /New board|Make the first board/ })
    .first()
    .click();
  await page.getByLabel('Name', { exact: true }).fill('Real');
  await page.getByLabel('Key', { exact: true }).fill('REAL');
  await page.getByRole('button', { name: 'Make the board' }).click();
  await expect(page.getByText('Real has no cards yet')).toBeVisible();
  await page.getByRole('button', { name: 'Add example cards' }).click();
  await expect(card(page, 'Drag me to In progress')).toBeVisible();
});

test('drag by mouse and by keys, others see it, and edits are kept', async ({ page, browser }) => {
  await enter(page);
  await page.goto(`${front.url}boards/REAL`);
  await card(page, 'Drag me').dragTo(column(page, 'In progress').getByRole('list'), {
    targetPosition: { x: 60, y: 200 },
  });
  await expect(column(page, 'In progress')).toContainText('Drag me');
  await expect.poll(async () => (await front.api<{ state: string }>('GET', 'tasks/REAL-1')).state).toBe('IN_PROGRESS');

  const other = await browser.newPage();
  await enter(other);
  await other.goto(`${front.url}boards/REAL`);
  await expect(column(other, 'In progress')).toContainText('Drag me');
  await card(page, 'Drag me').getByRole('link').focus();
  await page.keyboard.press('Alt+ArrowRight');
  await expect(column(other, 'Review')).toContainText('Drag me', { timeout: 2_000 });

  await card(page, 'Drag me').getByRole('link').click();
  await page.keyboard.press('e');
  await page.getByLabel('Title', { exact: true }).fill('Dragged');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(column(other, 'Review')).toContainText('Dragged', { timeout: 2_000 });
  await page.getByRole('tab', { name: 'Event log' }).click();
  await expect(page.getByText('Changed: title')).toBeVisible();
  await other.close();
});

test('the daemon is killed and comes back; nothing is missing', async ({ page }) => {
  await enter(page);
  await page.goto(`${front.url}boards/REAL`);
  await expect(column(page, 'Review')).toContainText('Dragged');
  await front.kill();
  await expect(page.getByText('The connection is lost')).toBeVisible({ timeout: 5_000 });
  await front.serve();
  await front.api('POST', 'boards/REAL/tasks', { title: 'After the fall' });
  await expect(column(page, 'To do')).toContainText('After the fall', { timeout: 20_000 });
  await expect(page.getByText('The connection is lost')).toBeHidden();
});

test('columns, filters, archive and the pages that wait for agents', async ({ page }) => {
  await enter(page);
  await page.goto(`${front.url}boards/REAL/settings`);
  await page.getByRole('tab', { name: 'Columns' }).click();
  await page.getByLabel('Limit of To do').fill('1');
  await page.getByLabel('Limit of To do').blur();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toBeHidden();
  await expect(column(page, 'To do')).toContainText('/ 1');
  await page.getByLabel('Search this board').fill('fall');
  await expect(page.locator('[data-card]')).toHaveCount(1);
  await card(page, 'After the fall')
    .getByRole('button', { name: /Actions/ })
    .click();
  await page.getByRole('menuitem', { name: 'Archive' }).click();
  await expect(page.locator('[data-card]')).toHaveCount(0);
  await page.keyboard.press('z');
  await expect(page.locator('[data-card]')).toHaveCount(1);
  for (const [path, text] of [
    ['inbox', 'No agents, no questions'],
    ['agents', 'does not run agents yet'],
    ['system', 'Health'],
  ] as const) {
    await page.goto(front.url + path);
    await expect(page.getByText(text).first()).toBeVisible();
  }
});
