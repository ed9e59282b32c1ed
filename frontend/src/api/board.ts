/** A board as the page holds it, and how events change it. Pure: the same view and events give the same view. */
import type { Board, Event, Failure, Reason, State, Task } from './types';

export interface BoardView {
  board: Board;
  tasks: ReadonlyMap<string, Task>;
  /** The last event of the board's log that is in here. */
  seq: number;
  /** The board was deleted by somebody while it was open. */
  deleted?: boolean;
  /** Events were lost to retention before they were read: what is drawn must be fetched anew. */
  stale?: boolean;
}

export const boardView = (board: Board, tasks: Iterable<Task>): BoardView => ({
  board,
  tasks: new Map([...tasks].map((task) => [task.id, task])),
  seq: board.head_seq,
});

/** The order of cards in a column: by rank as bytes compare, then by number. */
export const byRank = (a: Task, b: Task) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : a.number - b.number);

export function applyEvents(view: BoardView, events: readonly Event[]): BoardView {
  let next = view;
  let tasks: Map<string, Task> | null = null;
  const put = (id: string, task: Task | null) => {
    tasks ??= new Map(view.tasks);
    if (task) tasks.set(id, task);
    else tasks.delete(id);
  };
  for (const event of events) {
    if (event.board_id !== view.board.id || event.seq <= next.seq) continue;
    next = { ...next, seq: event.seq };
    if (event.type.startsWith('board.') || event.type === 'stream.gap') {
      next = onBoard(next, event);
      continue;
    }
    if (!event.task_id) continue;
    const before: Task | undefined = (tasks ?? view.tasks).get(event.task_id);
    const after = onTask(before, event);
    if (after !== before) put(event.task_id, after ?? null);
  }
  return tasks ? { ...next, tasks } : next;
}

export const applyEvent = (view: BoardView, event: Event): BoardView => applyEvents(view, [event]);

function onBoard(view: BoardView, { type, data }: Event): BoardView {
  switch (type) {
    case 'board.updated': {
      const version = typeof data.version === 'number' ? data.version : view.board.version;
      if (version < view.board.version) return view;
      return { ...view, board: { ...view.board, ...(data.changed as Partial<Board>), version } };
    }
    case 'board.deleted':
      return { ...view, deleted: true };
    case 'stream.gap':
      return { ...view, stale: true };
    default:
      return view;
  }
}

const text = (value: unknown) => (typeof value === 'string' ? value : null);

/** `undefined` means that there is no such card, or no more. */
function onTask(task: Task | undefined, event: Event): Task | undefined {
  const { type, data, timestamp } = event;
  if (type === 'task.created') return task ?? created(data.task as Task);
  if (!task) return undefined;
  const live = (part: Partial<Task['live']>): Task => ({ ...task, live: { ...task.live, ...part } });
  switch (type) {
    case 'task.updated': {
      const version = typeof data.version === 'number' ? data.version : task.version;
      if (version < task.version) return task;
      const changed = { ...task, ...(data.changed as Partial<Task>), version, updated_at: timestamp };
      return changed.archived_at ? undefined : changed;
    }
    case 'task.state_changed': {
      const change = data as {
        to: State;
        column_id?: string;
        rank?: string;
        version?: number;
        failure?: Failure | null;
      };
      if (change.version !== undefined && change.version < task.version) return task;
      return {
        ...task,
        state: change.to,
        column_id: change.column_id ?? task.column_id,
        rank: change.rank ?? task.rank,
        version: change.version ?? task.version,
        failure: change.to === 'FAILED' ? (change.failure ?? task.failure) : null,
        waiting: [],
        live: change.to === 'IN_PROGRESS' ? task.live : { ...task.live, note: null, percent: null },
        updated_at: timestamp,
      };
    }
    case 'task.deleted':
    case 'task.purged':
      return undefined;
    case 'task.waiting':
      return { ...task, waiting: (data.waiting ?? data.reasons ?? []) as Reason[] };
    case 'task.progress':
      return live({
        ...('note' in data ? { note: text(data.note) } : {}),
        ...('percent' in data ? { percent: data.percent as number | null } : {}),
        ...('cost' in data ? { cost: data.cost as Task['live']['cost'] } : {}),
      });
    case 'run.queued':
    case 'run.started':
      return {
        ...task,
        current_run_id: event.run_id ?? task.current_run_id,
        attempts: typeof data.attempt === 'number' ? data.attempt : task.attempts,
        waiting: type === 'run.started' ? [] : task.waiting,
      };
    case 'run.completed':
    case 'run.failed':
    case 'run.cancelled':
      return task.current_run_id === (event.run_id ?? task.current_run_id)
        ? {
            ...task,
            current_run_id: null,
            failure: (data.failure as Failure | undefined) ?? task.failure,
            live: { ...task.live, note: null, percent: null },
          }
        : task;
    case 'request.opened':
      return { ...task, open_requests: task.open_requests + 1 };
    case 'request.resolved':
    case 'request.expired':
    case 'request.withdrawn':
      return { ...task, open_requests: Math.max(0, task.open_requests - 1) };
    default:
      return task;
  }
}

/** What an event carries is the row; what is derived begins empty. */
function created(row: Task): Task | undefined {
  if (!row) return undefined;
  return {
    ...row,
    waiting: row.waiting ?? [],
    live: row.live ?? { note: null, percent: null, cost: null },
    current_run_id: row.current_run_id ?? null,
    open_requests: row.open_requests ?? 0,
  };
}
