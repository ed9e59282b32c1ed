/** Title and description as they stand, and as they are edited; somebody else's edit meanwhile is never overwritten unseen. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, Problem, why } from '@/api/client';
import { deeds, putTask } from '@/api/queries';
import type { Task, TaskEdit } from '@/api/types';
import { Button } from '@/ui/Button';
import { Markdown } from '@/ui/Markdown';
import { Input, TextArea } from '@/ui/parts';

export function useEdit(task: Task) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (edit: TaskEdit) => deeds.updateTask(task.id, edit),
    onSuccess: (saved) => putTask(cache, saved),
    onError: async (error) => {
      if (error instanceof Problem && error.code === 'stale_version')
        putTask(cache, await api.get<Task>(`tasks/${task.id}`));
    },
  });
}

interface Draft {
  title: string;
  description: string;
  version: number;
}

export function TitleAndText({
  task,
  collapsed,
  editing,
  onEditing,
}: {
  task: Task;
  collapsed: boolean;
  editing: boolean;
  onEditing: (on: boolean) => void;
}) {
  const edit = useEdit(task);
  const [draft, setDraft] = useState<Draft | null>(null);
  const [whole, setWhole] = useState(false);
  const begin = () => {
    setDraft({ title: task.title, description: task.description, version: task.version });
    onEditing(true);
  };
  if (editing && !draft) begin();
  const stop = () => {
    setDraft(null);
    edit.reset();
    onEditing(false);
  };
  const save = (version: number) => {
    if (!draft) return;
    edit.mutate({ title: draft.title, description: draft.description, version }, { onSuccess: stop });
  };
  const stale = edit.error instanceof Problem && edit.error.code === 'stale_version';
  if (draft)
    return (
      <form
        className="flex flex-col gap-2"
        onSubmit={(event) => {
          event.preventDefault();
          save(draft.version);
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape') stop();
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) save(draft.version);
          event.stopPropagation();
        }}
      >
        <Input
          autoFocus
          aria-label="Title"
          value={draft.title}
          onChange={(event) => setDraft({ ...draft, title: event.target.value })}
          className="text-base! font-semibold"
        />
        <TextArea
          aria-label="Description"
          rows={8}
          value={draft.description}
          placeholder="Markdown. The agent reads it as its first prompt."
          onChange={(event) => setDraft({ ...draft, description: event.target.value })}
          className="font-mono text-xs!"
        />
        {stale ? (
          <div role="alert" className="rounded-md bg-warn-soft p-2.5 text-sm text-warn">
            <p className="font-medium">Somebody changed this card while you wrote.</p>
            <details className="mt-1">
              <summary>What it says now</summary>
              <p className="mt-1 font-semibold">{task.title}</p>
              <pre className="max-h-40 overflow-auto text-xs whitespace-pre-wrap">
                {task.description || '(no description)'}
              </pre>
            </details>
            <div className="mt-2 flex gap-2">
              <Button small onClick={() => save(task.version)}>
                Keep mine
              </Button>
              <Button small onClick={stop}>
                Take theirs
              </Button>
            </div>
          </div>
        ) : (
          edit.error && (
            <p role="alert" className="text-sm text-bad">
              {why(edit.error)}
            </p>
          )
        )}
        <div className="flex gap-2">
          <Button small look="primary" type="submit" busy={edit.isPending}>
            Save
          </Button>
          <Button small look="quiet" onClick={stop}>
            Cancel
          </Button>
        </div>
      </form>
    );
  const long = task.description.length > 280 || task.description.split('\n').length > 6;
  const clamped = collapsed && long && !whole;
  return (
    <div>
      <h2 className="text-xl leading-snug font-semibold wrap-anywhere">{task.title}</h2>
      {task.description ? (
        <div className="mt-2 text-sm">
          <div
            className={
              clamped ? 'max-h-24 overflow-hidden [mask-image:linear-gradient(black_60%,transparent)]' : undefined
            }
          >
            <Markdown text={task.description} />
          </div>
          {collapsed && long && (
            <button type="button" className="mt-1 text-xs font-medium text-accent" onClick={() => setWhole(!whole)}>
              {whole ? 'Less' : 'All of it'}
            </button>
          )}
        </div>
      ) : (
        <button type="button" onClick={begin} className="mt-1 text-sm text-faint hover:text-ink">
          Add a description…
        </button>
      )}
    </div>
  );
}
