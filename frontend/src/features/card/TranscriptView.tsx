import { useVirtualizer } from '@tanstack/react-virtual';
import { type Key, memo, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { PlanEntry, ToolContent } from '@/api/types';
import { diffLines } from '@/lib/diff';
import { plain, plural, visible } from '@/lib/text';
import { atClock, lasting } from '@/lib/time';
import { Button } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { DiffView } from '@/ui/DiffView';
import { Icon, type IconName } from '@/ui/Icon';
import { Markdown } from '@/ui/Markdown';
import {
  blockText,
  type Item,
  type Output,
  type Permission,
  type Say,
  standalone,
  type Tool,
  type Transcript,
} from './transcript';

interface Props {
  view: Transcript;
  more: boolean;
  reading: boolean;
  onEarlier: () => Promise<void>;
  agent: string;
}

/** Within this of the end one is at the end, and stays there as words come in. */
const NEAR = 64;

export function TranscriptView({ view, more, reading, onEarlier, agent }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  const [seen, setSeen] = useState(0);
  // Only a step back by itself is somebody who reads; a page that grew is not.
  const before = useRef({ top: 0, height: 0 });
  const { items } = view;
  const virtual = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => guess(items[index]),
    getItemKey: (index) => items[index]?.key ?? index,
    overscan: 8,
    gap: 10,
    paddingStart: 12,
    paddingEnd: 16,
  });
  const size = virtual.getTotalSize();

  // At the end the end is what holds still; elsewhere, what one reads.
  virtual.shouldAdjustScrollPositionOnItemSizeChange = () => !following;
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element && following) element.scrollTop = element.scrollHeight;
  });
  // The place for it shrinks and grows with what stands above and below.
  useEffect(() => {
    const element = scroller.current;
    if (!element || !following) return;
    const watcher = new ResizeObserver(() => {
      element.scrollTop = element.scrollHeight;
    });
    watcher.observe(element);
    return () => watcher.disconnect();
  }, [following]);
  useEffect(() => {
    if (following) setSeen(items.length);
  }, [following, items.length]);

  const earlier = async () => {
    const first = items[0]?.key;
    setFollowing(false);
    await onEarlier();
    // What one reads stays where it is: what came in front pushes it down by its own height.
    requestAnimationFrame(() => {
      const at = virtual.options.getItemKey ? findKey(virtual.options.count, virtual.options.getItemKey, first) : -1;
      if (at > 0) virtual.scrollToIndex(at, { align: 'start' });
    });
  };

  return (
    <div className="relative flex min-h-0 flex-1 flex-col">
      {view.plan.length > 0 && <Plan entries={view.plan} />}
      <div
        ref={scroller}
        role="log"
        aria-label="What the agent says and does"
        aria-live="off"
        tabIndex={0}
        onScroll={({ currentTarget: at }) => {
          const { top, height } = before.current;
          before.current = { top: at.scrollTop, height: at.scrollHeight };
          if (at.scrollHeight - at.scrollTop - at.clientHeight < NEAR) setFollowing(true);
          else if (at.scrollTop < top && at.scrollHeight === height) setFollowing(false);
        }}
        className="min-h-0 flex-1 overflow-y-auto overscroll-contain px-4 outline-offset-[-2px]"
      >
        {more && (
          <div className="flex justify-center pt-3">
            <Button small look="quiet" busy={reading} onClick={() => void earlier()}>
              {reading ? 'Reading…' : 'Show what came before'}
            </Button>
          </div>
        )}
        <div className="relative" ref={(element) => void element?.style.setProperty('height', `${size}px`)}>
          {virtual.getVirtualItems().map((row) => {
            const item = items[row.index];
            return (
              item && (
                <div
                  key={row.key}
                  data-index={row.index}
                  ref={virtual.measureElement}
                  className="absolute inset-x-0 top-0"
                  style={{ transform: `translateY(${row.start}px)` }}
                >
                  <ItemView item={item} agent={agent} last={row.index === items.length - 1} running={view.running} />
                </div>
              )
            );
          })}
        </div>
      </div>
      {!following && (
        <Button
          small
          icon="arrowDown"
          className="absolute bottom-3 left-1/2 -translate-x-1/2 rounded-full! shadow-float"
          onClick={() => {
            virtual.scrollToIndex(items.length - 1, { align: 'end' });
            setFollowing(true);
          }}
        >
          {items.length > seen ? `${plural(items.length - seen, 'new item')}` : 'To the newest'}
        </Button>
      )}
    </div>
  );
}

function findKey(count: number, keyOf: (index: number) => Key, key: string | undefined): number {
  for (let index = 0; index < count; index++) if (keyOf(index) === key) return index;
  return -1;
}

function guess(item: Item | undefined): number {
  if (!item) return 40;
  if (item.kind === 'agent' || item.kind === 'user') return 40 + Math.ceil(item.text.length / 80) * 22;
  return 36;
}

function Plan({ entries }: { entries: readonly PlanEntry[] }) {
  const done = entries.filter((entry) => entry.status === 'completed').length;
  const now = entries.find((entry) => entry.status === 'in_progress');
  return (
    <details className="group border-b bg-lane/50 px-4 py-2" name="plan">
      <summary className="flex cursor-default list-none items-center gap-2 text-sm">
        <Icon name="chevronRight" className="text-faint transition-transform group-open:rotate-90" />
        <span className="font-medium">Plan</span>
        <span className="text-xs text-faint tabular-nums">
          {done} of {entries.length}
        </span>
        {now && <span className="min-w-0 flex-1 truncate text-soft group-open:invisible">{visible(now.content)}</span>}
      </summary>
      <ol className="mt-1.5 flex flex-col gap-1 pb-1 pl-6 text-sm">
        {entries.map((entry, index) => (
          <li
            key={index}
            className={cx(
              'flex gap-2',
              entry.status === 'completed' && 'text-faint line-through decoration-line-strong',
            )}
          >
            <span
              role="img"
              aria-label={{ completed: 'done', in_progress: 'under way', pending: 'to do' }[entry.status] ?? 'to do'}
              className={cx(
                'mt-1 grid size-3.5 shrink-0 place-items-center rounded border',
                entry.status === 'completed'
                  ? 'border-good bg-good text-page'
                  : entry.status === 'in_progress'
                    ? 'border-accent'
                    : 'border-line-strong',
              )}
            >
              {entry.status === 'completed' && <Icon name="check" className="size-3" />}
              {entry.status === 'in_progress' && <span className="animate-live size-1.5 rounded-full bg-accent" />}
            </span>
            {visible(entry.content)}
          </li>
        ))}
      </ol>
    </details>
  );
}

const ItemView = memo(function ItemView({
  item,
  agent,
  last,
  running,
}: {
  item: Item;
  agent: string;
  last: boolean;
  running: boolean;
}) {
  switch (item.kind) {
    case 'user':
      return <Prompt item={item} />;
    case 'agent':
      return (
        <div>
          {!item.continued && (
            <p className="mb-0.5 flex items-center gap-1.5 text-xs text-faint">
              <Icon name="agent" className="size-3.5 text-accent" /> {agent} <time>{atClock(item.at)}</time>
            </p>
          )}
          <Markdown text={standalone(item)} />
        </div>
      );
    case 'thought':
      return <Thought item={item} open={last && running} />;
    case 'tool':
      return <ToolView item={item} />;
    case 'permission':
      return <PermissionLine item={item} />;
    case 'output':
      return <OutputView item={item} />;
    case 'turn':
      return (
        <div className="flex items-center gap-3 pt-1 text-2xs text-faint">
          <span className="h-px flex-1 bg-line" />
          {item.number ? `Turn ${item.number}` : 'Turn'} · {atClock(item.at)}
          <span className="h-px flex-1 bg-line" />
        </div>
      );
    case 'notice': {
      const look = { quiet: 'text-faint', good: 'text-good', warn: 'text-warn', bad: 'text-bad' }[item.tone];
      const icon: IconName = { quiet: 'dot', good: 'check', warn: 'warn', bad: 'fail' }[item.tone] as IconName;
      return (
        <p className={cx('flex items-start gap-1.5 text-xs', look)}>
          <Icon name={icon} className="mt-0.5 size-3.5" />
          <span className="min-w-0 flex-1 wrap-anywhere">{visible(item.text)}</span>
          <time className="text-2xs text-faint">{atClock(item.at)}</time>
        </p>
      );
    }
  }
});

function Prompt({ item }: { item: Say }) {
  const long = item.text.length > 600;
  return (
    <div className="ml-[8%] rounded-xl rounded-tr-sm border bg-lane px-3 py-2">
      <p className="mb-0.5 flex items-center gap-1.5 text-xs text-faint">
        <Icon name="user" className="size-3.5" /> Prompt <time>{atClock(item.at)}</time>
      </p>
      {long ? (
        <details>
          <summary className="cursor-default text-sm">
            {item.text.slice(0, 220)}… <span className="text-accent">all of it</span>
          </summary>
          <div className="mt-2 text-sm whitespace-pre-wrap wrap-anywhere">{item.text}</div>
        </details>
      ) : (
        <div className="text-sm whitespace-pre-wrap wrap-anywhere">{item.text}</div>
      )}
    </div>
  );
}

function Thought({ item, open }: { item: Say; open: boolean }) {
  return (
    <details open={open || undefined} className="group text-sm text-soft">
      <summary className="flex cursor-default list-none items-center gap-1.5 text-xs text-faint hover:text-ink">
        <Icon name="think" className="size-3.5" />
        <span className="shrink-0">{open ? 'Thinking' : 'Thought'}</span>
        <span className="min-w-0 flex-1 truncate group-open:hidden">{visible(item.text.slice(0, 140))}</span>
        <Icon name="chevronRight" className="size-3 transition-transform group-open:rotate-90" />
      </summary>
      <div className="mt-1 border-l-2 pl-3 italic wrap-anywhere whitespace-pre-wrap">{item.text}</div>
    </details>
  );
}

const KIND: Record<string, IconName> = {
  read: 'file',
  edit: 'edit',
  delete: 'trash',
  move: 'move',
  search: 'search',
  execute: 'terminal',
  think: 'think',
  fetch: 'globe',
};

function ToolView({ item }: { item: Tool }) {
  const { call, until } = item;
  const content = call.content ?? [];
  const diffs = content.some((part) => part.type === 'diff');
  const busy = call.status === 'in_progress' || call.status === 'pending';
  const body = content.length > 0 || call.rawInput !== undefined;
  const status = call.status ?? 'pending';
  return (
    <details
      open={diffs || (call.kind === 'execute' && busy) || undefined}
      className="group rounded-lg border bg-card text-sm"
    >
      <summary
        className={cx('flex cursor-default list-none items-center gap-2 px-2.5 py-1.5', !body && 'pointer-events-none')}
      >
        <Icon name={KIND[call.kind ?? ''] ?? 'gear'} className="text-faint" />
        <span className={cx('min-w-0 flex-1 truncate', call.kind === 'execute' && 'font-mono text-xs')}>
          {visible(call.title ?? call.toolCallId)}
        </span>
        {until && Date.parse(until) - Date.parse(item.at) > 900 && (
          <span className="text-2xs text-faint tabular-nums">{lasting(Date.parse(until) - Date.parse(item.at))}</span>
        )}
        {status === 'completed' && <Icon name="check" className="text-good" />}
        {status === 'failed' && <Icon name="fail" className="text-bad" />}
        {busy && <span aria-hidden="true" className="animate-live mx-1 size-2 rounded-full bg-accent" />}
        <span className="sr-only">{status.replace('_', ' ')}</span>
        {body && <Icon name="chevronRight" className="size-3.5 text-faint transition-transform group-open:rotate-90" />}
      </summary>
      {body && (
        <div className="border-t">
          {content.length === 0 && <Raw value={call.rawInput} />}
          {content.map((part, index) => (
            <Content key={index} part={part} />
          ))}
        </div>
      )}
    </details>
  );
}

function Content({ part }: { part: ToolContent }) {
  if (part.type === 'diff') {
    const lines = diffLines(part.oldText ?? '', part.newText);
    return (
      <div>
        <p className="border-b px-2.5 py-1 font-mono text-2xs text-faint">{visible(part.path)}</p>
        <div className="max-h-96 overflow-y-auto">
          <DiffView lines={lines} label={`Changes in ${part.path}`} />
        </div>
      </div>
    );
  }
  if (part.type === 'content') return <Terminal text={blockText(part.content)} />;
  return null;
}

function Terminal({ text }: { text: string }) {
  const shown = plain(text);
  return (
    <pre
      tabIndex={0}
      className="max-h-72 overflow-auto px-2.5 py-2 font-mono text-xs leading-5 whitespace-pre-wrap wrap-anywhere"
    >
      {shown.length > 20_000
        ? `… ${plural(shown.length - 20_000, 'character')} before\n${shown.slice(-20_000)}`
        : shown}
    </pre>
  );
}

const Raw = ({ value }: { value: unknown }) => (
  <Terminal text={typeof value === 'string' ? value : JSON.stringify(value, null, 2)} />
);

function PermissionLine({ item }: { item: Permission }) {
  return (
    <p className={cx('flex items-center gap-1.5 text-xs', item.outcome ? 'text-faint' : 'text-warn')}>
      <Icon name="hand" className="size-3.5" />
      <span className="min-w-0 flex-1 truncate">
        {item.outcome ? 'Asked' : 'Asks'}: {visible(item.title)}
      </span>
      {item.outcome ? <span className="rounded bg-hover px-1.5">{visible(item.outcome)}</span> : 'waits for an answer'}
    </p>
  );
}

function OutputView({ item }: { item: Output }) {
  return (
    <details className="rounded-lg border border-dashed text-xs">
      <summary className="cursor-default px-2.5 py-1 text-faint">Log of the agent</summary>
      <Terminal text={item.text} />
    </details>
  );
}
