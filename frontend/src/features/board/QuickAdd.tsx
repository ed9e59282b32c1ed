import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { why } from '@/api/client';
import { deeds, putTask } from '@/api/queries';
import type { Board, Column, State } from '@/api/types';
import { cardKey } from '@/lib/paths';
import { Button } from '@/ui/Button';
import { announce } from '@/ui/toast';

export const canBegin = (column: Column): State | null =>
  column.states.find((state) => state === 'TODO' || state === 'BACKLOG') ?? null;

/** A title and Enter; the field stays for the next. Several lines that are pasted become as many cards. */
export function QuickAdd({
  board,
  column,
  onClose,
  onMore,
}: {
  board: Board;
  column: Column;
  onClose: () => void;
  onMore: (title: string) => void;
}) {
  const [title, setTitle] = useState('');
  const cache = useQueryClient();
  const state = canBegin(column) ?? 'TODO';
  const add = useMutation({
    mutationFn: async (titles: string[]) => {
      for (const each of titles) {
        const task = await deeds.createTask(board.id, { title: each, state });
        putTask(cache, task);
        announce(`${cardKey(board.key, task.number)} was added to ${column.name}.`);
      }
    },
    onError: (_, titles) => setTitle((now) => now || titles.join('\n')),
  });
  const submit = () => {
    const titles = title
      .split('\n')
      .map((each) => each.trim())
      .filter(Boolean);
    if (titles.length === 0) return;
    setTitle('');
    add.mutate(titles);
  };
  return (
    <form
      className="flex flex-col gap-2 rounded-lg border border-accent bg-card p-2 shadow-card"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        autoFocus
        rows={2}
        aria-label={`Title of a new card in ${column.name}`}
        placeholder="What is to be done?"
        value={title}
        onChange={(event) => setTitle(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && !event.shiftKey) {
            event.preventDefault();
            submit();
          }
          if (event.key === 'Escape') {
            event.stopPropagation();
            onClose();
          }
        }}
        className="field-sizing-content w-full resize-none bg-transparent text-sm outline-none placeholder:text-faint pointer-coarse:text-lg"
      />
      {add.error && (
        <p role="alert" className="text-xs text-bad">
          {why(add.error)}
        </p>
      )}
      <div className="flex items-center gap-1">
        <Button small look="primary" type="submit" busy={add.isPending}>
          Add
        </Button>
        <Button small look="quiet" onClick={() => onMore(title)}>
          More fields…
        </Button>
        <span className="flex-1" />
        <Button small look="quiet" onClick={onClose}>
          Cancel
        </Button>
      </div>
    </form>
  );
}
