import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import type { BoardView } from '@/api/board';
import { ROOT, why } from '@/api/client';
import { boardQuery, deeds, putTask, statusQuery, taskQuery } from '@/api/queries';
import { STATES, type State, type Task } from '@/api/types';
import { legal, STATE_NAME } from '@/lib/lifecycle';
import { cardKey } from '@/lib/paths';
import { useShortcuts } from '@/lib/shortcuts';
import { Button, IconButton } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { Menu, MenuItem, MenuLine } from '@/ui/Menu';
import { Empty, Tabs, Trouble, Waiting } from '@/ui/parts';
import { StateSign } from '@/ui/signs';
import { toast } from '@/ui/toast';
import { TitleAndText } from './Editing';
import { Facts, Standing } from './Facts';
import { RunBar } from './RunBar';
import { Timeline } from './Timeline';
import { TranscriptView } from './TranscriptView';
import { useTranscript } from './useTranscript';

type Tab = 'activity' | 'changes' | 'log';

interface Props {
  boardKey: string;
  number: number;
  tab: Tab;
  wide: boolean;
  requests: (taskId: string) => ReactNode;
  review: (task: Task) => ReactNode;
}

export function CardPanel(props: Props) {
  const { boardKey, number, wide } = props;
  const { data: view } = useSuspenseQuery(boardQuery(boardKey));
  const drawn = [...view.tasks.values()].find((task) => task.number === number);
  // A card that was put away is not on the board, but its address still holds.
  const { data: fetched, error } = useQuery({ ...taskQuery(cardKey(boardKey, number)), enabled: !drawn });
  const task = drawn ?? fetched;
  const navigate = useNavigate();
  const close = () =>
    void navigate({
      to: '/boards/$board',
      params: { board: boardKey },
      search: ({ tab: _, wide: __, ...rest }: Record<string, unknown>) => rest,
    });
  const ref = useRef<HTMLElement>(null);
  useEffect(() => ref.current?.focus({ preventScroll: true }), []);
  useShortcuts([{ keys: ['Escape'], does: 'Close the card', group: 'Card', run: close }]);
  return (
    <aside
      ref={ref}
      tabIndex={-1}
      aria-label={`Card ${cardKey(boardKey, number)}`}
      className={cx(
        'md:animate-drawer flex min-w-0 flex-col overflow-hidden bg-page outline-none md:border-l',
        'max-md:fixed max-md:inset-0 max-md:z-40',
        wide
          ? 'absolute inset-0 z-30'
          : 'md:w-[min(44rem,58vw)] md:shrink-0 lg:relative md:max-lg:absolute md:max-lg:inset-y-0 md:max-lg:right-0 md:max-lg:z-30 md:max-lg:shadow-float',
      )}
    >
      {task ? (
        <Open {...props} view={view} task={task} onClose={close} />
      ) : (
        <>
          <div className="flex justify-end p-2">
            <IconButton label="Close the card" icon="x" onClick={close} />
          </div>
          {error ? (
            <Empty icon="search" title={`There is no ${cardKey(boardKey, number)}`}>
              <Trouble error={error} />
            </Empty>
          ) : (
            <Waiting />
          )}
        </>
      )}
    </aside>
  );
}

function Open({
  view,
  task,
  tab,
  wide,
  requests,
  review,
  onClose,
}: Props & { view: BoardView; task: Task; onClose: () => void }) {
  const { board } = view;
  const cache = useQueryClient();
  const navigate = useNavigate();
  const { data: status = null } = useQuery(statusQuery(task.id));
  const transcript = useTranscript(task.id, view.seq);
  const [editing, setEditing] = useState(false);
  const key = cardKey(board.key, task.number);
  const go = (change: { tab?: Tab; wide?: boolean }) =>
    void navigate({ to: '.', search: (before) => ({ ...before, ...change }), replace: true });

  const settle = useMutation({
    mutationFn: (to: State) => deeds.setState(task.id, to),
    onSuccess: (saved) => putTask(cache, saved),
    onError: (error) => toast(why(error), { tone: 'bad' }),
  });
  const remove = useMutation({
    mutationFn: () => deeds.updateTask(task.id, { archived: true }),
    onSuccess: (saved) => {
      putTask(cache, saved);
      onClose();
      toast(`${key} was archived`, {
        undo: () => void deeds.updateTask(task.id, { archived: false }).then((back) => putTask(cache, back)),
      });
    },
    onError: (error) => toast(why(error), { tone: 'bad' }),
  });
  useShortcuts([
    { keys: ['e'], does: 'Edit title and description', group: 'Card', run: () => setEditing(true) },
    { keys: ['w'], does: 'Wide or beside the board', group: 'Card', run: () => go({ wide: wide ? undefined : true }) },
  ]);
  const may = legal(task, board);
  const busy = task.attempts > 0 || transcript.view.count > 3;
  const activity = transcript.view.items.length > 0;
  const [emptyTitle, emptyText] = nothingYet(task, status !== null);

  const facts = (
    <div className="flex flex-col gap-3 px-4 py-3">
      <TitleAndText task={task} collapsed={!wide && busy} editing={editing} onEditing={setEditing} />
      <Standing task={task} />
      <Facts task={task} view={view} />
    </div>
  );
  const work = (
    <>
      <Tabs
        label="The card"
        value={tab}
        onChange={(next) => go({ tab: next === 'activity' ? undefined : next })}
        tabs={[
          { id: 'activity', name: 'Activity' },
          { id: 'changes', name: 'Changes' },
          { id: 'log', name: 'Event log' },
        ]}
      />
      <div role="tabpanel" aria-label={tab} className="flex min-h-0 flex-1 flex-col">
        {tab === 'activity' && (
          <>
            {activity ? (
              <TranscriptView
                view={transcript.view}
                more={transcript.more}
                reading={transcript.reading}
                onEarlier={transcript.earlier}
                agent={task.agent_type ?? 'Agent'}
              />
            ) : (
              <div className="min-h-0 flex-1 overflow-y-auto">
                <Empty icon="agent" title={emptyTitle}>
                  <p className="text-sm">{emptyText}</p>
                  {transcript.more && task.attempts > 0 && (
                    <Button small busy={transcript.reading} onClick={() => void transcript.earlier()}>
                      Look further back
                    </Button>
                  )}
                </Empty>
              </div>
            )}
            <div className="max-h-[50%] shrink-0 overflow-y-auto">{requests(task.id)}</div>
            {transcript.status.state === 'lost' && activity && (
              <p role="status" className="bg-warn-soft px-4 py-1 text-xs text-warn">
                The stream of this card is interrupted; it goes on from event {transcript.view.last}.
              </p>
            )}
            <RunBar task={task} status={status} view={transcript.view} />
          </>
        )}
        {tab === 'changes' && review(task)}
        {tab === 'log' && <Timeline taskId={task.id} />}
      </div>
    </>
  );

  return (
    <>
      <header className="flex h-12 shrink-0 items-center gap-1 border-b pr-2 pl-3">
        <IconButton label="Back to the board" icon="back" className="md:hidden" onClick={onClose} />
        <Menu
          align="start"
          trigger={
            <Button small look="quiet" busy={settle.isPending}>
              <StateSign state={task.state} /> {STATE_NAME[task.state]}
            </Button>
          }
        >
          {STATES.filter((state) => state !== task.state).map((state) => (
            <MenuItem key={state} disabled={!may.includes(state)} onSelect={() => settle.mutate(state)}>
              {STATE_NAME[state]}
            </MenuItem>
          ))}
        </Menu>
        <span className="text-sm text-faint tabular-nums">{key}</span>
        {task.attempts > 0 && <span className="text-xs text-faint">· attempt {task.attempts}</span>}
        {status?.instance?.runtime === 'process' && (
          <span
            className="rounded bg-warn-soft px-1.5 text-2xs text-warn"
            title="It runs on the host, with the rights of the server"
          >
            not a cage
          </span>
        )}
        <span className="flex-1" />
        <IconButton label="Edit (E)" icon="edit" onClick={() => setEditing(true)} />
        <Menu trigger={<IconButton label="More" icon="more" />}>
          <MenuItem
            icon="copy"
            onSelect={() => {
              const link = new URL(`boards/${board.key}/cards/${task.number}`, ROOT).href;
              navigator.clipboard?.writeText(link).then(
                () => toast('The link is copied'),
                () => toast(link),
              );
            }}
          >
            Copy link
          </MenuItem>
          <MenuLine />
          <MenuItem icon="archive" onSelect={() => remove.mutate()}>
            Archive
          </MenuItem>
        </Menu>
        <IconButton
          label={wide ? 'Beside the board (W)' : 'Wide (W)'}
          icon="expand"
          className="max-md:hidden"
          onClick={() => go({ wide: wide ? undefined : true })}
        />
        <IconButton label="Close the card (Esc)" icon="x" className="max-md:hidden" onClick={onClose} />
      </header>
      {wide ? (
        <div className="grid min-h-0 flex-1 grid-cols-[minmax(0,1fr)] lg:grid-cols-[minmax(0,1fr)_24rem]">
          <div className="flex min-h-0 min-w-0 flex-col border-r">{work}</div>
          <div className="min-h-0 overflow-y-auto max-lg:hidden">{facts}</div>
        </div>
      ) : (
        <>
          <div
            className={cx(
              'shrink-0 overflow-y-auto',
              tab === 'activity' ? (busy ? 'max-h-[42%] max-md:max-h-[34%]' : 'max-h-[60%]') : 'max-h-[25%]',
            )}
          >
            {facts}
          </div>
          {work}
        </>
      )}
    </>
  );
}

/** What stands where a transcript would be. */
function nothingYet(task: Task, agents: boolean): [title: string, text: string] {
  if (!agents)
    return ['No run yet', 'This server does not run agents yet. The card, its log and its board work all the same.'];
  if (task.attempts > 0) return ['Nothing said lately', 'What the agent said and did lies further back in the log.'];
  if (task.agent_type)
    return ['Nothing has run yet', `Start it, and what ${task.agent_type} says and does appears here as it happens.`];
  return ['Worked by hand', 'Give the card an agent above, and it can be started.'];
}
