/** Lines of a unified patch, and the lines that differ between two texts: enough to draw, and small. */

export interface Line {
  kind: 'same' | 'add' | 'del' | 'hunk';
  text: string;
  old: number | null;
  new: number | null;
}

export function parsePatch(patch: string): Line[] {
  const lines: Line[] = [];
  let from = 0;
  let to = 0;
  let inside = false;
  for (const text of patch.replace(/\n$/, '').split('\n')) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(text);
    if (hunk) {
      from = Number(hunk[1]);
      to = Number(hunk[2]);
      inside = true;
      lines.push({ kind: 'hunk', text, old: null, new: null });
    } else if (!inside || text.startsWith('\\')) {
      // What stands before the first hunk says again what the list of files says.
    } else if (text.startsWith('+')) lines.push({ kind: 'add', text: text.slice(1), old: null, new: to++ });
    else if (text.startsWith('-')) lines.push({ kind: 'del', text: text.slice(1), old: from++, new: null });
    else lines.push({ kind: 'same', text: text.slice(1), old: from++, new: to++ });
  }
  return lines;
}

/** Pairs for two columns: what was beside what is. */
export function sideBySide(lines: Line[]): [Line | null, Line | null][] {
  const rows: [Line | null, Line | null][] = [];
  for (let i = 0; i < lines.length; ) {
    const line = lines[i];
    if (!line) break;
    if (line.kind === 'same' || line.kind === 'hunk') {
      rows.push([line, line]);
      i++;
      continue;
    }
    const gone: Line[] = [];
    const come: Line[] = [];
    for (; lines[i]?.kind === 'del'; i++) gone.push(lines[i] as Line);
    for (; lines[i]?.kind === 'add'; i++) come.push(lines[i] as Line);
    for (let k = 0; k < Math.max(gone.length, come.length); k++) rows.push([gone[k] ?? null, come[k] ?? null]);
  }
  return rows;
}

/** More cells than this and the middle is shown as replaced whole. */
const MOST_CELLS = 1_000_000;

export function diffLines(before: string, after: string, context = 3): Line[] {
  const a = before === '' ? [] : before.replace(/\n$/, '').split('\n');
  const b = after === '' ? [] : after.replace(/\n$/, '').split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const all: Line[] = [];
  let from = 1;
  let to = 1;
  const same = (text: string) => all.push({ kind: 'same', text, old: from++, new: to++ });
  const del = (text: string) => all.push({ kind: 'del', text, old: from++, new: null });
  const add = (text: string) => all.push({ kind: 'add', text, old: null, new: to++ });
  for (const text of a.slice(0, head)) same(text);
  const left = a.slice(head, a.length - tail);
  const right = b.slice(head, b.length - tail);
  if (left.length * right.length > MOST_CELLS) {
    for (const text of left) del(text);
    for (const text of right) add(text);
  } else {
    walk(left, right, same, del, add);
  }
  for (const text of a.slice(a.length - tail)) same(text);
  return folded(all, context);
}

function walk(
  a: string[],
  b: string[],
  same: (t: string) => void,
  del: (t: string) => void,
  add: (t: string) => void,
): void {
  const wide = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * wide);
  const at = (i: number, j: number) => longest[i * wide + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      longest[i * wide + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    if (left !== undefined && left === right) {
      same(left);
      i++;
      j++;
    } else if (left !== undefined && (right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      del(left);
      i++;
    } else if (right !== undefined) {
      add(right);
      j++;
    }
  }
}

/** Keeps a few lines around each change; what lies between is a hunk's line. */
function folded(all: Line[], context: number): Line[] {
  const keep = new Set<number>();
  all.forEach((line, index) => {
    if (line.kind === 'same') return;
    for (let k = index - context; k <= index + context; k++) keep.add(k);
  });
  const lines: Line[] = [];
  let skipped = false;
  all.forEach((line, index) => {
    if (keep.has(index)) {
      if (skipped && lines.length) lines.push({ kind: 'hunk', text: '⋯', old: null, new: null });
      skipped = false;
      lines.push(line);
    } else skipped = true;
  });
  return lines;
}
