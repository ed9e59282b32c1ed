import { expect, test } from './play.ts';

test('the transcript is drawn as it grows, and stays where one reads', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/cards/1`);
  const log = page.getByRole('log');
  await expect(log.getByText('is_code').first()).toBeVisible();
  const task = played.db.task('KAN-1');
  played.says(task, 'And here is what comes next.');
  await expect(log.getByText('And here is what comes next.')).toBeInViewport();
  await log.evaluate((element) => element.scrollTo(0, 0));
  await expect(page.getByRole('button', { name: 'To the newest' })).toBeVisible();
  for (let i = 0; i < 20; i++)
    played.update(played.db, task, {
      sessionUpdate: 'tool_call',
      toolCallId: `n${i}`,
      title: `Step ${i}`,
      kind: 'read',
      status: 'completed',
    });
  await expect(page.getByRole('button', { name: /new items/ })).toBeVisible();
  expect(await log.evaluate((element) => element.scrollTop)).toBe(0);
  await page.getByRole('button', { name: /new items/ }).click();
  await expect(log.getByText('Step 19')).toBeInViewport();
});

test('one says something, stops, and retries', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/cards/2`);
  await page.getByLabel('What to tell the agent next').fill('Use the cache');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('log').getByText('You said: Use the cache')).toBeVisible();
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await expect(page.getByRole('button', { name: 'Cancelled' })).toBeVisible();
  await page.getByRole('button', { name: 'Retry' }).click();
  await expect.poll(() => played.db.task('KAN-2').state).toBe('IN_PROGRESS');
});

test('a failed card says why', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/cards/19`);
  await expect(page.getByRole('note')).toContainText('killed at its limit');
  await expect(page.getByRole('note')).toContainText('exit code 137');
});

test('two who edit at once are told, and neither is lost', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/cards/6`);
  await expect(page.getByRole('heading', { name: /Say in the readme/ })).toBeVisible();
  await page.keyboard.press('e');
  await page.getByLabel('Title', { exact: true }).fill('Mine');
  played.db.updateTask('KAN-6', { title: 'Theirs' });
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('Somebody changed this card while you wrote')).toBeVisible();
  await page.getByText('What it says now').click();
  await expect(page.getByRole('alert')).toContainText('Theirs');
  await page.getByRole('button', { name: 'Keep mine' }).click();
  await expect(page.getByRole('heading', { name: 'Mine' })).toBeVisible();
});

test('the log names causes', async ({ page, played }) => {
  await page.goto(`${played.url}boards/KAN/cards/1?tab=log`);
  await expect(page.getByRole('button', { name: /because of/ }).first()).toBeVisible();
});

test.describe('on a server without agents', () => {
  test.use({
    options: {
      without:
        /^(orchestrator\/tasks\/[^/]+\/(status|start)|orchestrator\/queue|agents|requests|users|tokens|secrets|tasks\/[^/]+\/workspace)/,
    },
  });
  test('the pages explain themselves', async ({ page, played }) => {
    await page.goto(`${played.url}boards/KAN/cards/6`);
    await expect(page.getByText('This server does not run agents yet').first()).toBeVisible();
    await page.goto(`${played.url}inbox`);
    await expect(page.getByText('No agents, no questions')).toBeVisible();
    await page.goto(`${played.url}agents`);
    await expect(page.getByText('This server does not run agents yet')).toBeVisible();
    await page.goto(`${played.url}system`);
    await expect(page.getByText('database')).toBeVisible();
  });
});

test.describe('locked', () => {
  test.use({ options: { locked: true } });
  test('one logs in and comes to where one wanted', async ({ page, played }) => {
    await page.goto(`${played.url}boards/KAN?label=bug`);
    await page.getByLabel('Name').fill('admin');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await expect(page.getByRole('alert')).toContainText('do not fit');
    await page.getByLabel('Password').fill('open sesame');
    await page.getByRole('button', { name: 'Log in' }).click();
    await expect(page).toHaveURL(/boards\/KAN\?label=bug/);
    await expect(page.locator('[data-card]')).toHaveCount(3);
  });
});
