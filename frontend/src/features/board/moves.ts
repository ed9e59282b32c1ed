/** Moves in flight, laid over what the server said last. A refused one is simply no longer laid over: that is the roll-back. */
import { type BoardView, byRank } from '@/api/board';
import type { Move, State, Task } from '@/api/types';
import { stateIn } from '@/lib/lifecycle';

export interface InFlight extends Move {
  id: string;
}

export type Columns = ReadonlyMap<string, Task[]>;

export function columnsOf(view: BoardView, shows: (task: Task) => boolean, inFlight: readonly InFlight[]): Columns {
  const columns = new Map<string, Task[]>(view.board.columns.map((column) => [column.id, []]));
  for (const task of view.tasks.values()) if (shows(task)) columns.get(task.column_id)?.push(task);
  for (const cards of columns.values()) cards.sort(byRank);
  for (const move of inFlight) lay(view, columns, move);
  return columns;
}

function lay(view: BoardView, columns: Map<string, Task[]>, move: InFlight): void {
  const task = view.tasks.get(move.id);
  if (!task) return;
  const target = move.column_id ?? task.column_id;
  const column = view.board.columns.find((each) => each.id === target);
  const cards = columns.get(target);
  if (!column || !cards) return;
  for (const [id, each] of columns) {
    const at = each.findIndex((card) => card.id === move.id);
    if (at < 0) continue;
    columns.set(id, each.toSpliced(at, 1));
  }
  const state: State = stateIn(column, task, view.board) ?? task.state;
  const rest = columns.get(target) ?? [];
  const beside = rest.findIndex((card) => card.id === (move.before ?? move.after));
  const at = beside < 0 ? rest.length : move.before ? beside : beside + 1;
  columns.set(target, rest.toSpliced(at, 0, { ...task, column_id: target, state }));
}

/** Where the card goes that is put at `index` among `cards`, itself not counted. */
export function placeAt(cards: readonly Task[], index: number, id: string): Pick<Move, 'before' | 'after'> {
  const others = cards.filter((card) => card.id !== id);
  const after = others[index - 1];
  const before = others[index];
  if (before) return { before: before.id };
  return after ? { after: after.id } : {};
}

/** What brings it back to where it lies now. */
export function wayBack(columns: Columns, task: Task): Move {
  const cards = columns.get(task.column_id) ?? [];
  const index = cards.findIndex((card) => card.id === task.id);
  return { column_id: task.column_id, ...placeAt(cards, Math.max(0, index), task.id) };
}

export type Step = 'up' | 'down' | 'left' | 'right';

/** Alt and an arrow: one place up or down, or over to the next column that may take it. */
export function stepped(view: BoardView, columns: Columns, task: Task, step: Step): InFlight | null {
  const cards = columns.get(task.column_id) ?? [];
  const at = cards.findIndex((card) => card.id === task.id);
  if (step === 'up' || step === 'down') {
    const to = step === 'up' ? at - 1 : at + 1;
    if (at < 0 || to < 0 || to >= cards.length) return null;
    return { id: task.id, column_id: task.column_id, ...placeAt(cards, to, task.id) };
  }
  const all = view.board.columns;
  const here = all.findIndex((column) => column.id === task.column_id);
  const way = step === 'left' ? -1 : 1;
  for (let i = here + way; i >= 0 && i < all.length; i += way) {
    const column = all[i];
    if (column && stateIn(column, task, view.board))
      return { id: task.id, column_id: column.id, ...placeAt(columns.get(column.id) ?? [], at, task.id) };
  }
  return null;
}
