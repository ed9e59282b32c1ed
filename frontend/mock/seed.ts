/** A week of work, as one would find it: cards in every state, an agent in the middle of a turn, questions that wait. */
import { randomUUID } from 'node:crypto';
import type { Priority, State, Task } from '../src/api/types.ts';
import { Db } from './db.ts';

type Row = [
  title: string,
  state: State,
  priority: Priority,
  agent: string | null,
  labels: string[],
  more?: Partial<Task>,
];

const ROWS: Row[] = [
  [
    'Teach the parser about tabs in indented blocks',
    'IN_PROGRESS',
    'high',
    'claude-code',
    ['parser', 'bug'],
    {
      live: { note: 'Running cargo test -p parser', percent: 62, cost: 0.84 },
      attempts: 1,
    },
  ],
  [
    'Stream container stats over the existing socket',
    'IN_PROGRESS',
    'normal',
    'codex',
    ['engine'],
    {
      live: { note: 'Reading crates/engine/src/feed.rs', percent: null, cost: 0.21 },
      attempts: 2,
    },
  ],
  [
    'Rotate signing keys without logging everybody out',
    'IN_PROGRESS',
    'urgent',
    'claude-code',
    ['auth', 'security'],
    { live: { note: 'Asks to run a command', percent: null, cost: 1.37 }, attempts: 1 },
  ],
  [
    'Login fails behind a proxy that strips cookies',
    'TODO',
    'urgent',
    'claude-code',
    ['auth', 'bug'],
    { waiting: [{ code: 'cap_reached', detail: '3 of 3 runs are busy on this board' }] },
  ],
  [
    'Export a board with its log as NDJSON',
    'TODO',
    'normal',
    'gemini',
    ['api'],
    { waiting: [{ code: 'blocked', detail: 'waits for KAN-1' }] },
  ],
  ['Say in the readme how to run behind a sub-path', 'TODO', 'low', null, ['docs']],
  ['Measure the cost of a chunk from line to browser', 'TODO', 'normal', 'codex', ['performance']],
  ['Paginate the event log in both directions', 'BACKLOG', 'normal', null, ['api']],
  ['A board for each repository of an organisation', 'BACKLOG', 'low', null, ['idea']],
  ['Let a schedule put cards on a board', 'BACKLOG', 'normal', 'codex', ['idea', 'engine']],
  ['Show which cards wait for the same file', 'BACKLOG', 'low', null, []],
  ['Tell the agent which tests were flaky before', 'BACKLOG', 'low', null, ['idea']],
  [
    'Refuse a repository address with a password in it',
    'REVIEW',
    'high',
    'claude-code',
    ['security'],
    { attempts: 1, live: { note: null, percent: null, cost: 2.1 } },
  ],
  [
    'Keep the order of columns when two people drag at once',
    'REVIEW',
    'normal',
    'gemini',
    ['bug'],
    { attempts: 3, live: { note: null, percent: null, cost: 0.4 } },
  ],
  [
    'Retention: drop events older than a quarter',
    'COMPLETED',
    'normal',
    'claude-code',
    ['engine'],
    { attempts: 1, live: { note: null, percent: null, cost: 1.02 } },
  ],
  [
    'One writer for each board, with a queue in front',
    'COMPLETED',
    'high',
    'codex',
    ['engine', 'performance'],
    { attempts: 2 },
  ],
  ['Compress what the server embeds', 'COMPLETED', 'low', 'gemini', ['performance'], { attempts: 1 }],
  ['Name the field in every refusal', 'COMPLETED', 'normal', null, ['api']],
  [
    'Upgrade the database driver',
    'FAILED',
    'normal',
    'codex',
    ['chore'],
    {
      attempts: 2,
      failure: {
        code: 'out_of_memory',
        detail: 'The container was killed at its limit of 2 GiB while compiling.',
        exit_code: 137,
        oom: true,
        stderr_tail:
          "error: could not compile `sqlx-core` (lib)\n\nCaused by:\n  process didn't exit successfully: rustc (signal: 9, SIGKILL: kill)",
      },
    },
  ],
  ['Rewrite the settings page in one night', 'CANCELLED', 'low', 'claude-code', ['idea'], { attempts: 1 }],
];

const DESCRIPTION = `Indented code blocks that begin with a **tab** are read as paragraphs.

- [x] a failing test for each of the four cases
- [ ] the same rule for lists inside quotes
- [ ] no change in speed (\`cargo bench parse\`)

\`\`\`rust
assert_eq!(blocks("\\tlet x = 1;"), [Block::Code]);
\`\`\`

See the [specification](https://spec.commonmark.org/0.31.2/#tabs).`;

export function acp(db: Db, task: Task, direction: 'in' | 'out', message: Record<string, unknown>) {
  const update = (message.params as { update?: { sessionUpdate?: string } } | undefined)?.update;
  return db.emit(
    task.board_id,
    'acp.message',
    {
      direction,
      method: message.method ?? null,
      update_kind: update?.sessionUpdate ?? null,
      message: { jsonrpc: '2.0', ...message },
    },
    { task_id: task.id, run_id: task.current_run_id ?? undefined, actor: { kind: 'agent', id: 'i-1' } },
  );
}

export const update = (db: Db, task: Task, change: Record<string, unknown>) =>
  acp(db, task, 'in', { method: 'session/update', params: { sessionId: 's', update: change } });

export const says = (db: Db, task: Task, text: string, kind = 'agent_message_chunk', messageId = 'm') => {
  for (const part of text.match(/[\s\S]{1,24}/g) ?? [])
    update(db, task, { sessionUpdate: kind, messageId, content: { type: 'text', text: part } });
};

const OLD = `fn is_code(line: &str) -> bool {
    line.starts_with("    ")
}
`;
const NEW = `/// Four columns of white space, however they are written.
fn is_code(line: &str) -> bool {
    columns(line) >= 4
}
`;

const PLAN = [
  'Find where indentation is counted',
  'Write a failing test for each case',
  'Count columns, not characters',
  'Run the whole suite',
  'Compare the benchmark',
];
const plan = (done: number) => ({
  sessionUpdate: 'plan',
  entries: PLAN.map((content, i) => ({
    content,
    priority: 'medium',
    status: i < done ? 'completed' : i === done ? 'in_progress' : 'pending',
  })),
});

export function transcript(db: Db, task: Task): void {
  const run = { task_id: task.id, run_id: task.current_run_id ?? undefined };
  db.emit(
    task.board_id,
    'run.queued',
    { attempt: 1 },
    { ...run, actor: { kind: 'engine' }, cause: db.logs.get(task.board_id)?.length },
  );
  db.emit(
    task.board_id,
    'run.started',
    { attempt: 1, role: 'work' },
    { ...run, actor: { kind: 'engine' }, cause: db.logs.get(task.board_id)?.length },
  );
  db.emit(task.board_id, 'agent.started', { container_id: '4f1d…' }, { ...run, actor: { kind: 'engine' } });
  db.emit(task.board_id, 'turn.started', { number: 1 }, { ...run, actor: { kind: 'engine' } });
  acp(db, task, 'out', {
    id: 3,
    method: 'session/prompt',
    params: { sessionId: 's', prompt: [{ type: 'text', text: `${task.title}\n\n${DESCRIPTION}` }] },
  });
  says(
    db,
    task,
    'The failing case is a tab before code. I should look at how the block parser measures indentation before I touch anything; it probably compares a prefix of spaces.',
    'agent_thought_chunk',
    't1',
  );
  update(db, task, plan(0));
  says(db, task, "I'll start where indentation is measured.", 'agent_message_chunk', 'm1');
  update(db, task, {
    sessionUpdate: 'tool_call',
    toolCallId: 'c1',
    title: 'Search "starts_with(\\"    \\")"',
    kind: 'search',
    status: 'in_progress',
    rawInput: { pattern: 'starts_with("    ")' },
  });
  update(db, task, {
    sessionUpdate: 'tool_call_update',
    toolCallId: 'c1',
    status: 'completed',
    content: [
      {
        type: 'content',
        content: { type: 'text', text: 'crates/parser/src/block.rs:48\ncrates/parser/src/list.rs:112' },
      },
    ],
  });
  update(db, task, {
    sessionUpdate: 'tool_call',
    toolCallId: 'c2',
    title: 'Read crates/parser/src/block.rs',
    kind: 'read',
    status: 'completed',
    locations: [{ path: 'crates/parser/src/block.rs', line: 48 }],
  });
  update(db, task, plan(2));
  says(
    db,
    task,
    'Found it: `is_code` compares a prefix of four **spaces**, so a tab never counts. A tab moves to the next multiple of four columns:\n\n| text | columns |\n| --- | --- |\n| four spaces | 4 |\n| one tab | 4 |\n| two spaces and a tab | 4 |\n\nI will count columns instead.',
    'agent_message_chunk',
    'm2',
  );
  update(db, task, {
    sessionUpdate: 'tool_call',
    toolCallId: 'c3',
    title: 'Edit crates/parser/src/block.rs',
    kind: 'edit',
    status: 'completed',
    content: [{ type: 'diff', path: 'crates/parser/src/block.rs', oldText: OLD, newText: NEW }],
  });
  update(db, task, plan(3));
  update(db, task, {
    sessionUpdate: 'usage_update',
    used: 48_200,
    size: 200_000,
    cost: { amount: 0.84, currency: 'USD' },
  });
  update(db, task, {
    sessionUpdate: 'tool_call',
    toolCallId: 'c4',
    title: 'cargo test -p parser',
    kind: 'execute',
    status: 'in_progress',
    content: [
      {
        type: 'content',
        content: {
          type: 'text',
          text: '   Compiling parser v0.4.0\n    Finished `test` profile in 6.21s\n     Running unittests src/lib.rs\n\nrunning 214 tests\n.......................................................  88/214',
        },
      },
    ],
  });
}

const REVIEWED = `@@ -12,9 +12,17 @@ impl FromStr for RepositoryUrl {
     type Err = Invalid;
 
     fn from_str(text: &str) -> Result<Self, Self::Err> {
-        let url = Url::parse(text).map_err(|_| Invalid::new("repository_url", "is not a URL"))?;
+        let url = Url::parse(text.trim())
+            .map_err(|error| Invalid::new("repository_url", format!("is not a URL: {error}")))?;
+        if url.password().is_some() {
+            return Err(Invalid::new(
+                "repository_url",
+                "holds a password; keep it as a secret instead",
+            ));
+        }
         match url.scheme() {
             "https" | "ssh" => Ok(Self(url.to_string())),
-            other => Err(Invalid::new("repository_url", other)),
+            other => Err(Invalid::new("repository_url", format!("{other} is not taken: https or ssh"))),
         }
     }
 }
`;
const TESTED = `@@ -0,0 +1,9 @@
+#[test]
+fn a_password_is_refused() {
+    let error = "https://ada:secret@example.org/x.git".parse::<RepositoryUrl>().unwrap_err();
+    assert!(error.detail.contains("keep it as a secret"));
+}
+
+#[test]
+fn ssh_is_taken() {
+    assert!("ssh://git@example.org/x.git".parse::<RepositoryUrl>().is_ok());
+}
`;

export const DIFF = {
  base: '8dccb40c7f0e',
  head: '3a458e09d21b',
  files: [
    { path: 'crates/domain/src/text.rs', status: 'modified', additions: 9, deletions: 2, patch: REVIEWED },
    { path: 'crates/domain/tests/repository_url.rs', status: 'added', additions: 10, deletions: 0, patch: TESTED },
    { path: 'docs/secrets.png', status: 'added', additions: 0, deletions: 0, binary: true, patch: null },
  ],
};

export const TYPES = [
  {
    name: 'claude-code',
    description: 'Claude Code over ACP',
    image: 'kanvoy/claude-code:0.100',
    command: ['claude-agent-acp'],
    env: {},
    secrets: ['ANTHROPIC_API_KEY'],
    runtime: 'docker',
    limits: { memory_mb: 2048, cpus: 2, pids: 512, wall_clock_s: 3600 },
    network: 'open',
    permissions: 'ask',
    max_running: 3,
    check: { ok: true, detail: 'initialize answered in 1.2 s', at: new Date(Date.now() - 7_200_000).toISOString() },
  },
  {
    name: 'codex',
    description: 'Codex over ACP',
    image: 'kanvoy/codex:2.6',
    command: ['codex-acp'],
    env: {},
    secrets: ['OPENAI_API_KEY'],
    runtime: 'docker',
    limits: { memory_mb: 2048, cpus: 2, pids: 512, wall_clock_s: 3600 },
    network: 'open',
    permissions: 'auto',
    max_running: 2,
    check: null,
  },
  {
    name: 'gemini',
    description: 'Gemini CLI over ACP',
    image: 'kanvoy/gemini:0.31',
    command: ['gemini', '--acp'],
    env: {},
    secrets: ['GEMINI_API_KEY'],
    runtime: 'docker',
    limits: { memory_mb: 1536, cpus: 1, pids: 256 },
    network: 'open',
    permissions: 'read_only',
    max_running: 2,
    check: {
      ok: false,
      detail: 'not logged in: set the secret GEMINI_API_KEY',
      at: new Date(Date.now() - 90_000).toISOString(),
    },
  },
  {
    name: 'demo',
    description: 'Obeys its prompt; needs no key',
    image: null,
    command: ['demo-agent'],
    env: {},
    secrets: [],
    runtime: 'process',
    limits: { memory_mb: 256 },
    network: 'none',
    permissions: 'ask',
    max_running: 4,
    check: { ok: true, detail: 'initialize answered in 8 ms', at: new Date().toISOString() },
  },
];

export function seed(): Db {
  const db = new Db();
  const board = db.createBoard({
    name: 'Kanvoy',
    key: 'KAN',
    description: 'The board that builds itself',
    repository_url: 'https://example.org/kanvoy.git',
  });
  board.settings.review = 'person';
  const limit = (name: string, wip: number) => {
    const column = board.columns.find((each) => each.name === name);
    if (column) column.wip_limit = wip;
  };
  limit('In progress', 3);
  limit('Review', 3);
  const made = ROWS.map(([title, state, priority, agent_type, labels, more]) => {
    const run = state === 'IN_PROGRESS' ? { current_run_id: randomUUID() } : {};
    return db.createTask(board.id, { title, state, priority, agent_type, labels, ...run, ...more });
  });
  const [first, second, third, login, exported] = made as [Task, Task, Task, Task, Task];
  first.description = DESCRIPTION;
  exported.blocked_by = [first.id];
  login.parent_id = third.id;
  transcript(db, first);
  transcript(db, second);
  db.openRequest({
    kind: 'permission',
    board_id: board.id,
    task_id: third.id,
    run_id: third.current_run_id,
    title: 'Run a command',
    tool_call: {
      toolCallId: 'x1',
      title: 'openssl genpkey -algorithm ed25519 -out keys/next.pem',
      kind: 'execute',
      rawInput: { command: 'openssl genpkey -algorithm ed25519 -out keys/next.pem', cwd: '/workspace' },
    },
    options: [
      { option_id: 'once', name: 'Allow once', kind: 'allow_once' },
      { option_id: 'always', name: 'Always allow openssl', kind: 'allow_always' },
      { option_id: 'no', name: 'Reject', kind: 'reject_once' },
    ],
    expires_at: new Date(Date.now() + 1_500_000).toISOString(),
  });
  db.openRequest({
    kind: 'permission',
    board_id: board.id,
    task_id: second.id,
    run_id: second.current_run_id,
    title: 'Edit a file',
    tool_call: {
      toolCallId: 'x2',
      title: 'Edit crates/engine/src/feed.rs',
      kind: 'edit',
      content: [
        {
          type: 'diff',
          path: 'crates/engine/src/feed.rs',
          oldText: 'const DEPTH: usize = 64;\n',
          newText: 'const DEPTH: usize = 256;\n',
        },
      ],
    },
    options: [
      { option_id: 'once', name: 'Allow', kind: 'allow_once' },
      { option_id: 'no', name: 'Reject', kind: 'reject_once' },
    ],
    expires_at: null,
  });
  db.openRequest({
    kind: 'question',
    board_id: board.id,
    task_id: third.id,
    run_id: third.current_run_id,
    title: 'How long should old keys stay valid?',
    detail: 'Sessions last 30 days. A shorter overlap ends some of them early.',
    tool_call: null,
    options: [
      { option_id: '30', name: '30 days', kind: 'allow_once' },
      { option_id: '7', name: '7 days', kind: 'allow_once' },
    ],
    expires_at: null,
  });
  db.createBoard({ name: 'Website', key: 'WEB', description: 'Pages that visitors see' });
  return db;
}

/** A board of many cards, for what must stay smooth. */
export function crowd(db: Db, count: number): void {
  const board = db.createBoard({ name: 'Crowd', key: 'BIG', description: `${count} cards` });
  const states: State[] = ['BACKLOG', 'TODO', 'TODO', 'IN_PROGRESS', 'REVIEW', 'COMPLETED', 'FAILED'];
  for (let i = 0; i < count; i++) {
    const [title, , priority, agent_type, labels] = ROWS[i % ROWS.length] as Row;
    db.createTask(board.id, {
      title: `${title} (${i + 1})`,
      state: states[i % states.length] as State,
      priority,
      agent_type,
      labels,
    });
  }
}
