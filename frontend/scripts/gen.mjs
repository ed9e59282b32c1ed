// docs/openapi.json → src/api/generated/schema.ts. Only the shapes: the routes are few and are written in src/api/queries.ts.
// With --check nothing is written, and a difference fails: the test that the two have not drifted apart.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import openapiTS, { astToString } from 'openapi-typescript';

const SOURCE = new URL('../../docs/openapi.json', import.meta.url);
const TARGET = new URL('../src/api/generated/schema.ts', import.meta.url);
if (!existsSync(SOURCE)) {
  console.log('docs/openapi.json is not here: nothing to compare with');
  process.exit(0);
}
const { openapi, info, components } = JSON.parse(readFileSync(SOURCE, 'utf8'));
const schemas = { schemas: components.schemas };
const head = '/** Made by `npm run gen` from docs/openapi.json. Never edited. */\n\n';
const made = head + astToString(await openapiTS({ openapi, info, paths: {}, components: schemas }));
if (!process.argv.includes('--check')) writeFileSync(TARGET, made);
else if (readFileSync(TARGET, 'utf8') !== made) {
  console.error('src/api/generated/schema.ts is older than docs/openapi.json: run `npm run gen`');
  process.exit(1);
}
