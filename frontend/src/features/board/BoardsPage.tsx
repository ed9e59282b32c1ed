import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { Problem, why } from '@/api/client';
import { boardsQuery, deeds, requestsQuery } from '@/api/queries';
import { useShortcuts } from '@/lib/shortcuts';
import { plural } from '@/lib/text';
import { Button } from '@/ui/Button';
import { Dialog } from '@/ui/Dialog';
import { Icon } from '@/ui/Icon';
import { Badge, Empty, Field, Input, Page, TextArea } from '@/ui/parts';
import { Ago } from '@/ui/Time';

export function BoardsPage() {
  const { data: boards } = useSuspenseQuery(boardsQuery);
  const { data: requests } = useQuery(requestsQuery);
  const [creating, setCreating] = useState(false);
  useShortcuts([{ keys: ['c'], does: 'New board', group: 'Boards', run: () => setCreating(true) }]);
  const waiting = (id: string) => requests?.filter((request) => request.board_id === id).length ?? 0;
  return (
    <Page
      title="Boards"
      actions={
        <Button look="primary" icon="plus" onClick={() => setCreating(true)}>
          New board
        </Button>
      }
    >
      {boards.length === 0 ? (
        <Empty icon="board" title="Welcome to Kanvoy">
          <p>
            A board is a repository with its cards. Agents work on the cards, each in a container of its own; you say
            what, answer what they ask, and review what they did.
          </p>
          <Button look="primary" icon="plus" onClick={() => setCreating(true)}>
            Make the first board
          </Button>
        </Empty>
      ) : (
        <ul className="grid gap-3 p-4 sm:grid-cols-2 xl:grid-cols-3">
          {boards.map((board) => (
            <li
              key={board.id}
              className="relative rounded-xl border bg-card p-4 shadow-card transition-colors hover:border-line-strong"
            >
              <div className="flex items-center gap-2.5">
                <span className="grid h-8 min-w-8 place-items-center rounded-lg bg-accent-soft px-1.5 text-xs font-semibold text-accent">
                  {board.key}
                </span>
                <Link
                  to="/boards/$board"
                  params={{ board: board.key }}
                  className="min-w-0 flex-1 truncate font-semibold after:absolute after:inset-0 after:rounded-xl"
                >
                  {board.name}
                </Link>
                {waiting(board.id) > 0 && (
                  <Badge tone="warn" icon="hand">
                    {plural(waiting(board.id), 'request')}
                  </Badge>
                )}
              </div>
              <p className="mt-2 line-clamp-2 min-h-5 text-sm text-soft">{board.description}</p>
              <p className="mt-2 flex items-center gap-1.5 text-xs text-faint">
                {board.repository_url && (
                  <>
                    <Icon name="link" className="size-3.5" />
                    <span className="truncate">{board.repository_url.replace(/^https?:\/\//, '')}</span>
                  </>
                )}
                <span className="ml-auto whitespace-nowrap">
                  changed <Ago time={board.updated_at} />
                </span>
              </p>
            </li>
          ))}
        </ul>
      )}
      {creating && <NewBoard onClose={() => setCreating(false)} />}
    </Page>
  );
}

function NewBoard({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient();
  const navigate = useNavigate();
  const [name, setName] = useState('');
  const [key, setKey] = useState('');
  const [url, setUrl] = useState('');
  const [description, setDescription] = useState('');
  const add = useMutation({
    mutationFn: () =>
      deeds.createBoard({
        name,
        ...(key ? { key: key.toUpperCase() } : {}),
        ...(url ? { repository_url: url } : {}),
        ...(description ? { description } : {}),
      }),
    onSuccess: async (board) => {
      await cache.invalidateQueries({ queryKey: boardsQuery.queryKey });
      onClose();
      await navigate({ to: '/boards/$board', params: { board: board.key } });
    },
  });
  const fields = add.error instanceof Problem ? add.error.fields : {};
  return (
    <Dialog
      title="New board"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            look="primary"
            busy={add.isPending}
            unable={name.trim() ? null : 'Give it a name first'}
            onClick={() => add.mutate()}
          >
            Make the board
          </Button>
        </>
      }
    >
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim()) add.mutate();
        }}
      >
        <div className="grid grid-cols-[1fr_7rem] gap-3">
          <Field label="Name" error={fields.name}>
            <Input autoFocus value={name} onChange={(event) => setName(event.target.value)} />
          </Field>
          <Field label="Key" hint="as in KEY-12" error={fields.key}>
            <Input
              value={key}
              placeholder="auto"
              onChange={(event) => setKey(event.target.value)}
              className="uppercase placeholder:normal-case"
            />
          </Field>
        </div>
        <Field
          label="Repository"
          hint="https or ssh. Every card gets a clone and a branch of its own."
          error={fields.repository_url}
        >
          <Input
            value={url}
            placeholder="https://example.org/team/project.git"
            onChange={(event) => setUrl(event.target.value)}
          />
        </Field>
        <Field label="Description" error={fields.description}>
          <TextArea rows={2} value={description} onChange={(event) => setDescription(event.target.value)} />
        </Field>
        {add.error && Object.keys(fields).length === 0 && (
          <p role="alert" className="text-sm text-bad">
            {why(add.error)}
          </p>
        )}
        <button type="submit" hidden />
      </form>
    </Dialog>
  );
}
