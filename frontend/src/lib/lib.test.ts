import { expect, it } from 'vitest';
import { asPrompt } from '@/features/review/comments';
import { diffLines, parsePatch, sideBySide } from './diff';
import { spelled } from './shortcuts';
import { money, plain, visible } from './text';
import { ago } from './time';

it('shows what would hide', () => {
  expect(visible('rm -rf \u202e/\u200b')).toBe('rm -rf ⟨U+202E⟩/⟨U+200B⟩');
  expect(visible('a\tb\nc')).toBe('a\tb\nc');
});

it('shows what a terminal would', () => {
  expect(plain('\u001b[31mred\u001b[0m\r\nnext')).toBe('red\nnext');
  expect(plain('10%\r50%\r100%\ndone')).toBe('100%\ndone');
  expect(plain('\u001b]0;title\u0007x')).toBe('x');
});

it('finds the lines that differ', () => {
  const marks = (a: string, b: string) => diffLines(a, b).map((line) => `${line.kind[0]}${line.text}`);
  expect(marks('a\nb\nc\n', 'a\nx\nc\n')).toEqual(['sa', 'db', 'ax', 'sc']);
  expect(marks('', 'a\n')).toEqual(['aa']);
  expect(marks('a\n', 'a\n')).toEqual([]);
  const long = Array.from({ length: 100 }, (_, i) => `l${i}`).join('\n');
  expect(diffLines(long, long.replace('l50', 'X')).length).toBe(8);
});

it('reads a patch, and lays it side by side', () => {
  const lines = parsePatch(
    'diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -3,3 +3,4 @@ fn\n same\n-old\n+new\n+more\n same\n\\ No newline at end of file\n',
  );
  expect(lines.map((line) => [line.kind, line.old, line.new])).toEqual([
    ['hunk', null, null],
    ['same', 3, 3],
    ['del', 4, null],
    ['add', null, 4],
    ['add', null, 5],
    ['same', 5, 6],
  ]);
  expect(sideBySide(lines).map(([a, b]) => [a?.text ?? null, b?.text ?? null])).toEqual([
    ['@@ -3,3 +3,4 @@ fn', '@@ -3,3 +3,4 @@ fn'],
    ['same', 'same'],
    ['old', 'new'],
    [null, 'more'],
    ['same', 'same'],
  ]);
});

it('makes a prompt of comments, in the order of the file', () => {
  const comment = { id: '1', path: 'a.rs', side: 'new' as const, code: '  let x = 1;', text: 'Why?' };
  expect(
    asPrompt([
      { ...comment, line: 9 },
      { ...comment, id: '2', line: 2, text: 'Name it\nbetter' },
    ]),
  ).toBe(
    'I reviewed your changes. Please address these comments:\n\n### a.rs\n- line 2: `let x = 1;`\n  Name it\n  better\n- line 9: `let x = 1;`\n  Why?',
  );
});

it('spells keys as the registry does', () => {
  const key = (key: string, more: Partial<KeyboardEvent> = {}) =>
    spelled({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });
  expect(key('K', { metaKey: true })).toBe('mod+k');
  expect(key('?', { shiftKey: true })).toBe('?');
  expect(key('J', { shiftKey: true })).toBe('shift+j');
  expect(key('ArrowUp', { altKey: true })).toBe('alt+ArrowUp');
});

it('says how long ago, and how much', () => {
  const now = Date.parse('2026-11-20T10:00:00Z');
  expect(ago('2026-11-20T09:59:50Z', now)).toBe('now');
  expect(ago('2026-11-20T09:30:00Z', now)).toBe('30m ago');
  expect(money(0.5)).toBe('$0.50');
  expect(money({ amount: 12, currency: 'nonsense' })).toBe('$12.00');
});
