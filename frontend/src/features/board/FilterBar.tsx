import { useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { PRIORITIES, type Task } from '@/api/types';
import { Button, IconButton } from '@/ui/Button';
import { Icon } from '@/ui/Icon';
import { Menu, MenuCheck, MenuItem, MenuLine, MenuTitle, SubMenu } from '@/ui/Menu';
import { PRIORITY_NAME } from '@/ui/signs';
import { type Filters, GROUPS, isFiltered, NEEDS } from './filters';

const NEED_NAME = { me: 'Needs me', agent: 'An agent is at work', failed: 'Failed', waiting: 'Waiting' } as const;
const GROUP_NAME = { none: 'No groups', agent: 'Agent', priority: 'Priority', label: 'Label' } as const;

export function FilterBar({ filters, tasks }: { filters: Filters; tasks: Iterable<Task> }) {
  const navigate = useNavigate();
  const set = (change: Partial<Filters>) =>
    void navigate({ to: '.', search: (before) => ({ ...before, ...change }), replace: true });
  // The address follows a moment later than the keys: while somebody types, what is typed is the truth.
  const [typed, setTyped] = useState<string | null>(null);
  const [labels, agents] = useMemo(() => {
    const all = [...tasks];
    const unique = (names: string[]) => [...new Set(names)].sort();
    return [unique(all.flatMap((task) => task.labels)), unique(all.flatMap((task) => task.agent_type ?? []))];
  }, [tasks]);
  const toggled = <T extends string>(list: T[] | undefined, one: T): T[] | undefined => {
    const next = list?.includes(one) ? list.filter((each) => each !== one) : [...(list ?? []), one];
    return next.length ? next : undefined;
  };
  const count =
    (filters.label?.length ?? 0) +
    (filters.priority?.length ?? 0) +
    (filters.agent?.length ?? 0) +
    (filters.needs ? 1 : 0);
  return (
    <>
      <div className="relative min-w-0 flex-1 md:w-52 md:flex-initial">
        <Icon name="search" className="absolute top-2 left-2 text-faint" />
        <input
          id="board-search"
          type="search"
          aria-label="Search this board"
          placeholder="Search"
          value={typed ?? filters.q ?? ''}
          onFocus={() => setTyped(filters.q ?? '')}
          onBlur={() => setTyped(null)}
          onChange={(event) => {
            setTyped(event.target.value);
            set({ q: event.target.value || undefined });
          }}
          onKeyDown={(event) => event.key === 'Escape' && event.currentTarget.blur()}
          className="h-8 w-full rounded-md border border-line bg-card pr-2 pl-7.5 text-sm placeholder:text-faint focus:outline-2 focus:-outline-offset-1 focus:outline-accent pointer-coarse:text-lg"
        />
      </div>
      <Menu
        trigger={
          <Button icon="filter" look={count ? 'plain' : 'quiet'}>
            <span className="max-sm:sr-only">Filter</span>
            {count > 0 && <span className="text-accent tabular-nums">{count}</span>}
          </Button>
        }
      >
        <MenuTitle>Show only</MenuTitle>
        {NEEDS.map((need) => (
          <MenuCheck
            key={need}
            keepOpen
            checked={filters.needs === need}
            onChange={() => set({ needs: filters.needs === need ? undefined : need })}
          >
            {NEED_NAME[need]}
          </MenuCheck>
        ))}
        <MenuLine />
        <SubMenu label="Priority">
          {PRIORITIES.map((priority) => (
            <MenuCheck
              key={priority}
              keepOpen
              checked={filters.priority?.includes(priority) ?? false}
              onChange={() => set({ priority: toggled(filters.priority, priority) })}
            >
              {PRIORITY_NAME[priority]}
            </MenuCheck>
          ))}
        </SubMenu>
        {labels.length > 0 && (
          <SubMenu label="Label">
            {labels.map((label) => (
              <MenuCheck
                key={label}
                keepOpen
                checked={filters.label?.includes(label) ?? false}
                onChange={() => set({ label: toggled(filters.label, label) })}
              >
                {label}
              </MenuCheck>
            ))}
          </SubMenu>
        )}
        <SubMenu label="Agent">
          {[...agents, 'nobody'].map((agent) => (
            <MenuCheck
              key={agent}
              keepOpen
              checked={filters.agent?.includes(agent) ?? false}
              onChange={() => set({ agent: toggled(filters.agent, agent) })}
            >
              {agent === 'nobody' ? 'Nobody' : agent}
            </MenuCheck>
          ))}
        </SubMenu>
        <MenuLine />
        <MenuTitle>Group by</MenuTitle>
        {GROUPS.map((group) => (
          <MenuCheck
            key={group}
            checked={(filters.group ?? 'none') === group}
            onChange={() => set({ group: group === 'none' ? undefined : group })}
          >
            {GROUP_NAME[group]}
          </MenuCheck>
        ))}
        {isFiltered(filters) && (
          <>
            <MenuLine />
            <MenuItem
              icon="x"
              onSelect={() =>
                set({ q: undefined, label: undefined, priority: undefined, agent: undefined, needs: undefined })
              }
            >
              Show everything
            </MenuItem>
          </>
        )}
      </Menu>
    </>
  );
}

/** What narrows the board, each with its own way out. */
export function FilterChips({ filters, shown, total }: { filters: Filters; shown: number; total: number }) {
  const navigate = useNavigate();
  const without = (change: Partial<Filters>) =>
    void navigate({ to: '.', search: (before) => ({ ...before, ...change }), replace: true });
  if (!isFiltered(filters)) return null;
  const rest = <T,>(list: T[], one: T) => (list.length > 1 ? list.filter((each) => each !== one) : undefined);
  const chip = (name: string, remove: () => void) => (
    <span key={name} className="flex items-center rounded-md bg-accent-soft pl-2 text-xs font-medium text-accent">
      {name}
      <IconButton label={`Without ${name}`} icon="x" className="size-6! text-accent" onClick={remove} />
    </span>
  );
  return (
    <div className="flex flex-wrap items-center gap-1.5 border-b px-4 py-1.5">
      {filters.q && chip(`“${filters.q}”`, () => without({ q: undefined }))}
      {filters.needs && chip(NEED_NAME[filters.needs], () => without({ needs: undefined }))}
      {filters.priority?.map((each, _, all) => chip(PRIORITY_NAME[each], () => without({ priority: rest(all, each) })))}
      {filters.label?.map((each, _, all) => chip(each, () => without({ label: rest(all, each) })))}
      {filters.agent?.map((each, _, all) => chip(each, () => without({ agent: rest(all, each) })))}
      <span role="status" className="text-xs text-faint">
        {shown} of {total} cards
      </span>
    </div>
  );
}
