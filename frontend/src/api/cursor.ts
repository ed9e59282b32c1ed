/** Where a reader of every log stands: `<board>:<seq>,…,system:<seq>`. */
import type { Event } from './types';

export type Cursor = ReadonlyMap<string, number>;

export function parseCursor(text: string): Map<string, number> {
  const cursor = new Map<string, number>();
  for (const part of text.split(',')) {
    const at = part.lastIndexOf(':');
    const seq = Number(part.slice(at + 1));
    if (at > 0 && Number.isSafeInteger(seq)) cursor.set(part.slice(0, at), seq);
  }
  return cursor;
}

export const formatCursor = (cursor: Cursor) => [...cursor].map(([log, seq]) => `${log}:${seq}`).join(',');

export const logOf = (event: Pick<Event, 'board_id'>) => event.board_id ?? 'system';

/** Moves the cursor on; false for what was read before. */
export function advance(cursor: Map<string, number>, event: Event): boolean {
  const log = logOf(event);
  if (event.seq <= (cursor.get(log) ?? 0)) return false;
  cursor.set(log, event.seq);
  return true;
}
