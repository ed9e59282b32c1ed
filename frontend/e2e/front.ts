/** The real binary, with the built page before it: until the page is embedded, what is not the API is served from dist/. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request as forward } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { POLICY } from '../mock/server.ts';
import { DIST } from './play.ts';

export const BINARY = process.env.KANVOY_BIN ?? fileURLToPath(new URL('../../target/debug/kanvoy', import.meta.url));
export const isThere = existsSync(BINARY);

const TYPE: Record<string, string> = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

export class Front {
  readonly data = mkdtempSync(join(tmpdir(), 'kanvoy-e2e-'));
  private daemon: ChildProcess | null = null;
  private readonly http = createServer();
  private backend = 0;
  port = 0;

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  async start(): Promise<void> {
    this.http.on('request', (request, response) => {
      const path = (request.url ?? '/').split('?')[0] ?? '/';
      if (/^\/(api|login\/|readyz|healthz)/.test(path) && !(path === '/login')) {
        const headers = { ...request.headers, host: `127.0.0.1:${this.backend}` };
        if (headers.origin) headers.origin = `http://127.0.0.1:${this.backend}`;
        const onward = forward(
          { host: '127.0.0.1', port: this.backend, path: request.url, method: request.method, headers },
          (answer) => {
            response.writeHead(answer.statusCode ?? 502, answer.headers);
            answer.pipe(response);
          },
        );
        onward.on('error', () => response.writeHead(502).end());
        request.pipe(onward);
        return;
      }
      const file = join(DIST, normalize(path));
      const asset = extname(path) !== '';
      const depth = path.split('/').length - 2;
      response.writeHead(200, {
        'content-security-policy': POLICY,
        'content-type': asset ? (TYPE[extname(path)] ?? 'text/plain') : 'text/html; charset=utf-8',
      });
      response.end(
        asset
          ? readFileSync(file)
          : readFileSync(join(DIST, 'index.html'), 'utf8').replace(
              'href="./"',
              `href="${depth > 0 ? '../'.repeat(depth) : './'}"`,
            ),
      );
    });
    this.http.on('upgrade', (request, socket, head) => {
      const target = connect(this.backend, '127.0.0.1', () => {
        const headers = Object.entries({
          ...request.headers,
          host: `127.0.0.1:${this.backend}`,
          origin: `http://127.0.0.1:${this.backend}`,
        });
        target.write(
          `GET ${request.url} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n`,
        );
        target.write(head);
        target.pipe(socket).pipe(target);
      });
      target.on('error', () => socket.destroy());
      socket.on('error', () => target.destroy());
    });
    await new Promise<void>((resolve) => this.http.listen(0, '127.0.0.1', resolve));
    const address = this.http.address();
    this.port = typeof address === 'object' && address ? address.port : 0;
    this.backend = 20_000 + Math.floor(Math.random() * 20_000);
    await this.serve();
  }

  async serve(): Promise<void> {
    this.daemon = spawn(BINARY, ['serve', '--listen', `127.0.0.1:${this.backend}`, '--data-dir', this.data], {
      stdio: 'ignore',
    });
    for (let i = 0; i < 100; i++) {
      const up = await fetch(`http://127.0.0.1:${this.backend}/healthz`)
        .then((answer) => answer.ok)
        .catch(() => false);
      if (up) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error('the daemon did not come up');
  }

  kill(): Promise<void> {
    const daemon = this.daemon;
    return new Promise((resolve) => {
      daemon?.once('exit', () => resolve());
      daemon?.kill('SIGKILL');
    });
  }

  token(): string {
    return readFileSync(join(this.data, 'token'), 'utf8').trim();
  }

  async api<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(`http://127.0.0.1:${this.backend}/api/v1/${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token()}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  async end(): Promise<void> {
    await this.kill();
    this.http.closeAllConnections();
    this.http.close();
    rmSync(this.data, { recursive: true, force: true });
  }
}
