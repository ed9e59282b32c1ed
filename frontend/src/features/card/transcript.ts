/**
 * What an agent said and did, made from its log. Pure and append-only: a batch of events copies the list once, changes only
 * the items it touches, and never walks what lies behind. One long answer is cut into pieces, so that drawing its end never
 * draws its beginning again.
 */
import type { ContentBlock, Event, PlanEntry, ToolCall } from '@/api/types';

interface Base {
  key: string;
  seq: number;
  at: string;
}
export interface Say extends Base {
  kind: 'user' | 'agent' | 'thought';
  text: string;
  messageId: string | null;
  /** Goes on where the item before was cut. */
  continued: boolean;
  /** A code block was open where the item was cut. */
  fence: string | null;
}
export interface Tool extends Base {
  kind: 'tool';
  call: ToolCall;
  until: string | null;
}
export interface Permission extends Base {
  kind: 'permission';
  rpcId: string;
  title: string;
  toolCallId: string;
  outcome: string | null;
}
export interface Turn extends Base {
  kind: 'turn';
  number: number | null;
  stopReason: string | null;
}
export interface Notice extends Base {
  kind: 'notice';
  tone: 'quiet' | 'good' | 'warn' | 'bad';
  text: string;
  cause: number | null;
}
export interface Output extends Base {
  kind: 'output';
  text: string;
}
export type Item = Say | Tool | Permission | Turn | Notice | Output;

export interface ConfigOption {
  id: string;
  name: string;
  category?: string;
  currentValue: string;
  options: { value: string; name: string }[];
}

export interface Transcript {
  items: readonly Item[];
  tools: ReadonlyMap<string, number>;
  asked: ReadonlyMap<string, number>;
  /** Answers to what was asked before this view begins. */
  orphans: ReadonlyMap<string, string>;
  plan: readonly PlanEntry[];
  usage: { used: number; size: number; cost: { amount: number; currency: string } | null } | null;
  mode: string | null;
  modes: { id: string; name: string }[];
  config: ConfigOption[];
  running: boolean;
  first: number;
  last: number;
  count: number;
}

export const empty: Transcript = {
  items: [],
  tools: new Map(),
  asked: new Map(),
  orphans: new Map(),
  plan: [],
  usage: null,
  mode: null,
  modes: [],
  config: [],
  running: false,
  first: 0,
  last: 0,
  count: 0,
};

/** A piece grows to this, and is then cut at the next blank line; at the latest at the second. */
const PIECE = 6_000;
const PIECE_MOST = 16_000;
const OUTPUT_MOST = 64_000;

/** A view under change: what is shared with the old one is copied before it is written, once a batch. */
class Draft {
  items: Item[];
  view: Transcript;
  private toolsCopied = false;
  private askedCopied = false;

  constructor(view: Transcript) {
    this.view = { ...view };
    this.items = view.items.slice();
  }
  tool(id: string, at: number) {
    if (!this.toolsCopied) this.view.tools = new Map(this.view.tools);
    this.toolsCopied = true;
    (this.view.tools as Map<string, number>).set(id, at);
  }
  ask(id: string, at: number) {
    if (!this.askedCopied) this.view.asked = new Map(this.view.asked);
    this.askedCopied = true;
    (this.view.asked as Map<string, number>).set(id, at);
  }
  done(): Transcript {
    return { ...this.view, items: this.items };
  }
}

export function applyEvents(view: Transcript, events: readonly Event[]): Transcript {
  const fresh = events.filter((event) => event.seq > view.last);
  if (fresh.length === 0) return view;
  const draft = new Draft(view);
  for (const event of fresh) {
    if (draft.view.count === 0) draft.view.first = event.seq;
    draft.view.last = event.seq;
    draft.view.count++;
    one(draft, event);
  }
  return draft.done();
}

export const applyEvent = (view: Transcript, event: Event): Transcript => applyEvents(view, [event]);

/** Puts what came before in front. What was cut between the two is joined again. */
export function prepend(view: Transcript, earlier: readonly Event[]): Transcript {
  const old = applyEvents(empty, earlier);
  if (old.count === 0) return view;
  if (view.count === 0) return old;
  const head = old.items.map((item) =>
    item.kind === 'permission' && item.outcome === null
      ? { ...item, outcome: view.orphans.get(item.rpcId) ?? null }
      : item,
  );
  const rest: Item[] = [];
  const tools = new Map(old.tools);
  for (const item of view.items) {
    const at = item.kind === 'tool' ? old.tools.get(item.call.toolCallId) : undefined;
    const known = at === undefined ? undefined : head[at];
    if (item.kind === 'tool' && at !== undefined && known?.kind === 'tool')
      head[at] = { ...known, call: merged(known.call, item.call), until: item.until ?? known.until };
    else rest.push(item);
  }
  const end = head.at(-1);
  const begin = rest[0];
  if (end && begin && isSay(end) && isSay(begin) && joins(end, begin.kind, begin.messageId) && !begin.continued) {
    head[head.length - 1] = { ...end, text: end.text + begin.text };
    rest.shift();
  }
  const asked = new Map(old.asked);
  rest.forEach((item, index) => {
    if (item.kind === 'tool') tools.set(item.call.toolCallId, head.length + index);
    if (item.kind === 'permission') asked.set(item.rpcId, head.length + index);
  });
  return {
    ...view,
    orphans: old.orphans,
    items: [...head, ...rest],
    tools,
    asked,
    plan: view.plan.length ? view.plan : old.plan,
    usage: view.usage ?? old.usage,
    mode: view.mode ?? old.mode,
    modes: view.modes.length ? view.modes : old.modes,
    config: view.config.length ? view.config : old.config,
    first: old.first,
    count: old.count + view.count,
  };
}

const isSay = (item: Item): item is Say => item.kind === 'user' || item.kind === 'agent' || item.kind === 'thought';
const joins = (item: Say, kind: Say['kind'], messageId: string | null) =>
  item.kind === kind && item.kind !== 'user' && (item.messageId === messageId || !item.messageId || !messageId);

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const list = <T>(value: unknown): T[] => (Array.isArray(value) ? (value as T[]) : []);
const string = (value: unknown): string | null => (typeof value === 'string' ? value : null);

export function blockText(block: ContentBlock | undefined): string {
  if (!block) return '';
  if (typeof block.text === 'string') return block.text;
  if (block.type === 'resource_link') return block.name ?? block.uri ?? '';
  if (block.type === 'resource') return block.resource?.text ?? block.resource?.uri ?? '';
  return `[${block.type}]`;
}

function one(draft: Draft, event: Event): void {
  const base: Base = { key: String(event.seq), seq: event.seq, at: event.timestamp };
  const { type, data } = event;
  const notice = (tone: Notice['tone'], text: string) =>
    draft.items.push({ ...base, kind: 'notice', tone, text, cause: event.cause ?? null });
  switch (type) {
    case 'acp.message':
      return message(draft, base, data);
    case 'turn.started':
      draft.view.running = true;
      draft.items.push({ ...base, kind: 'turn', number: (data.number as number) ?? null, stopReason: null });
      return;
    case 'turn.ended': {
      draft.view.running = false;
      const reason = string(data.stop_reason);
      if (reason && reason !== 'end_turn') notice('warn', `The turn ended: ${STOPPED[reason] ?? reason}.`);
      return;
    }
    case 'agent.log':
      return output(draft, base, string(data.text) ?? string(data.line) ?? '');
    case 'agent.failed':
    case 'run.failed': {
      draft.view.running = false;
      const failure = object(data.failure ?? data);
      notice('bad', string(failure.detail) ?? string(failure.code) ?? 'The run failed.');
      return;
    }
    case 'stream.gap':
      notice('warn', `Events ${data.from}–${data.to} are gone: ${string(data.reason) ?? 'not kept'}.`);
      return;
    default: {
      const told = TOLD[type];
      if (told) notice(told[0], told[1](data));
    }
  }
}

const STOPPED: Record<string, string> = {
  cancelled: 'it was cancelled',
  refusal: 'the agent refused',
  max_tokens: 'the model reached its limit of tokens',
  max_turn_requests: 'the agent reached its limit of requests',
};

const TOLD: Record<string, [Notice['tone'], (data: Json) => string]> = {
  'run.queued': ['quiet', () => 'Run queued'],
  'run.started': ['quiet', (d) => (d.attempt ? `Attempt ${d.attempt} started` : 'Run started')],
  'run.completed': ['good', () => 'Run completed'],
  'run.cancelled': ['quiet', () => 'Run stopped'],
  'agent.started': ['quiet', () => 'Container started'],
  'agent.stopped': ['quiet', () => 'Container stopped'],
  'agent.paused': ['warn', () => 'Frozen: the container is paused'],
  'agent.resumed': ['quiet', () => 'The container runs on'],
  'agent.reattached': ['quiet', () => 'Kanvoy restarted; the agent kept working'],
  'agent.lost': ['bad', () => 'The agent was lost'],
  'cage.denied': ['warn', (d) => `Denied by the cage: ${string(d.detail) ?? string(d.host) ?? ''}`],
  'cage.limit_hit': ['bad', (d) => `A limit was reached: ${string(d.detail) ?? string(d.limit) ?? ''}`],
  'workspace.committed': ['good', (d) => `Committed ${string(d.subject) ?? ''}`.trim()],
  'workspace.merged': ['good', () => 'Merged'],
  'workspace.conflict': ['warn', () => 'The merge has conflicts'],
  'signal.refused': ['warn', (d) => `Signal refused: ${string(d.reason) ?? ''}`],
  'acp.noise': ['quiet', (d) => `${d.bytes ?? 'Some'} bytes on stdout that are not a message`],
};

function message(draft: Draft, base: Base, data: Json): void {
  const rpc = object(data.message);
  const method = string(data.method) ?? string(rpc.method);
  const params = object(rpc.params);
  const incoming = data.direction === 'in';
  if (method === 'session/update' && incoming) return update(draft, base, object(params.update));
  if (method === 'session/request_permission' && incoming && rpc.params !== undefined) {
    const call = object(params.toolCall) as unknown as ToolCall;
    if (call.toolCallId) tool(draft, base, call);
    const rpcId = String(rpc.id);
    draft.ask(rpcId, draft.items.length);
    const title = call.title ?? 'Permission';
    const toolCallId = call.toolCallId ?? '';
    draft.items.push({ ...base, kind: 'permission', rpcId, title, toolCallId, outcome: null });
    return;
  }
  if (method === 'session/prompt' && !incoming && rpc.params !== undefined) {
    const text = list<ContentBlock>(params.prompt).map(blockText).join('\n\n');
    draft.items.push({ ...base, kind: 'user', text, messageId: null, continued: false, fence: null });
    draft.view.running = true;
    return;
  }
  // Answers have no method; ours to a permission is found by its id.
  if (rpc.method === undefined) {
    const result = object(rpc.result);
    const outcome = object(result.outcome);
    const at = draft.view.asked.get(String(rpc.id));
    const asked = at === undefined ? undefined : draft.items[at];
    const chosen = string(outcome.optionId) ?? string(outcome.outcome);
    if (!incoming && chosen !== null) {
      if (at !== undefined && asked?.kind === 'permission') draft.items[at] = { ...asked, outcome: chosen };
      else draft.view.orphans = new Map(draft.view.orphans).set(String(rpc.id), chosen);
    }
    if (incoming && list(object(result.modes).availableModes).length) {
      const modes = object(result.modes);
      draft.view.modes = list<{ id: string; name: string }>(modes.availableModes);
      draft.view.mode = string(modes.currentModeId);
    }
    if (incoming && Array.isArray(result.configOptions)) draft.view.config = selectable(result.configOptions);
    if (incoming && rpc.error) {
      const error = object(rpc.error);
      const text = `The agent answered with an error: ${string(error.message) ?? error.code}`;
      draft.items.push({ ...base, kind: 'notice', tone: 'bad', text, cause: null });
    }
  }
}

const selectable = (options: unknown): ConfigOption[] =>
  list<Json>(options)
    .filter((option) => option.type === 'select' || option.type === undefined)
    .map((option) => ({
      ...(option as unknown as ConfigOption),
      options: list<Json>(option.options).flatMap((o) =>
        Array.isArray(o.options)
          ? list<ConfigOption['options'][0]>(o.options)
          : [o as unknown as ConfigOption['options'][0]],
      ),
    }));

const SAYS: Record<string, Say['kind']> = {
  agent_message_chunk: 'agent',
  agent_thought_chunk: 'thought',
  user_message_chunk: 'user',
};

function update(draft: Draft, base: Base, change: Json): void {
  const kind = String(change.sessionUpdate);
  const says = SAYS[kind];
  if (says) return say(draft, base, says, blockText(change.content as ContentBlock), string(change.messageId));
  switch (kind) {
    case 'tool_call':
    case 'tool_call_update':
      return tool(draft, base, change as unknown as ToolCall);
    case 'plan':
      draft.view.plan = list<PlanEntry>(change.entries);
      return;
    case 'usage_update':
      draft.view.usage = {
        used: Number(change.used) || 0,
        size: Number(change.size) || 0,
        cost: (change.cost as { amount: number; currency: string }) ?? draft.view.usage?.cost ?? null,
      };
      return;
    case 'current_mode_update':
      draft.view.mode = string(change.currentModeId);
      return;
    case 'config_option_update':
      draft.view.config = selectable(change.configOptions);
      return;
    case 'notice':
      draft.items.push({
        ...base,
        kind: 'notice',
        tone: change.severity === 'error' ? 'bad' : change.severity === 'warning' ? 'warn' : 'quiet',
        text: [string(change.title), string(change.description)].filter(Boolean).join(': '),
        cause: null,
      });
  }
}

/** The code block that is open at the end of the text, if any: its opening line. */
export function openFence(text: string): string | null {
  let open: string | null = null;
  for (const match of text.matchAll(/^ {0,3}(`{3,}|~{3,})([^\n]*)$/gm)) {
    const [line, mark = ''] = match;
    if (open === null) open = line;
    else if (open.trimStart().startsWith(mark[0] ?? '`') && line.trim() === mark) open = null;
  }
  return open;
}

function say(draft: Draft, base: Base, kind: Say['kind'], text: string, messageId: string | null): void {
  if (text === '') return;
  const end = draft.items.at(-1);
  if (kind === 'user') {
    // Some agents say back what they were asked.
    if (end?.kind === 'user' && end.text.startsWith(text)) return;
    draft.items.push({ ...base, kind, text, messageId, continued: false, fence: null });
    return;
  }
  if (!end || !isSay(end) || !joins(end, kind, messageId)) {
    draft.items.push({ ...base, kind, text, messageId, continued: false, fence: null });
    return;
  }
  const whole = end.text + text;
  const cut = whole.length > PIECE ? cutAt(whole) : -1;
  if (cut < 0) {
    draft.items[draft.items.length - 1] = { ...end, text: whole };
    return;
  }
  const before = whole.slice(0, cut);
  const fence = openFence(end.fence ? `${end.fence}\n${before}` : before);
  draft.items[draft.items.length - 1] = { ...end, text: before };
  draft.items.push({
    ...base,
    kind,
    text: whole.slice(cut),
    messageId: end.messageId ?? messageId,
    continued: true,
    fence,
  });
}

function cutAt(text: string): number {
  const blank = text.indexOf('\n\n', PIECE - 1_000);
  if (blank >= 0 && blank < text.length - 2) return blank + 2;
  if (text.length < PIECE_MOST) return -1;
  const line = text.lastIndexOf('\n');
  return line > PIECE ? line + 1 : text.length;
}

function merged(before: ToolCall, change: ToolCall): ToolCall {
  const call: Json = { ...before };
  for (const [name, value] of Object.entries(change)) {
    if (value !== undefined && value !== null && name !== 'sessionUpdate') call[name] = value;
  }
  return call as unknown as ToolCall;
}

const ENDED = new Set(['completed', 'failed', 'cancelled']);

function tool(draft: Draft, base: Base, change: ToolCall): void {
  const at = draft.view.tools.get(change.toolCallId);
  const known = at === undefined ? undefined : draft.items[at];
  if (at !== undefined && known?.kind === 'tool') {
    const call = merged(known.call, change);
    draft.items[at] = { ...known, call, until: ENDED.has(call.status ?? '') ? (known.until ?? base.at) : null };
    return;
  }
  draft.tool(change.toolCallId, draft.items.length);
  const call = merged({ toolCallId: change.toolCallId }, change);
  draft.items.push({ ...base, kind: 'tool', call, until: ENDED.has(call.status ?? '') ? base.at : null });
}

function output(draft: Draft, base: Base, text: string): void {
  const end = draft.items.at(-1);
  if (end?.kind === 'output' && end.text.length < OUTPUT_MOST)
    draft.items[draft.items.length - 1] = { ...end, text: `${end.text}${end.text.endsWith('\n') ? '' : '\n'}${text}` };
  else draft.items.push({ ...base, kind: 'output', text });
}

/** The text of a piece as markdown that stands alone: an open code block is closed at its end and opened again behind. */
export function standalone(item: Say): string {
  const text = item.fence ? `${item.fence}\n${item.text}` : item.text;
  return openFence(text) ? `${text}\n${/^\s*(`{3,}|~{3,})/.exec(openFence(text) ?? '')?.[1] ?? '```'}` : text;
}
