import { useSyncExternalStore } from 'react';
import { ago, exactly } from '@/lib/time';

/** One clock for all: a page of a thousand times has one timer. */
let now = Date.now();
const watchers = new Set<() => void>();
setInterval(() => {
  now = Date.now();
  for (const watcher of watchers) watcher();
}, 15_000);
const watch = (watcher: () => void) => {
  watchers.add(watcher);
  return () => void watchers.delete(watcher);
};

export function Ago({ time, className }: { time: string; className?: string }) {
  const at = useSyncExternalStore(watch, () => now);
  return (
    <time dateTime={time} title={exactly(time)} className={className}>
      {ago(time, at)}
    </time>
  );
}
