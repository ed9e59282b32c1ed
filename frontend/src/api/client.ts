/** The thin skin over fetch: where the server is, how it says no, and the key that makes a repeated POST harmless. */

/** The page may live below any path; the server writes it into <base>. */
export const ROOT = new URL('./', document.baseURI);
export const API = new URL('api/v1/', ROOT);

export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly body: Record<string, unknown>;

  constructor(status: number, code: string, detail: string, body: Record<string, unknown> = {}) {
    super(detail);
    this.name = 'Problem';
    this.status = status;
    this.code = code;
    this.body = body;
  }

  /** What the server says of single fields: `/title` → why. */
  get fields(): Record<string, string> {
    const many = Array.isArray(this.body.fields) ? this.body.fields : [];
    const one = typeof this.body.field === 'string' ? [{ pointer: this.body.field, detail: this.message }] : [];
    return Object.fromEntries([...one, ...many].map((f) => [String(f.pointer).replace(/^\//, ''), String(f.detail)]));
  }
}

/** The server does not have this route: an older or a smaller one. */
export const isMissing = (error: unknown) =>
  error instanceof Problem && (error.status === 404 || error.status === 405 || error.status === 501);

export const why = (error: unknown) => (error instanceof Error ? error.message : String(error));

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text) as Record<string, unknown>;
    return new Problem(
      response.status,
      String(body.code ?? 'unknown'),
      String(body.detail ?? body.title ?? `The server answered ${response.status}.`),
      body,
    );
  } catch {
    return new Problem(response.status, 'unknown', `The server answered ${response.status} ${response.statusText}.`);
  }
}

/** randomUUID exists only in secure contexts, and a board on a home network is not one. */
function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

type Query = Record<string, string | number | boolean | null | undefined>;

export function url(path: string, query?: Query): URL {
  const target = new URL(path, API);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') target.searchParams.set(name, String(value));
  }
  return target;
}

async function call<T>(method: string, target: URL, body?: unknown, headers?: Record<string, string>): Promise<T> {
  let response: Response;
  try {
    response = await fetch(target, {
      method,
      credentials: 'same-origin',
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(method === 'POST' ? { 'idempotency-key': freshKey() } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, 'unreachable', 'Kanvoy cannot be reached. Is it running?');
  }
  if (!response.ok) throw await problemOf(response);
  if (response.status === 204) return undefined as T;
  const type = response.headers.get('content-type') ?? '';
  return (type.includes('json') ? await response.json() : await response.text()) as T;
}

export const api = {
  get: <T>(path: string, query?: Query) => call<T>('GET', url(path, query)),
  post: <T>(path: string, body: unknown = {}, headers?: Record<string, string>) =>
    call<T>('POST', url(path), body, headers),
  patch: <T>(path: string, body: unknown) => call<T>('PATCH', url(path), body),
  put: <T>(path: string, body: unknown) => call<T>('PUT', url(path), body),
  delete: <T>(path: string) => call<T>('DELETE', url(path)),
  /** Beside the API: health. Its body counts even when the status says 503. */
  async health<T>(): Promise<T> {
    const response = await fetch(new URL('readyz', ROOT), { headers: { accept: 'application/json' } });
    return (await response.json()) as T;
  },
};
