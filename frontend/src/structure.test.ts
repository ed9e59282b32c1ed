/** Who may import whom: routes → features → api, ui, lib. Read from the sources, so that a new arrow is a failing test. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, it } from 'vitest';

const SRC = join(process.cwd(), 'src');
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => /(?<!\.test)\.tsx?$/.test(name));
const room = (file: string) => /^features\/[^/]+/.exec(file)?.[0] ?? /^(api|ui|lib)\//.exec(file)?.[1] ?? 'top';

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'((?:@\/|\.)[^']*)'/g)].map(([, path = '']) =>
    path.startsWith('@/') ? path.slice(2) : relative(SRC, join(SRC, file, '..', path)),
  );
}

it('features do not know each other, and what lies below knows no feature', () => {
  const wrong = files.flatMap((file) =>
    importsOf(file)
      .filter((to) => {
        const [from, into] = [room(file), room(to)];
        if (from === into || from === 'top') return false;
        if (into.startsWith('features') || into === 'top') return !/\.css$/.test(to);
        return from === 'lib' && into === 'ui';
      })
      .map((to) => `${file} → ${to}`),
  );
  expect(wrong).toEqual([]);
});

it('only one file opens a WebSocket, and none writes HTML', () => {
  const all = files.map((file) => [file, readFileSync(join(SRC, file), 'utf8')] as const);
  expect(all.filter(([, text]) => /new WebSocket\(/.test(text)).map(([file]) => file)).toEqual(['api/live.ts']);
  expect(
    all.filter(([, text]) => /dangerouslySetInnerHTML|innerHTML|rehype-raw|eval\(/.test(text)).map(([file]) => file),
  ).toEqual([]);
  expect(
    all.filter(([file, text]) => file !== 'api/client.ts' && /\bfetch\(/.test(text)).map(([file]) => file),
  ).toEqual([]);
});
