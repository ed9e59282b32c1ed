import { describe, expect, it } from 'vitest';
import { applyEvent, applyEvents, type BoardView, boardView } from './board';
import examples from './examples/board.json';
import type { Board, Event } from './types';

const events = examples as unknown as Event[];
const BOARD = events[0]?.board_id ?? '';
const TASK = events[0]?.task_id ?? '';

const board = (): Board => ({
  id: BOARD,
  key: 'KAN',
  name: 'Kanvoy',
  description: '',
  repository_url: null,
  default_branch: null,
  columns: [
    { id: 'todo', name: 'To do', states: ['TODO', 'BACKLOG'], wip_limit: null },
    { id: 'doing', name: 'Doing', states: ['IN_PROGRESS'], wip_limit: 3 },
  ],
  head_seq: 1,
  settings: {
    review: 'nobody',
    verify: false,
    planner: null,
    default_agent_type: null,
    retention: { max_events: null, max_age_days: null },
  },
  created_at: '2026-11-20T07:00:00.000Z',
  updated_at: '2026-11-20T07:00:00.000Z',
  archived_at: null,
  version: 1,
});
const until = (seq: number): BoardView =>
  applyEvents(
    boardView(board(), []),
    events.filter((event) => event.seq <= seq),
  );
const task = (view: BoardView) => view.tasks.get(TASK);

describe('a board and its events', () => {
  it('takes a card in with everything derived still empty', () => {
    expect(task(until(2))).toMatchObject({ title: 'Teach the parser about tabs', waiting: [], open_requests: 0 });
  });
  it('changes what the events name, and nothing else', () => {
    expect(task(until(3))).toMatchObject({ title: 'Teach the parser', labels: ['bug'], version: 2, state: 'TODO' });
    expect(task(until(4))).toMatchObject({ state: 'IN_PROGRESS', column_id: 'doing', rank: 'V', version: 3 });
  });
  it('shows what a run does', () => {
    expect(task(until(6))).toMatchObject({ attempts: 1, live: { note: 'Running tests', percent: 50, cost: 0.5 } });
    expect(task(until(7))?.open_requests).toBe(1);
    expect(task(until(8))?.open_requests).toBe(0);
  });
  it('renames the board, and lets a card go', () => {
    expect(until(9).board).toMatchObject({ name: 'Renamed', version: 2 });
    expect(until(10).tasks.size).toBe(0);
  });
  it('reads nothing twice', () => {
    const view = until(9);
    expect(applyEvents(view, events.slice(0, 8))).toBe(view);
  });
  it('does not let an older event undo a newer answer', () => {
    const newer = until(2);
    const answered = {
      ...newer,
      tasks: new Map([[TASK, { ...(task(newer) as never as object), title: 'Mine', version: 9 } as never]]),
    };
    const [, updated] = events;
    expect(updated && task(applyEvent(answered, updated))?.title).toBe('Mine');
  });
  it('leaves other boards and unknown kinds alone', () => {
    const view = until(4);
    const [first] = events;
    if (!first) return;
    expect(applyEvent(view, { ...first, seq: 99, board_id: 'other' })).toBe(view);
    expect(applyEvent(view, { ...first, seq: 99, type: 'task.of_tomorrow' }).tasks).toBe(view.tasks);
  });
  it('knows that it is stale behind a gap', () => {
    const [first] = events;
    expect(
      first && applyEvent(until(2), { ...first, type: 'stream.gap', seq: 50, data: { from: 3, to: 50 } }).stale,
    ).toBe(true);
  });
});
