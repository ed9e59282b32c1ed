/** A played server: the routes of the contract over an in-memory database, with real sockets. For development and tests. */

import type { EventEmitter } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { extname, join, normalize } from 'node:path';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Event, State, Task } from '../src/api/types.ts';
import { type Db, Refused } from './db.ts';
import { acp, DIFF, says, seed, TYPES, update } from './seed.ts';

/** What the binary sends too: nothing inline, nothing from elsewhere. */
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

type Handler = (params: string[], body: Record<string, unknown>, query: URLSearchParams) => unknown;
interface Route {
  method: string;
  path: RegExp;
  handle: Handler;
}

export interface Options {
  db?: Db;
  /** Answers nobody until somebody has logged in. */
  locked?: boolean;
  /** Routes that answer 404, as on a server that does not have them yet. */
  without?: RegExp;
}

export function play({ db = seed(), locked = false, without }: Options = {}) {
  let loggedIn = !locked;
  const page = <T>(items: T[], query?: URLSearchParams) => {
    const limit = Math.min(200, Number(query?.get('limit') ?? 200));
    const from = Number(query?.get('cursor') ?? 0);
    const next = from + limit < items.length ? String(from + limit) : null;
    return { items: items.slice(from, from + limit), next_cursor: next };
  };
  const written = <T extends { board_id?: string; id: string }>(row: T) => ({
    ...row,
    seq: db.logs.get(row.board_id ?? row.id)?.length ?? 0,
  });
  const routes: Route[] = [];
  const on = (method: string, path: string, handle: Handler) =>
    routes.push({ method, path: new RegExp(`^${path.replaceAll(':id', '([^/]+)')}$`), handle });

  on('GET', 'auth/me', () => ({ id: 'u1', name: 'admin', role: 'admin' }));
  on('POST', 'auth/login', (_, body) => {
    if (body.password !== 'open sesame')
      throw new Refused(401, 'unauthenticated', 'That name and password do not fit.');
    loggedIn = true;
    return {};
  });
  on('POST', 'auth/logout', () => {
    loggedIn = false;
    return {};
  });
  on('GET', 'boards', (_, __, query) =>
    page(
      [...db.boards.values()].filter((board) => !board.archived_at),
      query,
    ),
  );
  on('POST', 'boards', (_, body) => written(db.createBoard(body)));
  on('GET', 'boards/:id', ([id = '']) => db.board(id));
  on('PATCH', 'boards/:id', ([id = ''], body) => written(db.updateBoard(id, body)));
  on('DELETE', 'boards/:id', ([id = '']) => {
    const board = db.board(id);
    db.emit(board.id, 'board.deleted', {});
    db.boards.delete(board.id);
    return { ...board, deleted: true };
  });
  on('POST', 'boards/:id/columns', ([id = ''], body) => {
    const board = db.board(id);
    const { position, ...rest } = body as { position?: number };
    const column = { id: crypto.randomUUID(), name: '', states: [], wip_limit: null, ...rest };
    db.setColumns(board, board.columns.toSpliced(position ?? board.columns.length, 0, column));
    return { ...column, board_id: board.id, version: board.version, seq: board.head_seq };
  });
  const boardOf = (column: string) => {
    const board = [...db.boards.values()].find((each) => each.columns.some((c) => c.id === column));
    if (!board) throw new Refused(404, 'not_found', 'there is no such column');
    return board;
  };
  on('PATCH', 'columns/:id', ([id = ''], body) => {
    const board = boardOf(id);
    const { position, ...rest } = body as { position?: number };
    const at = board.columns.findIndex((column) => column.id === id);
    const column = { ...board.columns[at], ...rest } as (typeof board.columns)[0];
    db.setColumns(board, board.columns.toSpliced(at, 1).toSpliced(position ?? at, 0, column));
    return { ...column, board_id: board.id, version: board.version, seq: board.head_seq };
  });
  on('DELETE', 'columns/:id', ([id = '']) => {
    const board = boardOf(id);
    db.setColumns(
      board,
      board.columns.filter((column) => column.id !== id),
    );
    return written(board);
  });
  on('GET', 'boards/:id/tasks', ([id = ''], _, query) =>
    page(
      db.of(db.board(id)).filter((task) => !task.archived_at),
      query,
    ),
  );
  on('POST', 'boards/:id/tasks', ([id = ''], body) => written(db.createTask(id, body)));
  on('GET', 'search', (_, __, query) => {
    const q = (query.get('q') ?? '').toLowerCase();
    return page(
      [...db.tasks.values()].filter((task) => task.title.toLowerCase().includes(q)),
      query,
    );
  });
  on('GET', 'tasks/:id', ([id = '']) => db.task(id));
  on('PATCH', 'tasks/:id', ([id = ''], body) => written(db.updateTask(id, body)));
  on('DELETE', 'tasks/:id', ([id = '']) => ({ ...db.deleteTask(id), deleted: true }));
  on('PATCH', 'tasks/:id/state', ([id = ''], body) => written(db.setState(id, body.state as State)));
  on('POST', 'tasks/:id/move', ([id = ''], body) => written(db.moveTask(id, body)));
  on('GET', 'tasks/:id/events', ([id = ''], _, query) => {
    const task = db.task(id);
    const types = (query.get('types') ?? '')
      .split(',')
      .filter(Boolean)
      .map((type) => type.slice(1));
    const after = Number(query.get('after') ?? 0);
    const events = (db.logs.get(task.board_id) ?? []).filter(
      (event) => event.task_id === task.id && event.seq > after && !types.includes(event.type),
    );
    const items = events.slice(0, Number(query.get('limit') ?? 100));
    return { items, next_cursor: items.length < events.length ? String(items.at(-1)?.seq) : null };
  });

  const note = (task: Task, text: string | null) => {
    task.live = { ...task.live, note: text };
    db.emit(
      task.board_id,
      'task.progress',
      { note: text, percent: null },
      { task_id: task.id, actor: { kind: 'engine' } },
    );
  };
  const turn = (task: Task, prompt: string) => {
    acp(db, task, 'out', { id: 9, method: 'session/prompt', params: { prompt: [{ type: 'text', text: prompt }] } });
    note(task, 'Thinking');
    const words = `You said: ${prompt}\n\nI will look at it now.`;
    let at = 0;
    const timer = setInterval(() => {
      if (at >= words.length) {
        clearInterval(timer);
        db.emit(task.board_id, 'turn.ended', { number: 1, stop_reason: 'end_turn' }, { task_id: task.id });
        note(task, null);
        return;
      }
      says(db, task, words.slice(at, at + 8), 'agent_message_chunk', `a${words.length}`);
      at += 8;
    }, 40);
    timer.unref?.();
  };
  on('GET', 'orchestrator/tasks/:id/status', ([id = '']) => {
    const task = db.task(id);
    const live = task.current_run_id !== null;
    return {
      task_id: task.id,
      state: task.state,
      waiting: task.waiting,
      run: task.attempts
        ? {
            id: task.current_run_id ?? 'r0',
            role: 'work',
            attempt: task.attempts,
            state: live ? (task.open_requests ? 'waiting' : 'running') : 'completed',
            started_at: task.created_at,
            ended_at: live ? null : task.updated_at,
          }
        : null,
      turn: live ? { number: 1, state: 'running', stop_reason: null } : null,
      instance: live
        ? { id: 'i1', runtime: 'docker', container_id: '4f1d2c', state: 'running', exit_code: null, oom: false }
        : null,
      progress: { percent: task.live.percent, note: task.live.note },
      last_message: null,
      usage: live ? { used: 48_200, size: 200_000, cost: task.live.cost } : null,
      plan: [],
      open_requests: [],
      head_seq: db.logs.get(task.board_id)?.length ?? 0,
    };
  });
  on('POST', 'orchestrator/tasks/:id/:id', ([id = '', verb = ''], body) => {
    const task = db.task(id);
    const end = (type: string) => {
      const run = task.current_run_id ?? undefined;
      task.current_run_id = null;
      db.emit(task.board_id, type, {}, { task_id: task.id, run_id: run, actor: { kind: 'engine' } });
    };
    if (verb === 'start' || verb === 'retry') {
      if (!task.agent_type && !body.agent_type)
        throw new Refused(422, 'invalid_body', 'agent_type: this card has no agent');
      task.agent_type ??= String(body.agent_type);
      if (task.state === 'FAILED' || task.state === 'CANCELLED') db.setState(task.id, 'TODO');
      task.current_run_id = crypto.randomUUID();
      task.attempts++;
      db.emit(
        task.board_id,
        'run.started',
        { attempt: task.attempts },
        { task_id: task.id, run_id: task.current_run_id },
      );
      db.setState(task.id, 'IN_PROGRESS', 'engine');
      turn(task, String(body.prompt ?? task.title));
    } else if (verb === 'stop') {
      if (!task.current_run_id) throw new Refused(409, 'not_running', 'No run is live on this card.');
      end('run.cancelled');
      db.setState(task.id, 'CANCELLED', 'engine');
    } else if (verb === 'prompt') {
      turn(task, String(body.text));
    } else if (verb === 'freeze') {
      db.emit(task.board_id, 'agent.paused', {}, { task_id: task.id });
    } else if (verb === 'resume') {
      db.emit(task.board_id, 'agent.resumed', {}, { task_id: task.id });
    } else if (verb === 'cancel') {
      db.emit(task.board_id, 'turn.ended', { stop_reason: 'cancelled' }, { task_id: task.id });
    }
    return { task_id: task.id, seq: db.logs.get(task.board_id)?.length };
  });
  on('GET', 'orchestrator/queue', (_, __, query) =>
    page(
      [...db.tasks.values()]
        .filter((task) => task.waiting.length)
        .map((task, index) => ({
          task_id: task.id,
          board_id: task.board_id,
          number: task.number,
          title: task.title,
          agent_type: task.agent_type,
          priority: task.priority,
          position: index + 1,
          since: task.updated_at,
          waiting: task.waiting,
        })),
      query,
    ),
  );
  on('GET', 'requests', (_, __, query) =>
    page(
      [...db.requests.values()].filter((request) => request.state === (query.get('state') ?? 'open')),
      query,
    ),
  );
  on('POST', 'requests/:id/answer', ([id = ''], body) => {
    const request = db.answer(id, body);
    const task = db.task(request.task_id);
    note(task, 'Goes on');
    return request;
  });
  on('GET', 'agents/types', (_, __, query) => page(TYPES, query));
  on('POST', 'agents/types/:id/check', ([name]) => ({
    ok: true,
    detail: `${name}: initialize answered`,
    at: new Date().toISOString(),
  }));
  on('GET', 'agents/instances', (_, __, query) =>
    page(
      [...db.tasks.values()]
        .filter((task) => task.current_run_id)
        .map((task, index) => ({
          id: `inst-${task.number}`,
          agent_type: task.agent_type,
          runtime: 'docker',
          state: 'running',
          task_id: task.id,
          run_id: task.current_run_id,
          container_id: `4f1d2c${index}a9be`,
          started_at: new Date(Date.now() - (index + 1) * 187_000).toISOString(),
          usage: { memory_mb: 412 + index * 530, cpu_percent: 37 + index * 41, pids: 18 + index },
          limits: { memory_mb: 2048, cpus: 2, pids: 512 },
          exit_code: null,
          oom: false,
        })),
      query,
    ),
  );
  on('POST', 'agents/instances/:id/stop', () => ({}));
  on('GET', 'tasks/:id/workspace', ([id = '']) => {
    const task = db.task(id);
    if (!task.attempts) throw new Refused(404, 'not_found', 'this card has no workspace yet');
    return {
      task_id: task.id,
      branch: `kanvoy/kan-${task.number}`,
      base_branch: 'main',
      base_commit: DIFF.base,
      head_commit: DIFF.head,
      unpushed: true,
      conflict: null,
    };
  });
  on('GET', 'tasks/:id/workspace/diff', ([id = '']) => {
    if (!db.task(id).attempts) throw new Refused(404, 'not_found', 'this card has no workspace yet');
    return DIFF;
  });
  on('GET', 'tasks/:id/workspace/commits', () =>
    page([
      {
        id: '3a458e09d21b',
        subject: 'fix(domain): refuse a repository address with a password',
        author: 'claude-code',
        at: new Date(Date.now() - 600_000).toISOString(),
      },
      {
        id: '77b0aa12e9f4',
        subject: 'test(domain): a password is refused',
        author: 'claude-code',
        at: new Date(Date.now() - 900_000).toISOString(),
      },
    ]),
  );
  on('POST', 'tasks/:id/workspace/merge', ([id = '']) => {
    const task = db.task(id);
    db.emit(task.board_id, 'workspace.merged', {}, { task_id: task.id });
    return {};
  });
  on('POST', 'tasks/:id/workspace/push', () => ({}));
  on('GET', 'users', () =>
    page([
      { id: 'u1', name: 'admin', role: 'admin' },
      { id: 'u2', name: 'ada', role: 'member' },
    ]),
  );
  on('GET', 'tokens', () =>
    page([
      {
        id: 't1',
        name: 'laptop',
        scope: 'admin',
        created_at: new Date(Date.now() - 8.64e8).toISOString(),
        last_used_at: new Date().toISOString(),
      },
    ]),
  );
  const secrets = new Map([['ANTHROPIC_API_KEY', new Date().toISOString()]]);
  on('GET', 'secrets', () => page([...secrets].map(([name, updated_at]) => ({ name, updated_at }))));
  on('PUT', 'secrets/:id', ([name = '']) => {
    secrets.set(name, new Date().toISOString());
    return { name };
  });
  on('DELETE', 'secrets/:id', ([name = '']) => {
    secrets.delete(name);
    return {};
  });

  const answer = async (request: IncomingMessage, response: ServerResponse, url: URL) => {
    const json = (status: number, body: unknown, type = 'application/json') => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
      response.end(JSON.stringify(body));
    };
    try {
      if (url.pathname === '/readyz')
        return json(200, {
          status: 'degraded',
          checks: {
            database: { status: 'ok', detail: 'SQLite, 1.2 MB' },
            engine: { status: 'degraded', detail: 'Docker does not answer; process agents still run' },
          },
        });
      const path = decodeURI(url.pathname.slice('/api/v1/'.length));
      if (!loggedIn && path !== 'auth/login') throw new Refused(401, 'unauthenticated', 'Log in first.');
      if (without?.test(path)) throw new Refused(404, 'not_found', `there is nothing at ${path}`);
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const body = chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {};
      for (const route of routes) {
        const found = route.method === request.method && route.path.exec(path);
        if (found)
          return json(request.method === 'POST' ? 201 : 200, route.handle(found.slice(1), body, url.searchParams));
      }
      throw new Refused(404, 'not_found', `there is nothing at ${path}`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      json(
        error.status,
        {
          type: `https://kanvoy.dev/problems/${error.code}`,
          title: error.code,
          status: error.status,
          code: error.code,
          detail: error.message,
          ...error.more,
        },
        'application/problem+json',
      );
    }
  };

  const sockets = new WebSocketServer({ noServer: true });
  const stream = (socket: WebSocket, url: URL) => {
    const of = /orchestrator\/tasks\/([^/]+)\/stream/.exec(url.pathname)?.[1];
    const task = of ? db.task(decodeURIComponent(of)) : null;
    const hidden = (url.searchParams.get('types') ?? '')
      .split(',')
      .filter(Boolean)
      .map((type) => type.slice(1));
    const wanted = (event: Event) => (!task || event.task_id === task.id) && !hidden.includes(event.type);
    const cursor = [...db.logs].map(([log, events]) => `${log}:${events.length}`).join(',');
    const head = task ? (db.logs.get(task.board_id)?.length ?? 0) : 0;
    socket.send(
      JSON.stringify({ type: 'stream.ready', timestamp: new Date().toISOString(), data: { head_seq: head, cursor } }),
    );
    const after = url.searchParams.get('after');
    if (task) {
      for (const event of db.logs.get(task.board_id) ?? [])
        if (event.seq > Number(after ?? 0) && wanted(event)) socket.send(JSON.stringify(event));
    } else if (after !== null) {
      const from = new Map(after.split(',').map((part) => part.split(':') as [string, string]));
      for (const [log, events] of db.logs)
        for (const event of events)
          if (event.seq > Number(from.get(log) ?? 0) && wanted(event)) socket.send(JSON.stringify(event));
    }
    const listener = (event: Event) => wanted(event) && socket.send(JSON.stringify(event));
    db.listeners.add(listener);
    socket.on('close', () => db.listeners.delete(listener));
  };
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): boolean => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (!/^\/api\/v1\/.*stream$/.test(url.pathname)) return false;
    sockets.handleUpgrade(request, socket, head, (client) => stream(client, url));
    return true;
  };
  const hangUp = () => {
    for (const client of sockets.clients) client.terminate();
  };
  return { db, answer, upgrade, hangUp, says: (task: Task, text: string) => says(db, task, text), update };
}

const isApi = (path: string) => path.startsWith('/api/') || path === '/readyz';

/** Into a development server, beside its own sockets. */
export function attach(
  http: EventEmitter,
  middlewares: {
    use(handler: (request: IncomingMessage, response: ServerResponse, next: () => void) => void): unknown;
  },
): void {
  const played = play();
  http.on(
    'upgrade',
    (request: IncomingMessage, socket: Duplex, head: Buffer) => void played.upgrade(request, socket, head),
  );
  middlewares.use((request, response, next) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (isApi(url.pathname)) void played.answer(request, response, url);
    else next();
  });
}

const TYPE: Record<string, string> = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Serves the built page below `prefix`, as the binary does: its policy, and a base that fits the depth. */
export async function serve(dist: string, options: Options & { port?: number; prefix?: string } = {}) {
  const played = play(options);
  const prefix = options.prefix ?? '';
  const strip = (request: IncomingMessage) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (!url.pathname.startsWith(`${prefix}/`)) return null;
    url.pathname = url.pathname.slice(prefix.length);
    request.url = url.pathname + url.search;
    return url;
  };
  const http: Server = createServer((request, response) => {
    const url = strip(request);
    if (!url) return void response.writeHead(404).end();
    if (isApi(url.pathname)) return void played.answer(request, response, url);
    const file = join(dist, normalize(url.pathname));
    const asset = existsSync(file) && statSync(file).isFile();
    if (!asset && extname(file)) return void response.writeHead(404).end();
    const headers = {
      'content-security-policy': POLICY,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    };
    if (asset) {
      response.writeHead(200, { ...headers, 'content-type': TYPE[extname(file)] ?? 'application/octet-stream' });
      return void response.end(readFileSync(file));
    }
    const depth = url.pathname.split('/').length - 2;
    const base = depth > 0 ? '../'.repeat(depth) : './';
    response.writeHead(200, { ...headers, 'content-type': 'text/html; charset=utf-8' });
    response.end(
      readFileSync(join(dist, 'index.html'), 'utf8').replace('<base href="./" />', `<base href="${base}" />`),
    );
  });
  http.on('upgrade', (request, socket, head) => {
    if (!strip(request) || !played.upgrade(request, socket, head)) socket.destroy();
  });
  await new Promise<void>((resolve) => http.listen(options.port ?? 0, '127.0.0.1', resolve));
  const address = http.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    ...played,
    url: `http://127.0.0.1:${port}${prefix}/`,
    port,
    close: () =>
      new Promise<void>((resolve) => {
        played.hangUp();
        http.closeAllConnections();
        http.close(() => resolve());
      }),
  };
}
