import { expect, it } from 'vitest';
import { advance, formatCursor, parseCursor } from './cursor';
import { backoff } from './live';

const event = (seq: number, board_id?: string) => ({
  seq,
  type: 't',
  timestamp: '',
  data: {},
  ...(board_id ? { board_id } : {}),
});

it('a cursor reads itself back, and moves only forwards', () => {
  const cursor = parseCursor('b1:7,system:3,bad,:1');
  expect(formatCursor(cursor)).toBe('b1:7,system:3');
  expect(advance(cursor, event(7, 'b1'))).toBe(false);
  expect(advance(cursor, event(8, 'b1'))).toBe(true);
  expect(advance(cursor, event(4))).toBe(true);
  expect(advance(cursor, event(1, 'b2'))).toBe(true);
  expect(formatCursor(cursor)).toBe('b1:8,system:4,b2:1');
});

it('comes back soon at first, and never later than some seconds', () => {
  expect(backoff(0, 0.5)).toBe(500);
  expect(backoff(3, 0.5)).toBe(4_000);
  expect(backoff(50, 1)).toBeLessThanOrEqual(18_750);
});
