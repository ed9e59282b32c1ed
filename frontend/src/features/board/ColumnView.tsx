import { combine } from '@atlaskit/pragmatic-drag-and-drop/combine';
import { dropTargetForElements } from '@atlaskit/pragmatic-drag-and-drop/element/adapter';
import { autoScrollForElements } from '@atlaskit/pragmatic-drag-and-drop-auto-scroll/element';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import type { Column, Task } from '@/api/types';
import { IconButton } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { Icon } from '@/ui/Icon';
import { StateSign } from '@/ui/signs';
import { type Group, laneOf, lanes } from './filters';

interface Props {
  column: Column;
  cards: readonly Task[];
  /** All of its cards, shown or not. */
  total: number;
  group: Group;
  current: string | null;
  /** Why the dragged card may not come here; null when it may, or nothing is dragged. */
  refusal: string | null;
  dragging: boolean;
  draw: (task: Task) => ReactNode;
  onAdd: (() => void) | null;
  adding: ReactNode;
}

type Row = { kind: 'card'; task: Task } | { kind: 'lane'; id: string; name: string; count: number };

export function ColumnView({ column, cards, total, group, current, refusal, dragging, draw, onAdd, adding }: Props) {
  const list = useRef<HTMLDivElement>(null);
  const whole = useRef<HTMLElement>(null);
  const [over, setOver] = useState(false);

  const rows = useMemo<Row[]>(() => {
    if (group === 'none') return cards.map((task) => ({ kind: 'card', task }));
    return lanes(cards, group).flatMap(({ id, name }): Row[] => {
      const inside = cards.filter((task) => laneOf(task, group) === id);
      return [{ kind: 'lane', id, name, count: inside.length }, ...inside.map((task): Row => ({ kind: 'card', task }))];
    });
  }, [cards, group]);

  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => list.current,
    estimateSize: (index) => (rows[index]?.kind === 'lane' ? 30 : 96),
    getItemKey: (index) => {
      const row = rows[index];
      return row?.kind === 'card' ? row.task.id : `lane ${row?.id ?? index}`;
    },
    overscan: 6,
    gap: 8,
    paddingStart: 2,
    paddingEnd: 10,
  });

  // The card that the keyboard stands on may lie far outside of what is drawn.
  const at = current === null ? -1 : rows.findIndex((row) => row.kind === 'card' && row.task.id === current);
  useEffect(() => {
    if (at >= 0) virtual.scrollToIndex(at, { align: 'auto' });
  }, [at, virtual]);

  useEffect(() => {
    const element = whole.current;
    const scroller = list.current;
    if (!element || !scroller) return;
    return combine(
      dropTargetForElements({
        element,
        canDrop: ({ source }) => typeof source.data.card === 'string',
        getData: () => ({ column: column.id }),
        onDragEnter: () => setOver(true),
        onDragLeave: () => setOver(false),
        onDrop: () => setOver(false),
      }),
      autoScrollForElements({ element: scroller }),
    );
  }, [column.id]);

  const full = column.wip_limit !== null && total > column.wip_limit;
  return (
    <section
      ref={whole}
      aria-label={column.name}
      data-column={column.name}
      className={cx(
        'relative flex h-full w-[calc(100vw-2.5rem)] shrink-0 snap-center flex-col rounded-xl transition-colors md:w-auto md:max-w-96 md:min-w-66 md:flex-1 md:snap-none',
        dragging && over && refusal === null ? 'bg-accent-soft' : 'bg-lane',
        dragging && refusal !== null && 'opacity-45',
      )}
    >
      <header className="flex h-10 items-center gap-2 pr-1.5 pl-3">
        <StateSign state={column.states[0] ?? 'TODO'} />
        <h2 className="truncate text-sm font-semibold">{column.name}</h2>
        <span
          className={cx(
            'rounded px-1 text-xs tabular-nums',
            full ? 'bg-warn-soft font-semibold text-warn' : 'text-faint',
          )}
          title={full ? `More than the limit of ${column.wip_limit}` : undefined}
        >
          {cards.length === total ? total : `${cards.length} of ${total}`}
          {column.wip_limit !== null && ` / ${column.wip_limit}`}
          <span className="sr-only"> cards{full && ', over its limit'}</span>
        </span>
        <span className="flex-1" />
        {onAdd && <IconButton label={`Add a card to ${column.name}`} icon="plus" onClick={onAdd} />}
      </header>
      {adding && <div className="px-2 pb-2">{adding}</div>}
      {dragging && over && refusal && (
        <p className="mx-2 mb-2 flex gap-1.5 rounded-md bg-bad-soft p-2 text-xs text-bad">
          <Icon name="warn" className="size-3.5" /> {refusal}
        </p>
      )}
      <div
        ref={list}
        role="list"
        aria-label={`Cards in ${column.name}`}
        className="relative min-h-0 flex-1 overflow-y-auto overscroll-contain px-2"
      >
        <div
          className="relative w-full"
          role="presentation"
          ref={(element) => void element?.style.setProperty('height', `${virtual.getTotalSize()}px`)}
        >
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index];
            if (!row) return null;
            return (
              <div
                key={item.key}
                role="listitem"
                aria-setsize={rows.length}
                aria-posinset={item.index + 1}
                data-index={item.index}
                ref={virtual.measureElement}
                className="absolute inset-x-0 top-0"
                style={{ transform: `translateY(${item.start}px)` }}
              >
                {row.kind === 'card' ? (
                  draw(row.task)
                ) : (
                  <h3 className="flex items-center gap-1.5 px-1 pt-1.5 text-xs font-medium text-soft">
                    {row.name} <span className="text-faint tabular-nums">{row.count}</span>
                  </h3>
                )}
              </div>
            );
          })}
        </div>
      </div>
    </section>
  );
}
