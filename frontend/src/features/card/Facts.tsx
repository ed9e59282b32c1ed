/** The small fields of a card: agent, priority, labels, what it waits for, its parts. Each is edited where it stands. */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { type ReactNode, useState } from 'react';
import type { BoardView } from '@/api/board';
import { why } from '@/api/client';
import { agentTypesQuery, deeds, putTask } from '@/api/queries';
import { PRIORITIES, type Task } from '@/api/types';
import { cardKey } from '@/lib/paths';
import { Button, IconButton } from '@/ui/Button';
import { Icon } from '@/ui/Icon';
import { Menu, MenuCheck, MenuItem } from '@/ui/Menu';
import { Badge, INPUT } from '@/ui/parts';
import { PRIORITY_NAME, PrioritySign, StateSign } from '@/ui/signs';
import { toast } from '@/ui/toast';
import { useEdit } from './Editing';

export function Facts({ task, view }: { task: Task; view: BoardView }) {
  const edit = useEdit(task);
  const { data: agents } = useQuery(agentTypesQuery);
  const change = (fields: Parameters<typeof edit.mutate>[0]) =>
    edit.mutate(fields, { onError: (error) => toast(why(error), { tone: 'bad' }) });
  const parts = [...view.tasks.values()].filter((each) => each.parent_id === task.id);
  const parent = task.parent_id ? view.tasks.get(task.parent_id) : undefined;
  const others = [...view.tasks.values()].filter((each) => each.id !== task.id && !task.blocked_by.includes(each.id));
  const names = [
    ...new Set([...(agents ?? []).map((agent) => agent.name), ...(task.agent_type ? [task.agent_type] : [])]),
  ];
  return (
    <div className="flex flex-col gap-2.5">
      <div className="flex flex-wrap items-center gap-1.5">
        <Menu
          align="start"
          trigger={
            <Button small icon="agent">
              {task.agent_type ?? 'Nobody'}
            </Button>
          }
        >
          <MenuCheck checked={task.agent_type === null} onChange={() => change({ agent_type: null })}>
            Nobody: by hand
          </MenuCheck>
          {names.map((name) => (
            <MenuCheck key={name} checked={task.agent_type === name} onChange={() => change({ agent_type: name })}>
              {name}
            </MenuCheck>
          ))}
        </Menu>
        <Menu
          align="start"
          trigger={
            <Button small>
              <PrioritySign priority={task.priority} /> {PRIORITY_NAME[task.priority]}
            </Button>
          }
        >
          {PRIORITIES.map((priority) => (
            <MenuCheck key={priority} checked={task.priority === priority} onChange={() => change({ priority })}>
              {PRIORITY_NAME[priority]}
            </MenuCheck>
          ))}
        </Menu>
        <Labels task={task} onChange={(labels) => change({ labels })} />
      </div>
      {parent && (
        <Row label="Part of">
          <CardLink view={view} task={parent} />
        </Row>
      )}
      {task.blocked_by.length > 0 && (
        <Row label="Waits for">
          <ul className="flex flex-col">
            {task.blocked_by.map((id) => {
              const other = view.tasks.get(id);
              return (
                <li key={id} className="flex items-center gap-1">
                  {other ? (
                    <CardLink view={view} task={other} />
                  ) : (
                    <span className="text-sm text-faint">a card that is not on this board now</span>
                  )}
                  <IconButton
                    label="No longer wait for it"
                    icon="x"
                    className="size-6!"
                    onClick={() => change({ blocked_by: task.blocked_by.filter((each) => each !== id) })}
                  />
                </li>
              );
            })}
          </ul>
        </Row>
      )}
      {parts.length > 0 && (
        <Row label="Sub-tasks">
          <ul className="flex flex-col">
            {parts.map((part) => (
              <li key={part.id}>
                <CardLink view={view} task={part} />
              </li>
            ))}
          </ul>
        </Row>
      )}
      <div className="flex flex-wrap gap-1">
        <Menu
          align="start"
          trigger={
            <Button small look="quiet" icon="lock">
              Waits for…
            </Button>
          }
        >
          {others.slice(0, 200).map((other) => (
            <MenuItem
              key={other.id}
              hint={cardKey(view.board.key, other.number)}
              onSelect={() => change({ blocked_by: [...task.blocked_by, other.id] })}
            >
              <span className="line-clamp-1 max-w-72">{other.title}</span>
            </MenuItem>
          ))}
        </Menu>
        <AddPart task={task} />
      </div>
    </div>
  );
}

function Row({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className="flex gap-3 text-sm">
      <span className="w-20 shrink-0 pt-0.5 text-xs text-faint">{label}</span>
      <div className="min-w-0 flex-1">{children}</div>
    </div>
  );
}

function CardLink({ view, task }: { view: BoardView; task: Task }) {
  return (
    <Link
      to="/boards/$board/cards/$number"
      params={{ board: view.board.key, number: String(task.number) }}
      search={(before) => before}
      className="flex min-w-0 items-center gap-1.5 rounded px-1 py-0.5 text-sm hover:bg-hover"
    >
      <StateSign state={task.state} />
      <span className="text-xs text-faint tabular-nums">{cardKey(view.board.key, task.number)}</span>
      <span className="truncate">{task.title}</span>
    </Link>
  );
}

function Labels({ task, onChange }: { task: Task; onChange: (labels: string[]) => void }) {
  const [text, setText] = useState('');
  return (
    <>
      {task.labels.map((label) => (
        <span key={label} className="flex items-center rounded bg-hover pl-2 text-xs text-soft">
          {label}
          <IconButton
            label={`Remove the label ${label}`}
            icon="x"
            className="size-6! [&_svg]:size-3"
            onClick={() => onChange(task.labels.filter((each) => each !== label))}
          />
        </span>
      ))}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const label = text.trim();
          setText('');
          if (label && !task.labels.includes(label)) onChange([...task.labels, label]);
        }}
      >
        <input
          aria-label="Add a label"
          placeholder="+ label"
          value={text}
          onChange={(event) => setText(event.target.value)}
          className={`${INPUT} h-7 w-20! border-dashed! px-2! text-xs!`}
        />
      </form>
    </>
  );
}

function AddPart({ task }: { task: Task }) {
  const cache = useQueryClient();
  const [title, setTitle] = useState<string | null>(null);
  const add = useMutation({
    mutationFn: (name: string) => deeds.createTask(task.board_id, { title: name, parent_id: task.id }),
    onSuccess: (made) => putTask(cache, made),
    onError: (error) => toast(why(error), { tone: 'bad' }),
  });
  if (title === null)
    return (
      <Button small look="quiet" icon="plus" onClick={() => setTitle('')}>
        Sub-task
      </Button>
    );
  return (
    <form
      className="flex flex-1 gap-1"
      onSubmit={(event) => {
        event.preventDefault();
        if (title.trim()) add.mutate(title.trim());
        setTitle('');
      }}
    >
      <input
        autoFocus
        aria-label="Title of the sub-task"
        value={title}
        onChange={(event) => setTitle(event.target.value)}
        onKeyDown={(event) => event.key === 'Escape' && setTitle(null)}
        className={`${INPUT} h-7 text-xs!`}
      />
      <Button small type="submit">
        Add
      </Button>
    </form>
  );
}

/** Why it stands still, or why it failed: never only a colour. */
export function Standing({ task }: { task: Task }) {
  return (
    <>
      {task.failure && (
        <div role="note" className="rounded-lg border border-bad/30 bg-bad-soft p-3 text-sm">
          <p className="flex items-center gap-1.5 font-semibold text-bad">
            <Icon name="fail" /> {task.failure.detail || task.failure.code}
          </p>
          <p className="mt-1 flex flex-wrap gap-1.5">
            <Badge tone="bad">{task.failure.code}</Badge>
            {task.failure.exit_code != null && <Badge>exit code {task.failure.exit_code}</Badge>}
            {task.failure.oom && <Badge tone="warn">out of memory</Badge>}
          </p>
          {task.failure.stderr_tail && (
            <pre
              tabIndex={0}
              className="mt-2 max-h-40 overflow-auto rounded bg-card p-2 font-mono text-xs whitespace-pre-wrap wrap-anywhere"
            >
              {task.failure.stderr_tail}
            </pre>
          )}
        </div>
      )}
      {task.waiting.length > 0 && (
        <ul className="rounded-lg border bg-lane p-2.5 text-sm text-soft">
          {task.waiting.map((reason) => (
            <li key={reason.code} className="flex gap-1.5">
              <Icon name="clock" className="mt-0.5 text-faint" /> {reason.detail}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
