import { describe, expect, it } from 'vitest';
import { type BoardView, boardView, byRank } from '@/api/board';
import type { Board, Task } from '@/api/types';
import { legal, stateIn } from '@/lib/lifecycle';
import { parseSearch, stringifySearch } from '@/lib/search';
import { lanes, matcher, parseFilters } from './filters';
import { columnsOf, placeAt, stepped, wayBack } from './moves';

const board = {
  id: 'b',
  key: 'KAN',
  head_seq: 0,
  columns: [
    { id: 'todo', name: 'To do', states: ['TODO', 'BACKLOG'], wip_limit: null },
    { id: 'doing', name: 'Doing', states: ['IN_PROGRESS'], wip_limit: null },
    { id: 'checks', name: 'Checks', states: ['VERIFY'], wip_limit: null },
    { id: 'done', name: 'Done', states: ['COMPLETED'], wip_limit: null },
  ],
  settings: { planner: null },
} as unknown as Board;

const card = (id: string, column_id: string, rank: string, more: Partial<Task> = {}): Task =>
  ({
    id,
    board_id: 'b',
    number: id.charCodeAt(0),
    title: id,
    description: '',
    labels: [],
    state: board.columns.find((column) => column.id === column_id)?.states[0],
    column_id,
    rank,
    priority: 'normal',
    current_run_id: null,
    waiting: [],
    open_requests: 0,
    ...more,
  }) as Task;

const view: BoardView = boardView(board, [
  card('a', 'todo', 'B'),
  card('b', 'todo', 'a'),
  card('c', 'todo', 'm'),
  card('d', 'doing', 'V'),
  card('e', 'done', 'V'),
]);
const all = () => true;
const drawn = (flying: Parameters<typeof columnsOf>[2] = []) =>
  Object.fromEntries(
    [...columnsOf(view, all, flying)].map(([id, cards]) => [id, cards.map((each) => each.id).join('')]),
  );
const get = (id: string) => view.tasks.get(id) as Task;

describe('moves', () => {
  it('sorts as bytes do: capitals first', () => {
    expect(
      [...view.tasks.values()]
        .filter((t) => t.column_id === 'todo')
        .sort(byRank)
        .map((t) => t.id),
    ).toEqual(['a', 'b', 'c']);
  });
  it('lays what is in flight over what the server said', () => {
    expect(drawn()).toEqual({ todo: 'abc', doing: 'd', checks: '', done: 'e' });
    expect(drawn([{ id: 'a', column_id: 'doing', before: 'd' }])).toMatchObject({ todo: 'bc', doing: 'ad' });
    expect(drawn([{ id: 'a', column_id: 'doing', after: 'd' }])).toMatchObject({ todo: 'bc', doing: 'da' });
    expect(drawn([{ id: 'c', column_id: 'todo', before: 'a' }])).toMatchObject({ todo: 'cab' });
    expect(
      columnsOf(view, all, [{ id: 'a', column_id: 'done' }])
        .get('done')
        ?.at(-1),
    ).toMatchObject({ id: 'a', state: 'COMPLETED' });
  });
  it('lays two moves of one card one after the other', () => {
    const flying = [
      { id: 'a', column_id: 'doing', after: 'd' },
      { id: 'a', column_id: 'done', before: 'e' },
    ];
    expect(drawn(flying)).toMatchObject({ todo: 'bc', doing: 'd', done: 'ae' });
  });
  it('finds the place, and the way back', () => {
    const columns = columnsOf(view, all, []);
    expect(placeAt(columns.get('todo') ?? [], 0, 'c')).toEqual({ before: 'a' });
    expect(placeAt(columns.get('todo') ?? [], 2, 'a')).toEqual({ after: 'c' });
    expect(wayBack(columns, get('b'))).toEqual({ column_id: 'todo', before: 'c' });
    expect(wayBack(columns, get('d'))).toEqual({ column_id: 'doing' });
  });
  it('steps with the keys, over columns that may not have it', () => {
    const columns = columnsOf(view, all, []);
    expect(stepped(view, columns, get('a'), 'up')).toBeNull();
    expect(stepped(view, columns, get('a'), 'down')).toEqual({ id: 'a', column_id: 'todo', before: 'c' });
    expect(stepped(view, columns, get('d'), 'right')).toMatchObject({ column_id: 'done' });
    expect(stepped(view, columns, get('e'), 'left')).toMatchObject({ column_id: 'doing' });
    expect(stepped(view, columns, get('a'), 'left')).toBeNull();
  });
  it('knows what is legal', () => {
    const live = card('x', 'doing', 'V', { current_run_id: 'r' });
    expect(legal(live, board)).toEqual(['REVIEW', 'CANCELLED']);
    expect(legal(get('a'), board)).not.toContain('PLANNING');
    const done = board.columns[3];
    expect(done && stateIn(done, live, board)).toBeNull();
  });
});

describe('filters', () => {
  it('read themselves back from an address', () => {
    const filters = {
      q: 'tabs & spaces',
      label: ['bug', 'a,b'],
      priority: ['high' as const],
      needs: 'me' as const,
      group: 'agent' as const,
    };
    expect(parseFilters(parseSearch(stringifySearch(filters)))).toEqual(filters);
  });
  it('leave out what makes no sense', () => {
    expect(parseFilters({ priority: 'huge', needs: 'x', group: 'none', label: '', q: 7 })).toEqual({ q: '7' });
  });
  it('look at number, title, labels and text', () => {
    const shows = (filters: Parameters<typeof matcher>[0], task: Task) => matcher(filters, 'KAN')(task);
    const task = card('a', 'todo', 'V', { title: 'Größe der Bäume', labels: ['bug'], description: 'Tabs' });
    expect(shows({ q: 'kan-97' }, task)).toBe(true);
    expect(shows({ q: 'größe TABS' }, task)).toBe(true);
    expect(shows({ q: 'nothing' }, task)).toBe(false);
    expect(shows({ label: ['bug', 'api'] }, task)).toBe(true);
    expect(shows({ agent: ['nobody'] }, { ...task, agent_type: null })).toBe(true);
    expect(shows({ needs: 'me' }, { ...task, open_requests: 1 })).toBe(true);
  });
  it('make lanes in a fixed order, those of nobody last', () => {
    const tasks = [
      card('a', 'todo', 'V', { labels: ['z'] }),
      card('b', 'todo', 'V'),
      card('c', 'todo', 'V', { labels: ['a'] }),
    ];
    expect(lanes(tasks, 'label').map((lane) => lane.name)).toEqual(['a', 'z', 'No label']);
  });
});
