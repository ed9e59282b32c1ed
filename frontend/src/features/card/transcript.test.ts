import { describe, expect, it } from 'vitest';
import examples from '@/api/examples/transcript.json';
import type { Event } from '@/api/types';
import {
  applyEvent,
  applyEvents,
  empty,
  openFence,
  prepend,
  type Say,
  standalone,
  type Transcript,
} from './transcript';

const events = examples as unknown as Event[];
const whole = applyEvents(empty, events);
const brief = (view: Transcript) =>
  view.items.map((item) =>
    item.kind === 'tool'
      ? `tool ${item.call.title} ${item.call.status}`
      : item.kind === 'permission'
        ? `asked ${item.outcome}`
        : item.kind === 'turn'
          ? `turn ${item.number}`
          : `${item.kind}: ${item.text}`,
  );

const chunk = (seq: number, text: string, messageId = 'm'): Event => ({
  seq,
  type: 'acp.message',
  timestamp: '2026-11-20T07:00:00.000Z',
  task_id: 't',
  data: {
    direction: 'in',
    method: 'session/update',
    message: {
      method: 'session/update',
      params: { update: { sessionUpdate: 'agent_message_chunk', messageId, content: { type: 'text', text } } },
    },
  },
});

describe('what an agent said', () => {
  it('joins chunks, folds tools into one, and passes over what it does not know', () => {
    expect(brief(whole)).toEqual([
      'notice: Attempt 1 started',
      'turn 1',
      'user: Do it',
      'thought: Let me think.',
      'agent: I will look.',
      'agent: Next.',
      'tool cargo test completed',
      'asked y',
      'notice: The turn ended: the model reached its limit of tokens.',
      'notice: Killed at its limit',
    ]);
    expect(whole.plan.map((entry) => entry.status)).toEqual(['completed', 'in_progress']);
    expect(whole.usage).toMatchObject({ used: 1200, size: 200_000 });
    expect(whole.running).toBe(false);
  });

  it('is the same however it was cut into batches', () => {
    expect(events.reduce(applyEvent, empty)).toEqual(whole);
  });

  it('never changes a view that was given out', () => {
    const before = applyEvents(empty, events.slice(0, 5));
    const picture = JSON.stringify(before.items);
    applyEvents(before, events.slice(5));
    expect(JSON.stringify(before.items)).toBe(picture);
  });

  it('is the same when its beginning comes last', () => {
    for (let cut = 1; cut < events.length; cut++) {
      const late = applyEvents(empty, events.slice(cut));
      expect(brief(prepend(late, events.slice(0, cut))), `cut at ${cut}`).toEqual(brief(whole));
    }
  });

  it('cuts a long answer into pieces that stand alone', () => {
    const line = 'let x = 1; // and some more words to fill the line\n';
    const text = `Look:\n\n\`\`\`rust\n${line.repeat(600)}\`\`\`\n\nDone.`;
    const view = applyEvents(
      empty,
      (text.match(/[\s\S]{1,50}/g) ?? []).map((part, index) => chunk(index + 1, part)),
    );
    const pieces = view.items as Say[];
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.map((piece) => piece.text).join('')).toBe(text);
    for (const piece of pieces) {
      expect(piece.text.length).toBeLessThan(17_000);
      expect(openFence(standalone(piece))).toBeNull();
    }
  });

  it('takes a hundred thousand events, and a late one costs no more than an early one', () => {
    const many = Array.from({ length: 100_000 }, (_, index) =>
      chunk(index + 1, 'some words of an answer ', `m${Math.floor(index / 50)}`),
    );
    const step = 100;
    const times: number[] = [];
    let view = empty;
    for (let at = 0; at < many.length; at += step) {
      const begun = performance.now();
      view = applyEvents(view, many.slice(at, at + step));
      times.push(performance.now() - begun);
    }
    expect(view.count).toBe(100_000);
    const median = (list: number[]) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;
    const early = median(times.slice(100, 300));
    const late = median(times.slice(-200));
    expect(late / early).toBeLessThan(4);
  });
});
