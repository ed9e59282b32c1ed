import { useMutation, useMutationState, useQueryClient } from '@tanstack/react-query';
import type { BoardView } from '@/api/board';
import { why } from '@/api/client';
import { deeds, putTask } from '@/api/queries';
import type { Move } from '@/api/types';
import { cardKey } from '@/lib/paths';
import { announce, toast } from '@/ui/toast';
import type { InFlight } from './moves';

/** One after another, so that what a person did first is also written first. */
export function useMove(view: BoardView) {
  const cache = useQueryClient();
  const mutation = useMutation({
    mutationKey: ['move', view.board.id],
    scope: { id: `move ${view.board.id}` },
    mutationFn: async ({ id, back: _, ...move }: InFlight & { back?: Move }) => {
      const task = await deeds.moveTask(id, move);
      putTask(cache, task);
      return task;
    },
    onSuccess: (task, { id, back, column_id }) => {
      const column = view.board.columns.find((each) => each.id === task.column_id);
      const key = cardKey(view.board.key, task.number);
      announce(`${key} is now in ${column?.name}.`);
      if (back && back.column_id !== column_id)
        toast(`${key} moved to ${column?.name}`, { undo: () => mutation.mutate({ id, ...back }) });
    },
    onError: (error, { id }) => {
      const task = view.tasks.get(id);
      const text = `${task ? cardKey(view.board.key, task.number) : 'The card'} was not moved: ${why(error)}`;
      toast(text, { tone: 'bad' });
      announce(text);
    },
  });
  return mutation.mutate;
}

export const useInFlight = (boardId: string): InFlight[] =>
  useMutationState({
    filters: { mutationKey: ['move', boardId], status: 'pending' },
    select: (mutation) => mutation.state.variables as InFlight,
  });
