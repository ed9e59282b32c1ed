import { test as plain } from '@playwright/test';
import { crowd, seed, update } from '../mock/seed.ts';
import { serve } from '../mock/server.ts';
import { column, DIST, expect } from './play.ts';

/** A frame of sixty a second has 16.7 ms; on a busy machine of two cores three of them may pass at the median. */
const BUDGET_MS = 50;

const frames = (selector: string) => `new Promise((resolve) => {
  const element = document.querySelector(${JSON.stringify(selector)});
  const times = []; let last = performance.now(); let n = 0;
  const step = () => {
    const now = performance.now(); times.push(now - last); last = now;
    element.scrollTop += 400;
    if (++n < 60) requestAnimationFrame(step); else resolve(times.sort((a, b) => a - b)[30]);
  };
  requestAnimationFrame(step);
})`;

plain('a thousand cards scroll smoothly, and few of them are drawn', async ({ page }) => {
  const db = seed();
  crowd(db, 1_200);
  const played = await serve(DIST, { db });
  await page.goto(`${played.url}boards/BIG`);
  await column(page, 'To do').locator('[data-card]').first().waitFor();
  expect(await page.locator('[data-card]').count()).toBeLessThan(200);
  const median = Number(await page.evaluate(frames('[data-column="To do"] [role=list]')));
  console.log(`median frame while scrolling 1,200 cards: ${median.toFixed(1)} ms`);
  expect(median).toBeLessThan(BUDGET_MS);
  await played.close();
});

plain('a transcript of a hundred thousand events is drawn, scrolls, and takes more', async ({ page }) => {
  plain.setTimeout(120_000);
  const db = seed();
  const task = db.task('KAN-1');
  for (let i = 0; i < 100_000; i++) {
    if (i % 20 === 19)
      update(db, task, {
        sessionUpdate: 'tool_call',
        toolCallId: `t${i}`,
        title: `Step ${i}`,
        kind: 'read',
        status: 'completed',
      });
    else
      update(db, task, {
        sessionUpdate: 'agent_message_chunk',
        messageId: `m${Math.floor(i / 20)}`,
        content: { type: 'text', text: 'some words of a long answer ' },
      });
  }
  const played = await serve(DIST, { db });
  const begun = Date.now();
  await page.goto(`${played.url}boards/KAN/cards/1`);
  await page.getByText('Step 99999').waitFor();
  console.log(`the newest of 100,000 events is on the page after ${Date.now() - begun} ms`);
  await page.getByRole('log').evaluate((element) => element.scrollTo(0, 0));
  const more = page.getByRole('button', { name: 'Show what came before' });
  await more.click();
  await expect(more).toBeVisible({ timeout: 20_000 });
  const median = Number(await page.evaluate(frames('[role=log]')));
  console.log(`median frame while scrolling the transcript: ${median.toFixed(1)} ms`);
  expect(median).toBeLessThan(BUDGET_MS);
  await played.close();
});
