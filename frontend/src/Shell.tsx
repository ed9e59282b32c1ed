/** What stands around every page: where one can go, whether the page is live, and the keys that work everywhere. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useRouteContext, useRouterState } from '@tanstack/react-router';
import { type ReactNode, useEffect, useState, useSyncExternalStore } from 'react';
import { Problem } from './api/client';
import { boardsQuery, deeds, meQuery, requestsQuery } from './api/queries';
import HelpSheet from './features/palette/HelpSheet';
import Palette from './features/palette/Palette';
import { handleKey, useShortcuts } from './lib/shortcuts';
import { setTheme, type Theme, theme } from './lib/theme';
import { IconButton } from './ui/Button';
import { cx } from './ui/cx';
import { Icon, type IconName } from './ui/Icon';
import { Menu, MenuCheck, MenuItem, MenuLine, MenuTitle } from './ui/Menu';
import { Toasts } from './ui/Toasts';
import { undoLast } from './ui/toast';

export function Shell() {
  const [open, setOpen] = useState<'palette' | 'help' | null>(null);
  const navigate = useNavigate();
  const { data: requests } = useQuery(requestsQuery);
  const waiting = requests?.length ?? 0;
  const page = useRouterState({ select: (state) => state.location.pathname });
  const board = /\/boards\/([^/]+)/.exec(page)?.[1];

  useEffect(() => {
    addEventListener('keydown', handleKey);
    return () => removeEventListener('keydown', handleKey);
  }, []);
  useEffect(() => {
    document.title = `${waiting ? `(${waiting}) ` : ''}${board ? `${board} · ` : ''}Kanvoy`;
  }, [waiting, board]);

  const everywhere = 'Everywhere';
  useShortcuts([
    { keys: ['mod+k'], does: 'Commands and search', group: everywhere, always: true, run: () => setOpen('palette') },
    { keys: ['?'], does: 'This sheet', group: everywhere, run: () => setOpen('help') },
    { keys: ['g b'], does: 'Go to boards', group: everywhere, run: () => void navigate({ to: '/' }) },
    { keys: ['g i'], does: 'Go to the inbox', group: everywhere, run: () => void navigate({ to: '/inbox' }) },
    { keys: ['g a'], does: 'Go to agents', group: everywhere, run: () => void navigate({ to: '/agents' }) },
    { keys: ['g s'], does: 'Go to system', group: everywhere, run: () => void navigate({ to: '/system' }) },
    { keys: ['z'], does: 'Undo the last move', group: everywhere, run: () => void undoLast() },
  ]);

  return (
    <div className="flex h-dvh flex-col md:flex-row">
      {/* biome-ignore lint/a11y/useValidAnchor: the base of the page would send it elsewhere, so it is led by hand */}
      <a
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById('main')?.focus();
        }}
        className="sr-only focus:not-sr-only focus:absolute focus:z-50 focus:m-2 focus:rounded focus:bg-raised focus:p-2"
      >
        Skip to the page
      </a>
      <Side waiting={waiting} onPalette={() => setOpen('palette')} onHelp={() => setOpen('help')} />
      <div className="flex min-h-0 min-w-0 flex-1 flex-col">
        <Connection />
        <main id="main" tabIndex={-1} className="relative min-h-0 flex-1 overflow-hidden outline-none">
          <Outlet />
        </main>
      </div>
      <Bottom waiting={waiting} onPalette={() => setOpen('palette')} />
      <Toasts />
      {open === 'palette' && <Palette boardKey={board} onClose={() => setOpen(null)} onHelp={() => setOpen('help')} />}
      {open === 'help' && <HelpSheet onClose={() => setOpen(null)} />}
    </div>
  );
}

const NAV = 'flex items-center gap-2 rounded-md px-2 py-1 text-sm text-soft hover:bg-hover hover:text-ink';
const HERE = 'bg-hover text-ink! font-medium';

function Side({ waiting, onPalette, onHelp }: { waiting: number; onPalette: () => void; onHelp: () => void }) {
  const { data: boards = [] } = useQuery(boardsQuery);
  return (
    <nav aria-label="Main" className="hidden w-52 shrink-0 flex-col gap-0.5 border-r bg-lane p-2 md:flex">
      <div className="mb-1 flex items-center gap-2 px-2 py-1">
        <Logo />
        <span className="flex-1 font-semibold">Kanvoy</span>
        <IconButton label="Commands and search (Ctrl+K)" icon="search" onClick={onPalette} />
      </div>
      <Link to="/inbox" className={NAV} activeProps={{ className: HERE }}>
        <Icon name="inbox" /> Inbox
        {waiting > 0 && (
          <span className="ml-auto rounded-full bg-accent px-1.5 text-2xs font-semibold text-on-accent">
            {waiting}
            <span className="sr-only"> waiting</span>
          </span>
        )}
      </Link>
      <Link to="/agents" className={NAV} activeProps={{ className: HERE }}>
        <Icon name="agent" /> Agents
      </Link>
      <Link to="/system" className={NAV} activeProps={{ className: HERE }}>
        <Icon name="gear" /> System
      </Link>
      <div className="mt-4 mb-0.5 flex items-center px-2">
        <Link to="/" className="flex-1 text-xs font-medium text-faint hover:text-ink">
          Boards
        </Link>
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto">
        {boards.map((board) => (
          <Link
            key={board.id}
            to="/boards/$board"
            params={{ board: board.key }}
            className={NAV}
            activeProps={{ className: HERE }}
          >
            <span className="grid size-5 place-items-center rounded bg-accent-soft text-2xs font-semibold text-accent">
              {board.key.slice(0, 2)}
            </span>
            <span className="truncate">{board.name}</span>
          </Link>
        ))}
      </div>
      <div className="flex items-center gap-1 border-t pt-2">
        <Person />
        <IconButton label="Keyboard shortcuts (?)" icon="help" onClick={onHelp} />
      </div>
    </nav>
  );
}

export function Logo() {
  return (
    <svg viewBox="0 0 32 32" className="size-5" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#4f5bd5" />
      <rect x="7" y="8" width="5" height="16" rx="1.5" fill="#fff" opacity=".55" />
      <rect x="13.5" y="8" width="5" height="10" rx="1.5" fill="#fff" opacity=".8" />
      <rect x="20" y="8" width="5" height="13" rx="1.5" fill="#fff" />
    </svg>
  );
}

function Person() {
  const { data: me } = useQuery(meQuery);
  const cache = useQueryClient();
  const navigate = useNavigate();
  const [chosen, choose] = useState<Theme>(theme);
  const leave = async () => {
    await deeds.logout().catch(() => {});
    cache.clear();
    await navigate({ to: '/login' });
  };
  return (
    <Menu
      align="start"
      trigger={
        <button type="button" className={cx(NAV, 'min-w-0 flex-1')}>
          <Icon name="user" />
          <span className="truncate">{me?.name ?? me?.id ?? 'You'}</span>
        </button>
      }
    >
      <MenuTitle>Colours</MenuTitle>
      {(['system', 'light', 'dark'] as const).map((each) => (
        <MenuCheck
          key={each}
          checked={chosen === each}
          onChange={() => {
            setTheme(each);
            choose(each);
          }}
        >
          {{ system: 'As the system', light: 'Light', dark: 'Dark' }[each]}
        </MenuCheck>
      ))}
      <MenuLine />
      <MenuItem icon="lock" onSelect={() => void leave()}>
        Log out
      </MenuItem>
    </Menu>
  );
}

function Bottom({ waiting, onPalette }: { waiting: number; onPalette: () => void }) {
  const tab = 'relative flex flex-1 flex-col items-center gap-0.5 py-2 text-2xs text-faint';
  const here = { className: 'text-accent! font-medium' };
  const item = (icon: IconName, name: string): ReactNode => (
    <>
      <Icon name={icon} className="size-5" />
      {name}
    </>
  );
  return (
    <nav aria-label="Main" className="flex border-t bg-lane pb-[env(safe-area-inset-bottom)] md:hidden">
      <Link to="/" className={tab} activeProps={here} activeOptions={{ exact: false }}>
        {item('board', 'Boards')}
      </Link>
      <Link to="/inbox" className={tab} activeProps={here}>
        {item('inbox', 'Inbox')}
        {waiting > 0 && (
          <span className="absolute top-1 ml-6 rounded-full bg-accent px-1.5 text-2xs font-semibold text-on-accent">
            {waiting}
          </span>
        )}
      </Link>
      <Link to="/agents" className={tab} activeProps={here}>
        {item('agent', 'Agents')}
      </Link>
      <Link to="/system" className={tab} activeProps={here}>
        {item('gear', 'System')}
      </Link>
      <button type="button" className={tab} onClick={onPalette}>
        {item('search', 'Search')}
      </button>
    </nav>
  );
}

/** Says when what is drawn may be old, and comes back by itself. */
function Connection() {
  const { live } = useRouteContext({ from: '/inside' });
  const status = useSyncExternalStore(live.watch, live.current);
  const cache = useQueryClient();
  const navigate = useNavigate();
  const attempt = status.state === 'lost' ? status.attempt : 0;
  // A socket says nothing of why it was refused; the API does.
  useEffect(() => {
    if (attempt < 2) return;
    meQuery.queryFn &&
      cache.fetchQuery({ ...meQuery, staleTime: 0 }).catch((error) => {
        if (error instanceof Problem && error.status === 401) void navigate({ to: '/login' });
      });
  }, [attempt, cache, navigate]);
  if (status.state !== 'lost' || status.attempt < 1) return <div role="status" className="sr-only" />;
  return (
    <div role="status" className="flex items-center justify-center gap-2 bg-warn-soft px-3 py-1 text-xs text-warn">
      <span className="animate-live size-2 rounded-full bg-warn" />
      The connection is lost. What you see may be old; it comes back by itself.
      <button type="button" onClick={live.retry} className="font-semibold underline underline-offset-2">
        Try now
      </button>
    </div>
  );
}
