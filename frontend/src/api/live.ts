/**
 * The only file that opens a WebSocket. One stream carries everything the page may see, but not what agents say; a second
 * one follows the card that is open. Both come back by themselves, from where they were.
 */
import type { QueryClient } from '@tanstack/react-query';
import { applyEvents, type BoardView } from './board';
import { API } from './client';
import { advance, formatCursor, parseCursor } from './cursor';
import type { Board, Event, Page } from './types';

export type LiveStatus =
  | { state: 'connecting' }
  | { state: 'live' }
  | { state: 'lost'; since: number; retryAt: number; attempt: number };

/** What agents write is read only where it is drawn. */
const QUIET = ['!acp.message', '!acp.noise', '!agent.log'].join(',');
const KEEP_RECENT = 4_000;

interface Following {
  url: () => URL;
  onReady: (frame: { data: Record<string, unknown> }) => void;
  onEvent: (event: Event) => void;
  onStatus: (status: LiveStatus) => void;
  /** The socket closed before it was ready: perhaps the server would not take where we wanted to begin. */
  onRefused?: () => void;
}

/** 0.5 s, 1 s, 2 s … 15 s, with some chance in it so that many pages do not come back in the same instant. */
export const backoff = (attempt: number, chance = Math.random()) =>
  Math.min(15_000, 500 * 2 ** Math.min(attempt, 5)) * (0.75 + chance / 2);

function follow({ url, onReady, onEvent, onStatus, onRefused }: Following): { close: () => void; again: () => void } {
  let socket: WebSocket | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let since = 0;
  let closed = false;

  const open = () => {
    clearTimeout(timer);
    if (closed) return;
    if (attempt === 0) onStatus({ state: 'connecting' });
    const target = url();
    target.protocol = target.protocol === 'https:' ? 'wss:' : 'ws:';
    const mine = new WebSocket(target);
    let ready = false;
    socket = mine;
    mine.onmessage = ({ data }) => {
      if (socket !== mine) return;
      const frame = JSON.parse(String(data)) as Event;
      if (frame.type === 'stream.ready') {
        ready = true;
        attempt = 0;
        since = 0;
        onReady(frame);
        onStatus({ state: 'live' });
      } else {
        onEvent(frame);
      }
    };
    mine.onclose = (event) => {
      if (socket !== mine || closed) return;
      socket = null;
      if (ready && event.code === 1000) return;
      if (!ready) onRefused?.();
      since ||= Date.now();
      const wait = backoff(attempt++);
      onStatus({ state: 'lost', since, retryAt: Date.now() + wait, attempt });
      timer = setTimeout(open, wait);
    };
  };

  const again = () => {
    if (socket || closed) return;
    open();
  };
  const seen = () => document.visibilityState === 'visible' && again();
  addEventListener('online', again);
  document.addEventListener('visibilitychange', seen);
  open();
  return {
    again,
    close() {
      closed = true;
      clearTimeout(timer);
      removeEventListener('online', again);
      document.removeEventListener('visibilitychange', seen);
      socket?.close(1000);
    },
  };
}

/** Collects what comes in and hands it over once a frame; a hidden page has no frames, so a timer stands in. */
export function batched(flush: (events: Event[]) => void): (event: Event) => void {
  let waiting: Event[] = [];
  const run = () => {
    const events = waiting;
    waiting = [];
    flush(events);
  };
  return (event) => {
    waiting.push(event);
    if (waiting.length > 1) return;
    if (document.visibilityState === 'visible') requestAnimationFrame(run);
    else setTimeout(run, 100);
  };
}

export class Live {
  private readonly cache: QueryClient;
  private cursor: Map<string, number> | null = null;
  private recent: Event[] = [];
  private status: LiveStatus = { state: 'connecting' };
  private readonly watchers = new Set<() => void>();
  private readonly listeners = new Set<(events: Event[]) => void>();
  private refusals = 0;
  private quiet = false;
  private quietWorks = false;
  private stream: ReturnType<typeof follow> | null = null;

  constructor(cache: QueryClient) {
    this.cache = cache;
  }

  start(): void {
    if (this.stream) return;
    const hand = batched((events) => this.flush(events));
    this.stream = follow({
      url: () => {
        const target = new URL('stream', API);
        if (this.cursor) target.searchParams.set('after', formatCursor(this.cursor));
        // A server that does not know these kinds yet may refuse to leave them out.
        this.quiet = this.quietWorks || this.refusals % 2 === 0;
        if (this.quiet) target.searchParams.set('types', QUIET);
        return target;
      },
      onReady: ({ data }) => {
        this.refusals = 0;
        this.quietWorks ||= this.quiet;
        if (this.cursor) return;
        this.cursor = parseCursor(String(data.cursor ?? ''));
        this.fillGaps(this.cursor);
      },
      onEvent: (event) => {
        this.cursor ??= new Map();
        if (advance(this.cursor, event)) hand(event);
      },
      onStatus: (status) => this.say(status),
      onRefused: () => {
        this.refusals++;
        // Refused again and again with a place to begin from: the log is another one. Begin anew, and read everything again.
        if (this.cursor && this.refusals >= 4) {
          this.cursor = null;
          void this.cache.invalidateQueries();
        }
      },
    });
  }

  stop(): void {
    this.stream?.close();
    this.stream = null;
    this.cursor = null;
  }

  retry = () => this.stream?.again();

  /** For useSyncExternalStore. */
  watch = (watcher: () => void) => {
    this.watchers.add(watcher);
    return () => void this.watchers.delete(watcher);
  };
  current = () => this.status;

  /** Everything that is told, as it is told. */
  listen(listener: (events: Event[]) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** A board that was just read lacks what was told meanwhile. */
  catchUp(view: BoardView): BoardView {
    return applyEvents(view, this.recent);
  }

  private say(status: LiveStatus): void {
    this.status = status;
    for (const watcher of this.watchers) watcher();
  }

  /** The stream began later than what was read before it: those boards are read again. */
  private fillGaps(cursor: Map<string, number>): void {
    for (const [key, view] of this.boards()) {
      const head = cursor.get(view.board.id) ?? cursor.get(view.board.key) ?? 0;
      if (view.seq < head) void this.cache.invalidateQueries({ queryKey: key, exact: true });
    }
  }

  private boards(): [readonly unknown[], BoardView][] {
    return this.cache
      .getQueriesData<BoardView>({ queryKey: ['board'] })
      .filter((entry): entry is [readonly unknown[], BoardView] => entry[1] !== undefined);
  }

  private flush(events: Event[]): void {
    this.recent = [...this.recent, ...events].slice(-KEEP_RECENT);
    for (const [key, view] of this.boards()) {
      const next = applyEvents(view, events);
      if (next !== view) this.cache.setQueryData(key, next);
      if (next.stale) void this.cache.invalidateQueries({ queryKey: key, exact: true });
    }
    if (events.some((event) => event.type.startsWith('board.'))) {
      this.cache.setQueryData<Board[]>(['boards'], (boards) => boards && renamed(boards, events));
      if (events.some((event) => ['board.created', 'board.imported', 'board.deleted'].includes(event.type)))
        void this.cache.invalidateQueries({ queryKey: ['boards'] });
    }
    if (events.some((event) => event.type.startsWith('request.')))
      void this.cache.invalidateQueries({ queryKey: ['requests'] });
    for (const task of new Set(events.filter(concernsRun).map((event) => event.task_id)))
      void this.cache.invalidateQueries({ queryKey: ['task', task, 'run'] });
    if (events.some((event) => /^(agent|run|task\.waiting)/.test(event.type)))
      void this.cache.invalidateQueries({ queryKey: ['agents'] });
    for (const listener of this.listeners) listener(events);
  }
}

const concernsRun = (event: Event) =>
  event.task_id !== undefined && /^(run|turn|agent|request|workspace|task\.(waiting|state))/.test(event.type);

function renamed(boards: Board[], events: Event[]): Board[] {
  return boards.map((board) => {
    const changes = events.filter((event) => event.type === 'board.updated' && event.board_id === board.id);
    return Object.assign({}, board, ...changes.map((event) => event.data.changed)) as Board;
  });
}

/** Everything of one card, from after `after` on. Comes back from the last event it gave. */
export function followTask(
  task: string,
  after: number,
  on: { events: (events: Event[]) => void; status: (status: LiveStatus) => void },
): () => void {
  let seq = after;
  const hand = batched(on.events);
  const stream = follow({
    url: () => {
      const target = new URL(`orchestrator/tasks/${task}/stream`, API);
      target.searchParams.set('after', String(seq));
      return target;
    },
    onReady: () => {},
    onEvent: (event) => {
      if (event.seq <= seq) return;
      seq = event.seq;
      hand(event);
    },
    onStatus: on.status,
  });
  return stream.close;
}

/** A card's events between two places of its board's log, both excluded and included: read page by page. */
export async function readBack(
  get: (after: number) => Promise<Page<Event>>,
  after: number,
  until: number,
): Promise<Event[]> {
  const events: Event[] = [];
  let from = after;
  for (;;) {
    const page = await get(from);
    for (const event of page.items) if (event.seq <= until) events.push(event);
    const last = page.items.at(-1);
    if (!last || last.seq >= until || page.next_cursor === null) return events;
    from = last.seq;
  }
}
