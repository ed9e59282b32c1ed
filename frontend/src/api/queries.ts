/** One query per need, one mutation per deed. What they answer is put where it is drawn; the stream does the rest. */
import { type QueryClient, queryOptions } from '@tanstack/react-query';
import { type BoardView, boardView } from './board';
import { api, isMissing } from './client';
import type { Live } from './live';
import type {
  AgentType,
  Board,
  BoardSettings,
  Column,
  ColumnEdit,
  Commit,
  Diff,
  Event,
  Health,
  Instance,
  Me,
  Move,
  NewBoard,
  NewTask,
  Page,
  QueueEntry,
  Request,
  RunStatus,
  State,
  Task,
  TaskEdit,
  Token,
  User,
  Workspace,
  Written,
} from './types';

async function everyPage<T>(path: string, query: Record<string, string> = {}): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await api.get(path, { ...query, limit: 200, cursor });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return items;
}

/** `null` when the server has no such route: the page then says so instead of failing. */
async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: () => api.get<Me>('auth/me'),
  retry: false,
  staleTime: 60_000,
});

export const boardsQuery = queryOptions({ queryKey: ['boards'], queryFn: () => everyPage<Board>('boards') });

let live: Live | null = null;
export const setStream = (stream: Live) => {
  live = stream;
};

export const boardQuery = (key: string) =>
  queryOptions({
    queryKey: ['board', key],
    queryFn: async (): Promise<BoardView> => {
      // The board first: its head_seq is then never later than what the list of cards shows.
      const board = await api.get<Board>(`boards/${key}`);
      const tasks = await everyPage<Task>(`boards/${board.id}/tasks`, { archived: 'false' });
      const view = boardView(board, tasks);
      return live ? live.catchUp(view) : view;
    },
    structuralSharing: false,
    staleTime: Number.POSITIVE_INFINITY,
  });

export const taskQuery = (key: string) =>
  queryOptions({ queryKey: ['task', key], queryFn: () => api.get<Task>(`tasks/${key}`) });

export const statusQuery = (id: string) =>
  queryOptions({
    queryKey: ['task', id, 'run', 'status'],
    queryFn: () => orNull(api.get<RunStatus>(`orchestrator/tasks/${id}/status`)),
  });

export const workspaceQuery = (id: string) =>
  queryOptions({
    queryKey: ['task', id, 'run', 'workspace'],
    queryFn: () => orNull(api.get<Workspace>(`tasks/${id}/workspace`)),
  });

export const diffQuery = (id: string) =>
  queryOptions({
    queryKey: ['task', id, 'run', 'diff'],
    queryFn: () => orNull(api.get<Diff>(`tasks/${id}/workspace/diff`)),
  });

export const commitsQuery = (id: string) =>
  queryOptions({
    queryKey: ['task', id, 'run', 'commits'],
    queryFn: async () => (await orNull(api.get<Page<Commit>>(`tasks/${id}/workspace/commits`)))?.items ?? [],
  });

export const taskEvents = (id: string, after: number) =>
  api.get<Page<Event>>(`tasks/${id}/events`, { after, limit: 200 });

/** A card's life without what its agent says: for the timeline. */
export const timelineQuery = (id: string) =>
  queryOptions({
    queryKey: ['task', id, 'run', 'timeline'],
    queryFn: async () => {
      const types = '!acp.message,!acp.noise,!agent.log,!task.progress';
      const read = (query: Record<string, string | number>) => api.get<Page<Event>>(`tasks/${id}/events`, query);
      try {
        return (await read({ limit: 200, types })).items;
      } catch {
        return (await read({ limit: 200 })).items;
      }
    },
  });

export const requestsQuery = queryOptions({
  queryKey: ['requests', 'open'],
  queryFn: () => orNull(everyPage<Request>('requests', { state: 'open' })),
});

export const agentTypesQuery = queryOptions({
  queryKey: ['agents', 'types'],
  queryFn: () => orNull(everyPage<AgentType>('agents/types')),
  staleTime: 30_000,
});

export const instancesQuery = queryOptions({
  queryKey: ['agents', 'instances'],
  queryFn: () => orNull(everyPage<Instance>('agents/instances')),
});

export const queueQuery = queryOptions({
  queryKey: ['agents', 'queue'],
  queryFn: () => orNull(everyPage<QueueEntry>('orchestrator/queue')),
});

export const healthQuery = queryOptions({
  queryKey: ['health'],
  queryFn: () => api.health<Health>(),
  refetchInterval: 10_000,
});

export const usersQuery = queryOptions({ queryKey: ['users'], queryFn: () => orNull(everyPage<User>('users')) });
export const tokensQuery = queryOptions({ queryKey: ['tokens'], queryFn: () => orNull(everyPage<Token>('tokens')) });
export const secretsQuery = queryOptions({
  queryKey: ['secrets'],
  queryFn: () => orNull(everyPage<{ name: string; updated_at?: string }>('secrets')),
});

export const searchQuery = (q: string) =>
  queryOptions({
    queryKey: ['search', q],
    queryFn: async () => (await api.get<Page<Task>>('search', { q, limit: 12 })).items,
    enabled: q.trim().length > 1,
    staleTime: 5_000,
  });

/** The answer to a write is newer than what is drawn, unless the stream was quicker. */
export function putTask(cache: QueryClient, task: Task): void {
  for (const [key, view] of cache.getQueriesData<BoardView>({ queryKey: ['board'] })) {
    if (!view || view.board.id !== task.board_id) continue;
    const known = view.tasks.get(task.id);
    if (known && known.version > task.version) continue;
    const tasks = new Map(view.tasks);
    if (task.archived_at) tasks.delete(task.id);
    else tasks.set(task.id, task);
    cache.setQueryData(key, { ...view, tasks });
  }
  for (const [key, known] of cache.getQueriesData<Task>({ queryKey: ['task'] })) {
    if (key.length === 2 && known?.id === task.id) cache.setQueryData(key, task);
  }
}

export function putBoard(cache: QueryClient, board: Board): void {
  for (const [key, view] of cache.getQueriesData<BoardView>({ queryKey: ['board'] })) {
    if (view?.board.id === board.id && view.board.version <= board.version)
      cache.setQueryData(key, { ...view, board: { ...view.board, ...board } });
  }
  cache.setQueryData<Board[]>(['boards'], (all) => all?.map((b) => (b.id === board.id ? { ...b, ...board } : b)));
}

export const deeds = {
  createBoard: (board: NewBoard) => api.post<Written<Board>>('boards', board),
  updateBoard: (
    id: string,
    edit: Partial<NewBoard> & { settings?: BoardSettings; archived?: boolean; version?: number },
  ) => api.patch<Written<Board>>(`boards/${id}`, edit),
  deleteBoard: (id: string) => api.delete<Board>(`boards/${id}`),
  addColumn: (board: string, column: ColumnEdit) => api.post<Written<Column>>(`boards/${board}/columns`, column),
  updateColumn: (id: string, column: ColumnEdit) => api.patch<Written<Column>>(`columns/${id}`, column),
  removeColumn: (id: string) => api.delete<Board>(`columns/${id}`),
  createTask: (board: string, task: NewTask) => api.post<Written<Task>>(`boards/${board}/tasks`, task),
  updateTask: (id: string, edit: TaskEdit) => api.patch<Written<Task>>(`tasks/${id}`, edit),
  deleteTask: (id: string) => api.delete<Task>(`tasks/${id}`),
  setState: (id: string, state: State) => api.patch<Written<Task>>(`tasks/${id}/state`, { state }),
  moveTask: (id: string, move: Move) => api.post<Written<Task>>(`tasks/${id}/move`, move),
  run: (id: string, verb: string, body: Record<string, unknown> = {}) =>
    api.post<unknown>(`orchestrator/tasks/${id}/${verb}`, body),
  answer: (id: string, answer: Record<string, unknown>) => api.post<Request>(`requests/${id}/answer`, answer),
  merge: (id: string) => api.post<Workspace>(`tasks/${id}/workspace/merge`),
  push: (id: string) => api.post<Workspace>(`tasks/${id}/workspace/push`),
  checkAgent: (name: string) => api.post<unknown>(`agents/types/${name}/check`),
  stopInstance: (id: string) => api.post<unknown>(`agents/instances/${id}/stop`),
  putSecret: (name: string, value: string) => api.put<unknown>(`secrets/${name}`, { value }),
  deleteSecret: (name: string) => api.delete<unknown>(`secrets/${name}`),
  login: (name: string, password: string) => api.post<unknown>('auth/login', { name, password }),
  logout: () => api.post<unknown>('auth/logout'),
  link: (token: string) => api.post<{ url: string }>('auth/link', {}, { authorization: `Bearer ${token}` }),
};
