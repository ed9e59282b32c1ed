/** What a played server remembers: boards, cards, logs. The rules are those of the contract, as far as the page can tell. */
import { randomUUID } from 'node:crypto';
import type { Board, Event, Request, State, Task } from '../src/api/types.ts';

export type Frame = Event;

export class Refused extends Error {
  status: number;
  code: string;
  more: Record<string, unknown>;
  constructor(status: number, code: string, detail: string, more: Record<string, unknown> = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.more = more;
  }
}

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Strictly between two ranks, as fractions in base 62. */
export function between(above: string | undefined, below: string | undefined): string {
  let rank = '';
  let bounded = below !== undefined;
  for (let place = 0; ; place++) {
    const from = Math.max(0, DIGITS.indexOf(above?.[place] ?? '0'));
    const to = bounded ? Math.max(0, DIGITS.indexOf(below?.[place] ?? '0')) : 62;
    if (to - from >= 2) return rank + DIGITS[(from + to) >> 1];
    rank += DIGITS[from];
    bounded = bounded && from === to;
  }
}

const BY_PERSON: Record<State, State[]> = {
  BACKLOG: ['TODO', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED'],
  TODO: ['BACKLOG', 'PLANNING', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED'],
  PLANNING: ['CANCELLED'],
  IN_PROGRESS: ['TODO', 'REVIEW', 'COMPLETED', 'CANCELLED'],
  REVIEW: ['IN_PROGRESS', 'VERIFY', 'COMPLETED', 'CANCELLED'],
  VERIFY: ['CANCELLED'],
  COMPLETED: ['IN_PROGRESS', 'REVIEW'],
  FAILED: ['BACKLOG', 'TODO', 'CANCELLED'],
  CANCELLED: ['BACKLOG', 'TODO'],
};

const COLUMNS: [string, State[]][] = [
  ['Backlog', ['BACKLOG']],
  ['To do', ['TODO']],
  ['In progress', ['IN_PROGRESS', 'PLANNING']],
  ['Review', ['REVIEW', 'VERIFY']],
  ['Done', ['COMPLETED']],
  ['Stopped', ['FAILED', 'CANCELLED']],
];

export class Db {
  boards = new Map<string, Board>();
  tasks = new Map<string, Task>();
  requests = new Map<string, Request>();
  logs = new Map<string, Event[]>();
  readonly listeners = new Set<(event: Event) => void>();
  private arrived = 0;

  emit(log: string, type: string, data: Record<string, unknown>, about: Partial<Event> = {}): Event {
    const events = this.logs.get(log) ?? [];
    this.logs.set(log, events);
    const event: Event = {
      seq: events.length + 1,
      type,
      timestamp: new Date().toISOString(),
      ...(log === 'system' ? {} : { board_id: log }),
      actor: { kind: 'person', id: 'admin' },
      ...about,
      data,
    };
    events.push(event);
    const board = this.boards.get(log);
    if (board) board.head_seq = event.seq;
    for (const listener of this.listeners) listener(event);
    return event;
  }

  board(id: string): Board {
    const board = this.boards.get(id) ?? [...this.boards.values()].find((each) => each.key === id);
    if (!board) throw new Refused(404, 'not_found', `there is no board ${id}`);
    return board;
  }

  task(id: string): Task {
    const named = /^([A-Z0-9]+)-(\d+)$/.exec(id);
    const task = named
      ? [...this.tasks.values()].find(
          (each) => each.number === Number(named[2]) && this.boards.get(each.board_id)?.key === named[1],
        )
      : this.tasks.get(id);
    if (!task) throw new Refused(404, 'not_found', `there is no task ${id}`);
    return task;
  }

  createBoard(body: { name?: string; key?: string; description?: string; repository_url?: string }): Board {
    const name = (body.name ?? '').trim();
    if (!name)
      throw new Refused(422, 'invalid_body', 'name: must not be empty', {
        fields: [{ pointer: '/name', detail: 'must not be empty' }],
      });
    const key = (body.key || name.replace(/[^a-z0-9]/gi, '').slice(0, 3) || 'B').toUpperCase();
    if ([...this.boards.values()].some((each) => each.key === key))
      throw new Refused(409, 'key_taken', `the key ${key} is taken`, { field: '/key' });
    const now = new Date().toISOString();
    const board: Board = {
      id: randomUUID(),
      key,
      name,
      description: body.description ?? '',
      repository_url: body.repository_url ?? null,
      default_branch: null,
      columns: COLUMNS.map(([title, states]) => ({ id: randomUUID(), name: title, states, wip_limit: null })),
      head_seq: 0,
      settings: {
        review: 'nobody',
        verify: false,
        planner: null,
        default_agent_type: null,
        retention: { max_events: null, max_age_days: null },
      },
      created_at: now,
      updated_at: now,
      archived_at: null,
      version: 1,
    };
    this.boards.set(board.id, board);
    this.emit(board.id, 'board.created', { board });
    return board;
  }

  updateBoard(id: string, edit: Record<string, unknown>): Board {
    const board = this.board(id);
    const { version, archived, ...fields } = edit;
    if (version !== undefined && version !== board.version) this.stale(board.version);
    const changed: Record<string, unknown> = { ...fields };
    if (archived !== undefined) changed.archived_at = archived ? new Date().toISOString() : null;
    Object.assign(board, changed, { version: board.version + 1 });
    this.emit(board.id, 'board.updated', { changed, version: board.version });
    return board;
  }

  setColumns(board: Board, columns: Board['columns']): void {
    const held = new Set(columns.flatMap((column) => column.states));
    const homeless = COLUMNS.flatMap(([, states]) => states).filter((state) => !held.has(state));
    if (homeless.length) throw new Refused(409, 'last_column_of_state', `no column would hold ${homeless.join(', ')}`);
    this.updateBoard(board.id, { columns });
  }

  createTask(boardId: string, body: Partial<Task>): Task {
    const board = this.board(boardId);
    const title = (body.title ?? '').trim();
    if (!title)
      throw new Refused(422, 'invalid_body', 'title: must not be empty', {
        fields: [{ pointer: '/title', detail: 'must not be empty' }],
      });
    const state = body.state ?? 'TODO';
    const column = board.columns.find((each) => each.states.includes(state));
    if (!column) throw new Refused(422, 'invalid_body', `no column holds ${state}`);
    const now = new Date().toISOString();
    const task: Task = {
      id: randomUUID(),
      board_id: board.id,
      number: 1 + Math.max(0, ...[...this.tasks.values()].filter((t) => t.board_id === board.id).map((t) => t.number)),
      description: '',
      priority: 'normal',
      agent_type: null,
      repository_url: null,
      branch: null,
      labels: [],
      blocked_by: [],
      parent_id: null,
      external_ref: null,
      waiting: [],
      live: { note: null, percent: null, cost: null },
      current_run_id: null,
      open_requests: 0,
      attempts: 0,
      failure: null,
      created_at: now,
      updated_at: now,
      archived_at: null,
      version: 1,
      ...body,
      title,
      state,
      column_id: column.id,
      rank: `m${(++this.arrived).toString().padStart(7, '0')}1`,
    };
    this.tasks.set(task.id, task);
    this.emit(board.id, 'task.created', { task: { ...task } }, { task_id: task.id });
    return task;
  }

  updateTask(id: string, edit: Record<string, unknown>): Task {
    const task = this.task(id);
    const { version, archived, ...fields } = edit;
    if (version !== undefined && version !== task.version) this.stale(task.version);
    const changed: Record<string, unknown> = { ...fields };
    if (archived !== undefined) changed.archived_at = archived ? new Date().toISOString() : null;
    Object.assign(task, changed, { version: task.version + 1, updated_at: new Date().toISOString() });
    this.emit(task.board_id, 'task.updated', { changed, version: task.version }, { task_id: task.id });
    return task;
  }

  private stale(current: number): never {
    throw new Refused(409, 'stale_version', 'somebody else changed it meanwhile', { current_version: current });
  }

  /** By a person unless said otherwise; whoever it is, the card lands in the state's home or the column given. */
  setState(id: string, to: State, by: 'person' | 'engine' = 'person', columnId?: string, rank?: string): Task {
    const task = this.task(id);
    const board = this.board(task.board_id);
    const legal = BY_PERSON[task.state].filter((state) => state !== 'PLANNING' || board.settings.planner);
    if (by === 'person' && !legal.includes(to))
      throw new Refused(409, 'illegal_transition', `a task that is ${task.state} cannot become ${to}`, { legal });
    const from = task.state;
    const column = board.columns.find((each) => (columnId ? each.id === columnId : each.states.includes(to)));
    Object.assign(task, {
      state: to,
      column_id: column?.id ?? task.column_id,
      rank: rank ?? `m${(++this.arrived).toString().padStart(7, '0')}1`,
      version: task.version + 1,
      updated_at: new Date().toISOString(),
      failure: to === 'FAILED' ? task.failure : null,
    });
    this.emit(
      board.id,
      'task.state_changed',
      {
        from,
        to,
        reason: by === 'person' ? 'moved by hand' : 'outcome of the run',
        column_id: task.column_id,
        rank: task.rank,
        version: task.version,
      },
      { task_id: task.id },
    );
    return task;
  }

  moveTask(id: string, move: { column_id?: string; before?: string; after?: string }): Task {
    const task = this.task(id);
    const board = this.board(task.board_id);
    const column = board.columns.find((each) => each.id === (move.column_id ?? task.column_id));
    if (!column) throw new Refused(422, 'invalid_body', 'there is no such column');
    const cards = [...this.tasks.values()]
      .filter((each) => each.column_id === column.id && each.id !== task.id)
      .sort((a, b) => (a.rank < b.rank ? -1 : 1));
    const beside = cards.findIndex((each) => each.id === (move.before ?? move.after));
    const at = beside < 0 ? cards.length : move.before ? beside : beside + 1;
    const rank = between(cards[at - 1]?.rank, cards[at]?.rank);
    if (!column.states.includes(task.state)) {
      const legal = BY_PERSON[task.state].filter((state) => state !== 'PLANNING' || board.settings.planner);
      const to = column.states.find((state) => legal.includes(state));
      if (!to)
        throw new Refused(409, 'illegal_transition', `a task that is ${task.state} cannot go to ${column.name}`, {
          legal,
        });
      return this.setState(id, to, 'person', column.id, rank);
    }
    return this.updateTask(id, { column_id: column.id, rank });
  }

  deleteTask(id: string): Task {
    const task = this.task(id);
    this.tasks.delete(task.id);
    this.emit(task.board_id, 'task.deleted', { number: task.number }, { task_id: task.id });
    return task;
  }

  openRequest(request: Omit<Request, 'id' | 'number' | 'state' | 'answer' | 'created_at'>): Request {
    const full: Request = {
      ...request,
      id: randomUUID(),
      number: this.requests.size + 1,
      state: 'open',
      answer: null,
      created_at: new Date().toISOString(),
    };
    this.requests.set(full.id, full);
    const task = this.task(request.task_id);
    task.open_requests++;
    this.emit(
      task.board_id,
      'request.opened',
      { request: full },
      { task_id: task.id, run_id: task.current_run_id ?? undefined },
    );
    return full;
  }

  answer(id: string, body: { option_id?: string; text?: string; cancelled?: boolean }): Request {
    const request = this.requests.get(id);
    if (!request) throw new Refused(404, 'not_found', 'there is no such request');
    if (request.state !== 'open')
      throw new Refused(
        409,
        'already_answered',
        `${request.answer?.by ?? 'somebody'} answered first: ${request.answer?.option_id ?? 'cancelled'}`,
        {
          answer: request.answer,
        },
      );
    request.state = 'resolved';
    request.answer = { ...body, by: 'admin', at: new Date().toISOString() };
    const task = this.task(request.task_id);
    task.open_requests = Math.max(0, task.open_requests - 1);
    this.emit(task.board_id, 'request.resolved', { request_id: id, answer: request.answer }, { task_id: task.id });
    return request;
  }

  of(board: Board): Task[] {
    return [...this.tasks.values()].filter((task) => task.board_id === board.id);
  }
}
