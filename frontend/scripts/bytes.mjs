// What a first visit loads: the entry with everything it imports at once, the style, the page. Printed after every build.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url).pathname;
const size = (file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;
const page = readFileSync(join(dist, 'index.html'), 'utf8');
const first = new Set([
  'index.html',
  ...[...page.matchAll(/(?:src|href)="\.\/([^"]+\.(?:js|css))"/g)].map((m) => m[1]),
]);
for (const file of first) {
  if (!file.endsWith('.js')) continue;
  for (const m of readFileSync(join(dist, file), 'utf8').matchAll(
    /(?:^|[;}])import(?:[^"'()]*from)?["']\.\/([^"']+\.js)["']/g,
  ))
    first.add(`assets/${m[1]}`);
}
const lazy = readdirSync(join(dist, 'assets')).filter((name) => !first.has(`assets/${name}`));
const kib = (bytes) => `${(bytes / 1024).toFixed(1).padStart(7)} KiB gzip`;
let total = 0;
console.log('first load');
for (const file of first) {
  total += size(file);
  console.log(kib(size(file)), file);
}
console.log(kib(total), 'in all\nlater');
for (const name of lazy) console.log(kib(size(`assets/${name}`)), name);
