/** What the server says, in its own spelling. The names follow the OpenAPI document. */

import type { components } from './generated/schema';

type S = components['schemas'];

export type State = S['State'];
export type Priority = S['Priority'];
export type Column = S['Column'];
export type BoardSettings = S['Settings'];
export type Board = S['Board'];
export type Reason = S['Reason'];
export type Failure = S['Failure'];
export type Task = S['Task'];
export type Actor = S['Actor'];
export type Me = S['Me'];
export type Health = S['Readiness'];

export const STATES = [
  'BACKLOG',
  'TODO',
  'PLANNING',
  'IN_PROGRESS',
  'REVIEW',
  'VERIFY',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
] as const satisfies readonly State[];

export const PRIORITIES = ['urgent', 'high', 'normal', 'low'] as const satisfies readonly Priority[];

/** What agents report is in a currency; what the board sums up is in dollars. */
export type Cost = number | { amount: number; currency: string };

export type Written<T> = T & { seq?: number };

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

/** One fact of a log. `data` depends on `type`; reducers read only what they know and leave the rest alone. */
export type Event = Omit<S['Event'], 'data'> & { data: Record<string, unknown> };

export interface NewBoard {
  name: string;
  description?: string;
  key?: string;
  repository_url?: string | null;
  default_branch?: string | null;
}

export interface NewTask {
  title: string;
  description?: string;
  state?: State;
  priority?: Priority;
  agent_type?: string | null;
  labels?: string[];
  blocked_by?: string[];
  parent_id?: string | null;
}

export type TaskEdit = Partial<
  Pick<
    Task,
    | 'title'
    | 'description'
    | 'priority'
    | 'agent_type'
    | 'repository_url'
    | 'branch'
    | 'labels'
    | 'blocked_by'
    | 'parent_id'
    | 'external_ref'
  >
> & { archived?: boolean; version?: number };

export interface Move {
  column_id?: string;
  before?: string;
  after?: string;
}

export interface ColumnEdit {
  name?: string;
  states?: State[];
  wip_limit?: number | null;
  position?: number;
}

export type RunState =
  | 'queued'
  | 'starting'
  | 'running'
  | 'waiting'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'interrupted';

export interface PlanEntry {
  content: string;
  priority?: string;
  status: 'pending' | 'in_progress' | 'completed';
}

export interface RunStatus {
  task_id: string;
  state: State;
  waiting: Reason[];
  run: {
    id: string;
    role: string;
    attempt: number;
    state: RunState;
    started_at: string | null;
    ended_at: string | null;
    held?: boolean;
    frozen?: boolean;
  } | null;
  turn: { number: number; state: 'queued' | 'running' | 'ended' | 'lost'; stop_reason: string | null } | null;
  instance: {
    id: string;
    runtime: 'docker' | 'process';
    container_id: string | null;
    state: string;
    exit_code: number | null;
    oom: boolean;
  } | null;
  progress: { percent: number | null; note: string | null };
  last_message: string | null;
  usage: { used: number; size: number; cost: Cost | null } | null;
  plan: PlanEntry[];
  open_requests: unknown[];
  queued_prompts?: string[];
  head_seq: number;
}

export interface RequestOption {
  option_id: string;
  name: string;
  kind: string;
}

export interface Request {
  id: string;
  number: number;
  kind: 'permission' | 'question' | 'gate';
  state: 'open' | 'resolved' | 'expired' | 'withdrawn';
  board_id?: string;
  task_id: string;
  run_id: string | null;
  title: string;
  detail?: string | null;
  tool_call: ToolCall | null;
  options: RequestOption[];
  created_at?: string;
  expires_at: string | null;
  answer: { option_id?: string; text?: string; cancelled?: boolean; by: string; at: string } | null;
}

/** ACP, as the agent wrote it: every field may be missing. */
export interface ToolCall {
  toolCallId: string;
  title?: string;
  kind?: string;
  status?: string;
  content?: ToolContent[];
  locations?: { path: string; line?: number | null }[];
  rawInput?: unknown;
  rawOutput?: unknown;
}

export type ToolContent =
  | { type: 'content'; content: ContentBlock }
  | { type: 'diff'; path: string; oldText?: string | null; newText: string }
  | { type: 'terminal'; terminalId: string };

export interface ContentBlock {
  type: string;
  text?: string;
  uri?: string;
  name?: string;
  mimeType?: string;
  resource?: { uri: string; text?: string };
}

export interface AgentType {
  name: string;
  description: string | null;
  image: string | null;
  command: string[];
  env: Record<string, string>;
  secrets: string[];
  runtime: 'docker' | 'process';
  limits: { memory_mb?: number; cpus?: number; pids?: number; wall_clock_s?: number };
  network: string;
  permissions: string | unknown[];
  max_running: number | null;
  check?: { ok: boolean; detail: string; at: string } | null;
}

export interface Instance {
  id: string;
  agent_type: string;
  runtime: 'docker' | 'process';
  state: string;
  task_id: string | null;
  run_id: string | null;
  container_id: string | null;
  started_at: string | null;
  usage?: { memory_mb: number; cpu_percent: number; pids: number } | null;
  limits?: { memory_mb?: number; cpus?: number; pids?: number };
  exit_code: number | null;
  oom: boolean;
}

export interface QueueEntry {
  task_id: string;
  board_id: string;
  number: number;
  title: string;
  agent_type: string | null;
  priority: Priority;
  position: number;
  since: string;
  waiting: Reason[];
}

export interface FileChange {
  path: string;
  old_path?: string | null;
  status: 'added' | 'modified' | 'deleted' | 'renamed';
  additions: number;
  deletions: number;
  binary?: boolean;
  patch: string | null;
}

export interface Diff {
  base: string;
  head: string;
  files: FileChange[];
}

export interface Commit {
  id: string;
  subject: string;
  author: string;
  at: string;
}

export interface Workspace {
  task_id: string;
  branch: string;
  base_branch?: string | null;
  base_commit: string;
  head_commit?: string | null;
  state?: string;
  unpushed?: boolean;
  conflict?: { files: string[]; detail: string } | null;
}

export interface User {
  id: string;
  name: string;
  role: string;
  disabled?: boolean;
}

export interface Token {
  id: string;
  name: string;
  scope?: string;
  created_at: string;
  last_used_at: string | null;
}
