/** What the board shows, kept in the URL: a link shows another person the same. */
import { PRIORITIES, type Priority, type Task } from '@/api/types';

export const GROUPS = ['none', 'agent', 'priority', 'label'] as const;
export type Group = (typeof GROUPS)[number];
export const NEEDS = ['me', 'agent', 'failed', 'waiting'] as const;
export type Need = (typeof NEEDS)[number];

export interface Filters {
  q?: string;
  label?: string[];
  priority?: Priority[];
  agent?: string[];
  needs?: Need;
  group?: Group;
}

const texts = (value: unknown): string[] | undefined => {
  const all = (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value])
    .map((each) => String(each).trim())
    .filter(Boolean);
  return all.length ? [...new Set(all)] : undefined;
};

const oneOf = <T extends string>(all: readonly T[], value: unknown): T | undefined =>
  all.find((each) => each === value);

/** Takes whatever stands in a URL; what makes no sense is left out. */
export function parseFilters(search: Record<string, unknown>): Filters {
  const priority = texts(search.priority)?.filter((p): p is Priority => PRIORITIES.includes(p as Priority));
  const group = oneOf(GROUPS, search.group);
  const filters: Filters = {
    q: typeof search.q === 'string' || typeof search.q === 'number' ? String(search.q) || undefined : undefined,
    label: texts(search.label),
    priority: priority?.length ? priority : undefined,
    agent: texts(search.agent),
    needs: oneOf(NEEDS, search.needs),
    group: group === 'none' ? undefined : group,
  };
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined));
}

export const isFiltered = (filters: Filters) =>
  Boolean(filters.q || filters.label || filters.priority || filters.agent || filters.needs);

const folded = (text: string) => text.normalize('NFKC').toLocaleLowerCase();

export function matcher(filters: Filters, boardKey: string): (task: Task) => boolean {
  const words = folded(filters.q ?? '')
    .split(/\s+/)
    .filter(Boolean);
  return (task) => {
    if (filters.label && !filters.label.some((label) => task.labels.includes(label))) return false;
    if (filters.priority && !filters.priority.includes(task.priority)) return false;
    if (filters.agent && !filters.agent.includes(task.agent_type ?? 'nobody')) return false;
    if (filters.needs && !needs(task, filters.needs)) return false;
    if (words.length === 0) return true;
    const text = folded(
      `${boardKey}-${task.number} ${task.title} ${task.labels.join(' ')} ${task.external_ref ?? ''} ${task.description}`,
    );
    return words.every((word) => text.includes(word));
  };
}

function needs(task: Task, need: Need): boolean {
  if (need === 'me') return task.open_requests > 0 || task.state === 'REVIEW';
  if (need === 'agent') return task.current_run_id !== null;
  if (need === 'failed') return task.state === 'FAILED';
  return task.waiting.length > 0;
}

export interface Lane {
  id: string;
  name: string;
}

/** A card with several labels lies in the lane of its first. */
export function laneOf(task: Task, group: Group): string {
  if (group === 'agent') return task.agent_type ?? '';
  if (group === 'priority') return task.priority;
  if (group === 'label') return task.labels[0] ?? '';
  return '';
}

export function lanes(tasks: readonly Task[], group: Group): Lane[] {
  if (group === 'none') return [{ id: '', name: '' }];
  const present = new Set(tasks.map((task) => laneOf(task, group)));
  if (group === 'priority')
    return PRIORITIES.filter((p) => present.has(p)).map((p) => ({ id: p, name: p[0]?.toUpperCase() + p.slice(1) }));
  const none = group === 'agent' ? 'Nobody' : 'No label';
  return [...present]
    .sort((a, b) => (a === '' ? 1 : b === '' ? -1 : a < b ? -1 : 1))
    .map((id) => ({ id, name: id || none }));
}
