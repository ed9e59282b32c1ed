import { expect, test } from './play.ts';

const PAYLOADS = [
  '<img src=x onerror=alert(1)>',
  '<script>alert(1)</script>',
  '<svg/onload=alert(1)>',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
  '<a href="javascript:alert(1)">x</a>',
  '[x](javascript:alert(1))',
  '[x](data:text/html,<script>alert(1)</script>)',
  '[x]: javascript:alert(1)\n\n[x]',
  '![x](https://evil.example/leak.png)',
  '![x](https://evil.example/"onerror="alert(1))',
  '<style>@import url(https://evil.example/x.css)</style>',
  '<link rel=stylesheet href=https://evil.example/x.css>',
  '<base href=https://evil.example/>',
  '<form action=https://evil.example/><button>x</button></form>',
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
  '</title><script>alert(1)</script>',
  '"><script>alert(1)</script>',
  "';alert(1)//",
  '{{constructor.constructor("alert(1)")()}}',
  '<object data=https://evil.example/x></object>',
  '<video src=https://evil.example/x onerror=alert(1)>',
  '<details open ontoggle=alert(1)>x</details>',
  '<https://evil.example/><img src=https://evil.example/y>',
  '\u202e\u200bgnp.exe',
];

test('text is text, wherever it is drawn', async ({ page, played }) => {
  test.setTimeout(60_000);
  const outside: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(`http://127.0.0.1:${played.port}`)) outside.push(request.url());
  });
  let dialogs = 0;
  page.on('dialog', (dialog) => {
    dialogs++;
    void dialog.dismiss();
  });
  const all = PAYLOADS.join('\n\n');
  const task = played.db.task('KAN-1');
  for (const payload of PAYLOADS)
    played.db.createTask('KAN', {
      title: payload,
      description: payload,
      labels: [payload.slice(0, 60)],
      external_ref: payload,
      agent_type: payload,
    });
  played.db.updateTask('KAN-1', {
    title: PAYLOADS[0],
    description: all,
    failure: { code: all, detail: all, stderr_tail: all },
    waiting: [{ code: all, detail: all }],
  });
  task.live = { note: all, percent: 5, cost: null };
  for (const payload of PAYLOADS) {
    played.says(task, `${payload}\n\n`);
    const id = payload;
    played.update(played.db, task, {
      sessionUpdate: 'tool_call',
      toolCallId: id,
      title: payload,
      kind: payload,
      status: payload,
      rawInput: { command: payload },
      content: [
        { type: 'content', content: { type: 'text', text: payload } },
        { type: 'diff', path: payload, oldText: 'a', newText: payload },
      ],
    });
    played.update(played.db, task, {
      sessionUpdate: 'plan',
      entries: [{ content: payload, priority: payload, status: 'pending' }],
    });
    played.db.emit(task.board_id, 'agent.log', { text: payload }, { task_id: task.id });
    played.db.openRequest({
      kind: 'permission',
      board_id: task.board_id,
      task_id: task.id,
      run_id: null,
      title: payload,
      detail: payload,
      tool_call: {
        toolCallId: payload,
        title: payload,
        rawInput: { command: payload, cwd: payload },
        content: [{ type: 'diff', path: payload, oldText: '', newText: payload }],
      },
      options: [{ option_id: payload, name: payload, kind: 'allow_once' }],
      expires_at: null,
    });
  }
  played.db.createBoard({ name: PAYLOADS[0], key: 'XSS', description: all });
  for (const path of [
    '',
    'boards/KAN',
    'boards/KAN/cards/1',
    'boards/KAN/cards/1?tab=log',
    'boards/KAN/cards/21',
    'inbox',
    'boards/XSS',
    'boards/XSS/settings',
    `boards/KAN?q=${encodeURIComponent(PAYLOADS[0] ?? '')}&label=${encodeURIComponent(PAYLOADS[1] ?? '')}`,
  ]) {
    await page.goto(played.url + path);
    await page.getByRole('heading').first().waitFor();
    await page.waitForTimeout(500);
    expect(
      await page
        .locator(
          '#root :is(script, iframe, object, embed, style, link, base, form[action], img:not([src$="icon.svg"]), video, [onerror], [onload], [ontoggle], a[href^="javascript:"], a[href^="data:"])',
        )
        .count(),
      path,
    ).toBe(0);
  }
  expect(dialogs).toBe(0);
  expect(outside).toEqual([]);
  await page.goto(`${played.url}inbox`);
  await expect(page.getByText('⟨U+202E⟩⟨U+200B⟩gnp.exe').first()).toBeVisible();
});
