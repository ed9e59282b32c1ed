import { combine } from '@atlaskit/pragmatic-drag-and-drop/combine';
import { draggable, dropTargetForElements } from '@atlaskit/pragmatic-drag-and-drop/element/adapter';
import {
  attachClosestEdge,
  type Edge,
  extractClosestEdge,
} from '@atlaskit/pragmatic-drag-and-drop-hitbox/closest-edge';
import { Link } from '@tanstack/react-router';
import { memo, useEffect, useRef, useState } from 'react';
import type { Task } from '@/api/types';
import { cardKey } from '@/lib/paths';
import { money, plural } from '@/lib/text';
import { IconButton } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { Icon } from '@/ui/Icon';
import { Menu } from '@/ui/Menu';
import { Badge, Meter } from '@/ui/parts';
import { PrioritySign } from '@/ui/signs';
import { type CardDeeds, CardMenu } from './CardMenu';

export interface CardProps {
  task: Task;
  boardKey: string;
  selected: boolean;
  current: boolean;
  moving: boolean;
  blocked: number;
  parts: { done: number; all: number } | null;
  deeds: CardDeeds;
}

export const CardTile = memo(function CardTile({
  task,
  boardKey,
  selected,
  current,
  moving,
  blocked,
  parts,
  deeds,
}: CardProps) {
  const ref = useRef<HTMLDivElement>(null);
  const [dragged, setDragged] = useState(false);
  const [edge, setEdge] = useState<Edge | null>(null);
  const { id, column_id } = task;
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    return combine(
      draggable({
        element,
        getInitialData: () => ({ card: id }),
        onDragStart: () => setDragged(true),
        onDrop: () => setDragged(false),
      }),
      dropTargetForElements({
        element,
        canDrop: ({ source }) => typeof source.data.card === 'string' && source.data.card !== id,
        getData: ({ input, element: target }) =>
          attachClosestEdge(
            { card: id, column: column_id },
            { input, element: target, allowedEdges: ['top', 'bottom'] },
          ),
        getIsSticky: () => true,
        onDrag: ({ self }) => setEdge(extractClosestEdge(self.data)),
        onDragLeave: () => setEdge(null),
        onDrop: () => setEdge(null),
      }),
    );
  }, [id, column_id]);

  return (
    <div
      ref={ref}
      data-card={id}
      className={cx(
        'group/card relative rounded-lg border bg-card px-2.5 py-2 shadow-card transition-[border-color,opacity] select-none',
        'hover:border-line-strong has-[a:focus-visible]:outline-2 has-[a:focus-visible]:outline-accent',
        selected && 'border-accent bg-accent-soft!',
        dragged && 'opacity-40',
        moving && 'opacity-70',
      )}
    >
      {edge && (
        <div
          aria-hidden="true"
          className={cx(
            'absolute inset-x-0 z-10 h-0.5 rounded bg-accent',
            edge === 'top' ? '-top-1.25' : '-bottom-1.25',
          )}
        />
      )}
      <div className="flex items-center gap-1.5 text-2xs text-faint">
        <PrioritySign priority={task.priority} />
        <span className="tabular-nums">{cardKey(boardKey, task.number)}</span>
        {task.attempts > 1 && <span title={plural(task.attempts, 'attempt')}>· try {task.attempts}</span>}
        <span className="flex-1" />
        {task.agent_type && (
          <span className="flex min-w-0 items-center gap-1" title={`Agent: ${task.agent_type}`}>
            <Icon name="agent" className={cx('size-3', task.current_run_id && 'text-accent')} />
            <span className="max-w-24 truncate">{task.agent_type}</span>
          </span>
        )}
        <Menu
          trigger={
            <IconButton
              label={`Actions for ${cardKey(boardKey, task.number)}`}
              icon="more"
              tabIndex={current ? 0 : -1}
              className="-my-1 -mr-1.5 size-6! relative z-10"
            />
          }
        >
          <CardMenu task={task} deeds={deeds} />
        </Menu>
      </div>
      <Link
        to="/boards/$board/cards/$number"
        params={{ board: boardKey, number: String(task.number) }}
        search={(before) => before}
        preload={false}
        draggable={false}
        tabIndex={current ? 0 : -1}
        onFocus={() => deeds.onFocus(id)}
        onClick={(event) => {
          if (!event.shiftKey) return;
          event.preventDefault();
          deeds.onSelect(id);
        }}
        className="mt-0.5 line-clamp-3 text-sm leading-snug font-medium wrap-anywhere outline-none after:absolute after:inset-0 after:rounded-lg"
      >
        {task.title}
      </Link>
      <Doing task={task} />
      {(task.labels.length > 0 || blocked > 0 || parts || task.live.cost) && (
        <div className="mt-1.5 flex flex-wrap items-center gap-1">
          {blocked > 0 && (
            <Badge tone="warn" icon="lock" title={`Waits for ${plural(blocked, 'card')}`}>
              {blocked}
            </Badge>
          )}
          {parts && (
            <Badge icon="task" title="Sub-tasks done">
              {parts.done}/{parts.all}
            </Badge>
          )}
          {task.labels.slice(0, 4).map((label) => (
            <Badge key={label}>{label}</Badge>
          ))}
          {task.labels.length > 4 && <span className="text-2xs text-faint">+{task.labels.length - 4}</span>}
          {task.live.cost && <span className="ml-auto text-2xs text-faint tabular-nums">{money(task.live.cost)}</span>}
        </div>
      )}
    </div>
  );
});

/** The one line that says what is going on, the most pressing first. */
function Doing({ task }: { task: Task }) {
  const line = 'mt-1 flex items-start gap-1.5 text-xs';
  if (task.open_requests > 0)
    return (
      <p className={cx(line, 'font-medium text-warn')}>
        <Icon name="hand" className="mt-px size-3.5" /> Needs you{task.open_requests > 1 && ` (${task.open_requests})`}
      </p>
    );
  if (task.failure && task.state === 'FAILED')
    return (
      <p className={cx(line, 'text-bad')}>
        <Icon name="fail" className="mt-px size-3.5" />
        <span className="line-clamp-2 wrap-anywhere">{task.failure.detail || task.failure.code}</span>
      </p>
    );
  const reason = task.waiting[0];
  if (reason)
    return (
      <p className={cx(line, 'text-faint')}>
        <Icon name="clock" className="mt-px size-3.5" />
        <span className="line-clamp-2">{reason.detail}</span>
      </p>
    );
  if (task.current_run_id || task.live.note)
    return (
      <>
        <p className={cx(line, 'text-accent')}>
          <span aria-hidden="true" className="animate-live mx-1 mt-1.5 size-1.5 shrink-0 rounded-full bg-accent" />
          <span className="truncate">{task.live.note ?? 'At work'}</span>
        </p>
        {task.live.percent !== null && (
          <div className="mt-1.5">
            <Meter value={task.live.percent} label={`${Math.round(task.live.percent)} % done`} />
          </div>
        )}
      </>
    );
  return null;
}
