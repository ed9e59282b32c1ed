/** The whole tree of pages. Features do not know each other; where one shows another, it is put together here. */
import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  type ErrorComponentProps,
  lazyRouteComponent,
  redirect,
} from '@tanstack/react-router';
import { Problem, ROOT } from './api/client';
import type { Live } from './api/live';
import { boardQuery, boardsQuery, meQuery } from './api/queries';
import { BoardPage } from './features/board/BoardPage';
import { BoardsPage } from './features/board/BoardsPage';
import { parseFilters } from './features/board/filters';
import { parseSearch, stringifySearch } from './lib/search';
import { Shell } from './Shell';
import { Empty, Trouble, Waiting } from './ui/parts';

interface Context {
  cache: QueryClient;
  live: Live;
}

function Failed({ error, reset }: ErrorComponentProps) {
  if (error instanceof Problem && error.status === 404)
    return (
      <Empty icon="search" title="Not here">
        <p>{error.message}</p>
      </Empty>
    );
  return <Trouble error={error} onRetry={reset} />;
}

const root = createRootRouteWithContext<Context>()({ errorComponent: Failed });

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: (search: Record<string, unknown>): { to?: string } =>
    typeof search.to === 'string' ? { to: search.to } : {},
  component: lazyRouteComponent(() => import('./features/auth/LoginPage'), 'LoginPage'),
});

const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  component: Shell,
  beforeLoad: async ({ context, location }) => {
    try {
      await context.cache.ensureQueryData(meQuery);
    } catch (error) {
      if (error instanceof Problem && error.status === 401)
        throw redirect({ to: '/login', search: { to: location.href } });
      if (!(error instanceof Problem) || (error.status !== 404 && error.status !== 405)) throw error;
    }
    context.live.start();
  },
});

const boards = createRoute({
  getParentRoute: () => inside,
  path: '/',
  loader: ({ context }) => context.cache.ensureQueryData(boardsQuery),
  component: BoardsPage,
});

const board = createRoute({
  getParentRoute: () => inside,
  path: '/boards/$board',
  validateSearch: parseFilters,
  loader: ({ context, params }) => context.cache.ensureQueryData(boardQuery(params.board)),
  component: BoardPage,
});

const TABS = ['activity', 'changes', 'log'] as const;
export type CardTab = (typeof TABS)[number];

const card = createRoute({
  getParentRoute: () => board,
  path: 'cards/$number',
  validateSearch: (search: Record<string, unknown>): { tab?: CardTab; wide?: boolean } => ({
    tab: TABS.find((tab) => tab === search.tab && tab !== 'activity'),
    wide: search.wide === 'true' || search.wide === true ? true : undefined,
  }),
  component: lazyRouteComponent(() => import('./cardRoute'), 'CardRoute'),
});

const settings = createRoute({
  getParentRoute: () => board,
  path: 'settings',
  component: lazyRouteComponent(() => import('./features/board/BoardSettings'), 'BoardSettings'),
});

const inbox = createRoute({
  getParentRoute: () => inside,
  path: '/inbox',
  component: lazyRouteComponent(() => import('./features/inbox/InboxPage'), 'InboxPage'),
});

const agents = createRoute({
  getParentRoute: () => inside,
  path: '/agents',
  component: lazyRouteComponent(() => import('./features/agents/AgentsPage'), 'AgentsPage'),
});

const system = createRoute({
  getParentRoute: () => inside,
  path: '/system',
  component: lazyRouteComponent(() => import('./features/system/SystemPage'), 'SystemPage'),
});

const tree = root.addChildren([
  login,
  inside.addChildren([boards, board.addChildren([card, settings]), inbox, agents, system]),
]);

export const makeRouter = (context: Context) =>
  createRouter({
    routeTree: tree,
    context,
    basepath: ROOT.pathname,
    parseSearch,
    stringifySearch,
    defaultPreload: 'intent',
    defaultPreloadStaleTime: 0,
    defaultPendingComponent: Waiting,
    defaultPendingMs: 150,
    defaultErrorComponent: Failed,
    defaultNotFoundComponent: () => (
      <Empty icon="search" title="There is no such page">
        <p>The address may be old, or mistyped.</p>
      </Empty>
    ),
  });

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
