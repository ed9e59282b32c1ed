import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { api } from '@/api/client';
import { boardsQuery, requestsQuery } from '@/api/queries';
import type { Request, Task } from '@/api/types';
import { cardKey } from '@/lib/paths';
import { useShortcuts } from '@/lib/shortcuts';
import { Button } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { Empty, Page, Trouble, Waiting } from '@/ui/parts';
import { Ago } from '@/ui/Time';
import { RequestCard, useAnswer } from './RequestCard';

export function InboxPage() {
  const { data: requests, error, isPending, refetch } = useQuery(requestsQuery);
  const [chosen, choose] = useState(0);
  const answer = useAnswer();
  const all = requests ?? [];
  const at = Math.min(chosen, Math.max(0, all.length - 1));
  const group = 'Inbox';
  const give = (index: number) => {
    const request = all[at];
    const option = request?.options[index];
    if (request && option) answer.mutate({ request, answer: { option_id: option.option_id } });
  };
  useShortcuts([
    { keys: ['j', 'ArrowDown'], does: 'Next request', group, run: () => choose(Math.min(at + 1, all.length - 1)) },
    { keys: ['k', 'ArrowUp'], does: 'Previous request', group, run: () => choose(Math.max(at - 1, 0)) },
    ...Array.from({ length: 9 }, (_, index) => ({
      keys: [String(index + 1)],
      does: `Give answer ${index + 1}`,
      group,
      run: () => give(index),
    })),
  ]);
  const at_ = all[at]?.id;
  useEffect(() => {
    if (at_) document.getElementById(`request-${at_}`)?.scrollIntoView({ block: 'nearest' });
  }, [at_]);
  return (
    <Page title="Inbox" actions={<Notify waiting={all.length} />}>
      {error ? (
        <Trouble error={error} onRetry={() => void refetch()} />
      ) : isPending ? (
        <Waiting />
      ) : requests === null ? (
        <Empty icon="inbox" title="No agents, no questions">
          <p>This server does not run agents yet. What they ask will be collected here, from every board.</p>
        </Empty>
      ) : all.length === 0 ? (
        <Empty icon="check" title="Nothing waits for you">
          <p>When an agent needs a permission or an answer, it is here, on the card, and in the title of this page.</p>
        </Empty>
      ) : (
        <ul className="mx-auto flex max-w-3xl flex-col gap-3 p-4">
          {all.map((request, index) => (
            <li
              key={request.id}
              id={`request-${request.id}`}
              aria-current={index === at}
              onFocus={() => choose(index)}
              className={cx(
                'rounded-xl border bg-raised p-4 shadow-card',
                index === at && 'border-accent ring-1 ring-accent',
              )}
            >
              <About request={request} />
              <RequestCard request={request} keys={index === at} />
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}

/** Which card asks: its name is worth a look-up. */
function About({ request }: { request: Request }) {
  const { data: boards = [] } = useQuery(boardsQuery);
  const { data: task } = useQuery({
    queryKey: ['task', request.task_id],
    queryFn: () => api.get<Task>(`tasks/${request.task_id}`),
    staleTime: 60_000,
  });
  const board = boards.find((each) => each.id === (request.board_id ?? task?.board_id));
  return (
    <p className="mb-2.5 flex items-center gap-2 border-b pb-2 text-sm text-soft">
      {board && task ? (
        <Link
          to="/boards/$board/cards/$number"
          params={{ board: board.key, number: String(task.number) }}
          className="flex min-w-0 items-center gap-2 hover:text-ink"
        >
          <span className="text-xs text-faint tabular-nums">{cardKey(board.key, task.number)}</span>
          <span className="truncate">{task.title}</span>
        </Link>
      ) : (
        <span className="text-faint">…</span>
      )}
      <span className="flex-1" />
      {task?.agent_type && <span className="text-xs text-faint">{task.agent_type}</span>}
      {request.created_at && <Ago time={request.created_at} className="text-xs whitespace-nowrap text-faint" />}
    </p>
  );
}

/** Asked for only when somebody presses the button. */
function Notify({ waiting }: { waiting: number }) {
  const [state, setState] = useState(() => ('Notification' in window ? Notification.permission : 'denied'));
  const [before, setBefore] = useState(waiting);
  useEffect(() => {
    if (waiting > before && state === 'granted' && document.visibilityState === 'hidden')
      new Notification('Kanvoy', { body: `${waiting} waiting for you`, tag: 'kanvoy-inbox' });
    setBefore(waiting);
  }, [waiting, before, state]);
  if (state !== 'default') return null;
  return (
    <Button small look="quiet" onClick={() => void Notification.requestPermission().then(setState)}>
      Notify me
    </Button>
  );
}
