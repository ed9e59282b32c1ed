/** What a person may do to a card, as the contract says it. It only dims what cannot be done; the server decides. */
import type { Board, Column, State, Task } from '@/api/types';

const BY_PERSON: Record<State, State[]> = {
  BACKLOG: ['TODO', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED'],
  TODO: ['BACKLOG', 'PLANNING', 'IN_PROGRESS', 'COMPLETED', 'CANCELLED'],
  PLANNING: ['CANCELLED'],
  IN_PROGRESS: ['TODO', 'REVIEW', 'COMPLETED', 'CANCELLED'],
  REVIEW: ['IN_PROGRESS', 'VERIFY', 'COMPLETED', 'CANCELLED'],
  VERIFY: ['CANCELLED'],
  COMPLETED: ['IN_PROGRESS', 'REVIEW'],
  FAILED: ['BACKLOG', 'TODO', 'CANCELLED'],
  CANCELLED: ['BACKLOG', 'TODO'],
};

export const STATE_NAME: Record<State, string> = {
  BACKLOG: 'Backlog',
  TODO: 'To do',
  PLANNING: 'Planning',
  IN_PROGRESS: 'In progress',
  REVIEW: 'Review',
  VERIFY: 'Verify',
  COMPLETED: 'Completed',
  FAILED: 'Failed',
  CANCELLED: 'Cancelled',
};

export const isLive = (task: Pick<Task, 'current_run_id'>) => task.current_run_id !== null;

export function legal(task: Pick<Task, 'state' | 'current_run_id'>, board: Pick<Board, 'settings'>): State[] {
  return BY_PERSON[task.state].filter((to) => {
    if (to === 'PLANNING') return board.settings.planner !== null;
    if (task.state === 'IN_PROGRESS' && (to === 'COMPLETED' || to === 'TODO')) return !isLive(task);
    return true;
  });
}

/** The state a card would have in the column, or null when it may not go there. */
export function stateIn(column: Column, task: Task, board: Pick<Board, 'settings'>): State | null {
  if (column.states.includes(task.state)) return task.state;
  const may = legal(task, board);
  return column.states.find((state) => may.includes(state)) ?? null;
}

export function whyNot(column: Column, task: Task): string {
  if (isLive(task) && task.state === 'IN_PROGRESS') return 'An agent is at work on it. Stop the run first.';
  return `A card that is ${STATE_NAME[task.state].toLowerCase()} cannot go to ${column.name} by hand.`;
}
