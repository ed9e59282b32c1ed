import { combine } from '@atlaskit/pragmatic-drag-and-drop/combine';
import { monitorForElements } from '@atlaskit/pragmatic-drag-and-drop/element/adapter';
import { autoScrollForElements } from '@atlaskit/pragmatic-drag-and-drop-auto-scroll/element';
import { extractClosestEdge } from '@atlaskit/pragmatic-drag-and-drop-hitbox/closest-edge';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { getRouteApi, Link, Outlet, useNavigate } from '@tanstack/react-router';
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { ROOT, why } from '@/api/client';
import { boardQuery, deeds as doing, putTask } from '@/api/queries';
import type { Move, Priority, Task } from '@/api/types';
import { PRIORITIES } from '@/api/types';
import { stateIn, whyNot } from '@/lib/lifecycle';
import { cardKey } from '@/lib/paths';
import { useShortcuts } from '@/lib/shortcuts';
import { plural } from '@/lib/text';
import { Button, IconButton } from '@/ui/Button';
import { Menu, MenuItem } from '@/ui/Menu';
import { Empty } from '@/ui/parts';
import { PRIORITY_NAME } from '@/ui/signs';
import { announce, toast } from '@/ui/toast';
import type { CardDeeds } from './CardMenu';
import { CardTile } from './CardTile';
import { ColumnView } from './ColumnView';
import { FilterBar, FilterChips } from './FilterBar';
import { FirstRun } from './FirstRun';
import { isFiltered, matcher } from './filters';
import { columnsOf, placeAt, type Step, stepped, wayBack } from './moves';
import { canBegin, QuickAdd } from './QuickAdd';
import { useInFlight, useMove } from './useMove';

const NewTask = lazy(() => import('./NewTask'));
const route = getRouteApi('/inside/boards/$board');

export function BoardPage() {
  const { board: key } = route.useParams();
  const filters = route.useSearch();
  const { data: view } = useSuspenseQuery(boardQuery(key));
  const { board } = view;
  const cache = useQueryClient();
  const navigate = useNavigate();
  const inFlight = useInFlight(board.id);
  const move = useMove(view);

  const shows = useMemo(() => matcher(filters, board.key), [filters, board.key]);
  const columns = useMemo(() => columnsOf(view, shows, inFlight), [view, shows, inFlight]);
  const totals = useMemo(() => {
    const count = new Map<string, number>();
    for (const task of view.tasks.values()) count.set(task.column_id, (count.get(task.column_id) ?? 0) + 1);
    return count;
  }, [view.tasks]);
  const relations = useMemo(() => relationsOf(view.tasks), [view.tasks]);

  const [current, setCurrent] = useState<string | null>(null);
  const [selection, setSelection] = useState<ReadonlySet<string>>(new Set());
  const [adding, setAdding] = useState<string | null>(null);
  const [creating, setCreating] = useState<string | null>(null);
  const [dragged, setDragged] = useState<string | null>(null);
  const scroller = useRef<HTMLDivElement>(null);

  const latest = useRef({ view, columns, move });
  useEffect(() => {
    latest.current = { view, columns, move };
  });

  const moveTo = useCallback((task: Task, to: Move) => {
    latest.current.move({ id: task.id, ...to, back: wayBack(latest.current.columns, task) });
  }, []);

  const update = useCallback(
    async (task: Task, edit: Parameters<typeof doing.updateTask>[1]) => {
      try {
        putTask(cache, await doing.updateTask(task.id, edit));
      } catch (error) {
        toast(why(error), { tone: 'bad' });
      }
    },
    [cache],
  );

  const archive = useCallback(
    async (task: Task) => {
      await update(task, { archived: true });
      toast(`${cardKey(latest.current.view.board.key, task.number)} was archived`, {
        undo: () => void update(task, { archived: false }),
      });
    },
    [update],
  );

  // One object for the life of the page: it reads what is newest when it is used, and no card is drawn again for it.
  const cardDeeds = useMemo<CardDeeds>(
    () => ({
      board: () => latest.current.view.board,
      onFocus: setCurrent,
      onSelect: (id) =>
        setSelection((before) => {
          const next = new Set(before);
          if (!next.delete(id)) next.add(id);
          return next;
        }),
      onMove: moveTo,
      onEnd: (task, end) => {
        const cards = latest.current.columns.get(task.column_id) ?? [];
        moveTo(task, { column_id: task.column_id, ...placeAt(cards, end === 'top' ? 0 : cards.length - 1, task.id) });
      },
      onPriority: (task, priority) => void update(task, { priority }),
      onStart: (task) =>
        void doing.run(task.id, 'start').catch((error) => toast(`It was not started: ${why(error)}`, { tone: 'bad' })),
      onArchive: (task) => void archive(task),
      onCopy: (task) => {
        const link = new URL(`boards/${latest.current.view.board.key}/cards/${task.number}`, ROOT).href;
        navigator.clipboard?.writeText(link).then(
          () => toast('The link is copied'),
          () => toast(link),
        );
      },
    }),
    [moveTo, update, archive],
  );

  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    return combine(
      monitorForElements({
        onDragStart: ({ source }) => setDragged(String(source.data.card ?? '')),
        onDrop: ({ source, location }) => {
          setDragged(null);
          const { view: now, columns: lying } = latest.current;
          const task = now.tasks.get(String(source.data.card));
          const target = location.current.dropTargets[0];
          const column = now.board.columns.find((each) => each.id === target?.data.column);
          if (!task || !target || !column) return;
          if (stateIn(column, task, now.board) === null) {
            toast(whyNot(column, task), { tone: 'bad' });
            return;
          }
          const beside = typeof target.data.card === 'string' ? target.data.card : null;
          const edge = extractClosestEdge(target.data);
          const place = beside ? (edge === 'top' ? { before: beside } : { after: beside }) : {};
          const cards = lying.get(column.id) ?? [];
          if (!beside && column.id === task.column_id && cards.at(-1)?.id === task.id) return;
          moveTo(task, { column_id: column.id, ...place });
        },
      }),
      autoScrollForElements({ element }),
    );
  }, [moveTo]);

  const focus = (id: string | undefined) => {
    if (!id) return;
    setCurrent(id);
    const tries = [0, 30, 90, 200];
    const look = () => {
      const link = document.querySelector<HTMLElement>(`[data-card="${id}"] a`);
      if (link) link.focus();
      else if (tries.length) setTimeout(look, tries.shift());
    };
    requestAnimationFrame(look);
  };

  const order = board.columns.map((column) => columns.get(column.id) ?? []);
  const where = () => {
    for (const [x, cards] of order.entries()) {
      const y = cards.findIndex((task) => task.id === current);
      if (y >= 0) return { x, y };
    }
    return null;
  };
  const go = (step: Step, extend = false) => {
    const at = where();
    if (!at) return focus(order.find((cards) => cards.length)?.[0]?.id);
    if (extend && current) setSelection((before) => new Set([...before, current]));
    if (step === 'up' || step === 'down') {
      const next = order[at.x]?.[at.y + (step === 'up' ? -1 : 1)]?.id;
      if (extend && next) setSelection((before) => new Set([...before, next]));
      return focus(next);
    }
    const way = step === 'left' ? -1 : 1;
    for (let x = at.x + way; x >= 0 && x < order.length; x += way) {
      const cards = order[x] ?? [];
      if (cards.length) return focus(cards[Math.min(at.y, cards.length - 1)]?.id);
    }
  };
  const currentTask = current ? view.tasks.get(current) : undefined;
  const carry = (step: Step) => {
    const at = where();
    const task = at && order[at.x]?.[at.y];
    if (!task) return;
    const to = stepped(view, columns, task, step);
    if (!to) {
      announce(step === 'up' || step === 'down' ? 'It is at the end of the column.' : 'No column there may take it.');
      return;
    }
    move({ ...to, back: wayBack(columns, task) });
    focus(task.id);
  };

  const group = 'Board';
  const addFirst = () => setAdding(board.columns.find((column) => column.states.includes('TODO'))?.id ?? null);
  useShortcuts([
    { keys: ['c'], does: 'New card', group, run: () => setCreating('') },
    { keys: ['/'], does: 'Search this board', group, run: () => document.getElementById('board-search')?.focus() },
    { keys: ['j', 'ArrowDown'], does: 'Next card', group, run: () => go('down') },
    { keys: ['k', 'ArrowUp'], does: 'Previous card', group, run: () => go('up') },
    { keys: ['h', 'ArrowLeft'], does: 'Column to the left', group, run: () => go('left') },
    { keys: ['l', 'ArrowRight'], does: 'Column to the right', group, run: () => go('right') },
    { keys: ['alt+ArrowUp'], does: 'Move the card up', group, run: () => carry('up') },
    { keys: ['alt+ArrowDown'], does: 'Move the card down', group, run: () => carry('down') },
    { keys: ['alt+ArrowLeft'], does: 'Move it to the column on the left', group, run: () => carry('left') },
    { keys: ['alt+ArrowRight'], does: 'Move it to the column on the right', group, run: () => carry('right') },
    { keys: ['x'], does: 'Select the card', group, run: () => current && cardDeeds.onSelect(current) },
    { keys: ['shift+j', 'shift+ArrowDown'], does: 'Select downwards', group, run: () => go('down', true) },
    { keys: ['shift+k', 'shift+ArrowUp'], does: 'Select upwards', group, run: () => go('up', true) },
    {
      keys: ['mod+a'],
      does: 'Select everything shown',
      group,
      run: () => setSelection(new Set(order.flat().map((t) => t.id))),
    },
    {
      keys: ['p'],
      does: 'Raise the priority',
      group,
      run: () => {
        if (!currentTask) return;
        const next = PRIORITIES[(PRIORITIES.indexOf(currentTask.priority) + PRIORITIES.length - 1) % PRIORITIES.length];
        if (next) void update(currentTask, { priority: next });
      },
    },
    { keys: ['q'], does: 'Add cards one after another', group, run: addFirst },
    { keys: ['Escape'], does: 'Nothing selected', group, run: () => setSelection(new Set()) },
  ]);

  const task = dragged ? view.tasks.get(dragged) : undefined;
  const shown = order.reduce((sum, cards) => sum + cards.length, 0);
  const first =
    current && order.some((cards) => cards.some((each) => each.id === current))
      ? current
      : order.find((cards) => cards.length)?.[0]?.id;

  if (view.deleted)
    return (
      <Empty icon="trash" title="This board was deleted">
        <Link to="/" className="text-accent underline">
          To the boards
        </Link>
      </Empty>
    );
  return (
    <div className="relative flex h-full min-w-0">
      <div className="flex min-w-0 flex-1 flex-col">
        <header className="flex items-center gap-2 border-b px-4 py-2 max-md:flex-wrap">
          <h1 className="max-w-[45%] shrink-0 truncate text-lg font-semibold" title={board.description || undefined}>
            {board.name}
          </h1>
          <Link
            to="/boards/$board/settings"
            params={{ board: key }}
            search={(before) => before}
            aria-label="Board settings"
            title="Board settings"
            className="grid size-7 place-items-center rounded-md text-faint hover:bg-hover hover:text-ink pointer-coarse:size-10"
          >
            <GearIcon />
          </Link>
          <span className="flex-1 max-md:hidden" />
          <div className="flex min-w-0 items-center gap-2 max-md:order-last max-md:w-full">
            <FilterBar filters={filters} tasks={view.tasks.values()} />
          </div>
          <span className="flex-1 md:hidden" />
          <Button look="primary" icon="plus" onClick={() => setCreating('')} title="New card (C)">
            New card
          </Button>
        </header>
        <FilterChips filters={filters} shown={shown} total={view.tasks.size} />
        {view.tasks.size === 0 ? (
          <FirstRun board={board} onAdd={() => setCreating('')} />
        ) : (
          <div
            ref={scroller}
            className="relative flex min-h-0 flex-1 snap-x snap-mandatory gap-2.5 overflow-x-auto p-2.5 max-md:px-5 md:snap-none"
          >
            {board.columns.map((column) => {
              const cards = columns.get(column.id) ?? [];
              return (
                <ColumnView
                  key={column.id}
                  column={column}
                  cards={cards}
                  total={totals.get(column.id) ?? 0}
                  group={filters.group ?? 'none'}
                  current={current}
                  dragging={task !== undefined}
                  refusal={task && stateIn(column, task, board) === null ? whyNot(column, task) : null}
                  onAdd={canBegin(column) ? () => setAdding(column.id) : null}
                  adding={
                    adding === column.id && (
                      <QuickAdd
                        board={board}
                        column={column}
                        onClose={() => setAdding(null)}
                        onMore={(title) => {
                          setAdding(null);
                          setCreating(title);
                        }}
                      />
                    )
                  }
                  draw={(each) => (
                    <CardTile
                      task={each}
                      boardKey={board.key}
                      current={each.id === first}
                      selected={selection.has(each.id)}
                      moving={inFlight.some((flying) => flying.id === each.id)}
                      blocked={relations.blocked.get(each.id) ?? 0}
                      parts={relations.parts.get(each.id) ?? null}
                      deeds={cardDeeds}
                    />
                  )}
                />
              );
            })}
          </div>
        )}
        {isFiltered(filters) && shown === 0 && view.tasks.size > 0 && (
          <p className="absolute inset-x-0 top-1/2 text-center text-soft">No card fits what you look for.</p>
        )}
        {selection.size > 0 && (
          <SelectionBar
            tasks={[...selection].flatMap((id) => view.tasks.get(id) ?? [])}
            deeds={cardDeeds}
            onClear={() => setSelection(new Set())}
          />
        )}
      </div>
      <Outlet />
      <Suspense>
        {creating !== null && (
          <NewTask
            board={board}
            title={creating}
            onClose={() => {
              setCreating(null);
              void navigate({ to: '.', search: (before) => before, replace: true });
            }}
          />
        )}
      </Suspense>
    </div>
  );
}

function GearIcon() {
  return (
    <svg
      viewBox="0 0 16 16"
      className="size-4"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.4"
      strokeLinecap="round"
      aria-hidden="true"
    >
      <path d="M2.5 4.5h6M11.5 4.5h2M2.5 11.5h2M7.5 11.5h6" />
      <circle cx="10" cy="4.5" r="1.5" />
      <circle cx="6" cy="11.5" r="1.5" />
    </svg>
  );
}

function SelectionBar({ tasks, deeds, onClear }: { tasks: Task[]; deeds: CardDeeds; onClear: () => void }) {
  const board = deeds.board();
  const each = (deed: (task: Task) => void) => {
    for (const task of tasks) deed(task);
    onClear();
  };
  return (
    <div
      role="toolbar"
      aria-label="Selected cards"
      className="animate-rise absolute bottom-4 left-1/2 z-30 flex -translate-x-1/2 items-center gap-1 rounded-xl bg-raised py-1.5 pr-1.5 pl-4 shadow-float"
    >
      <span className="pr-2 text-sm font-medium whitespace-nowrap">{plural(tasks.length, 'card')}</span>
      <Menu
        trigger={
          <Button small icon="move">
            Move
          </Button>
        }
      >
        {board.columns.map((column) => (
          <MenuItem
            key={column.id}
            disabled={!tasks.some((task) => stateIn(column, task, board))}
            onSelect={() =>
              each((task) => stateIn(column, task, board) && deeds.onMove(task, { column_id: column.id }))
            }
          >
            {column.name}
          </MenuItem>
        ))}
      </Menu>
      <Menu
        trigger={
          <Button small icon="sort">
            Priority
          </Button>
        }
      >
        {PRIORITIES.map((priority: Priority) => (
          <MenuItem key={priority} onSelect={() => each((task) => deeds.onPriority(task, priority))}>
            {PRIORITY_NAME[priority]}
          </MenuItem>
        ))}
      </Menu>
      <Button small icon="archive" onClick={() => each(deeds.onArchive)}>
        Archive
      </Button>
      <IconButton label="Clear the selection" icon="x" onClick={onClear} />
    </div>
  );
}

/** What cards wait for that is not done yet, and how far their parts are. */
function relationsOf(tasks: ReadonlyMap<string, Task>) {
  const blocked = new Map<string, number>();
  const parts = new Map<string, { done: number; all: number }>();
  for (const task of tasks.values()) {
    const open = task.blocked_by.filter((id) => {
      const other = tasks.get(id);
      return other && other.state !== 'COMPLETED';
    });
    if (open.length && task.state !== 'COMPLETED') blocked.set(task.id, open.length);
    if (task.parent_id) {
      const before = parts.get(task.parent_id) ?? { done: 0, all: 0 };
      parts.set(task.parent_id, { done: before.done + (task.state === 'COMPLETED' ? 1 : 0), all: before.all + 1 });
    }
  }
  return { blocked, parts };
}
