import { useQuery } from '@tanstack/react-query';
import { timelineQuery } from '@/api/queries';
import type { Event } from '@/api/types';
import { STATE_NAME } from '@/lib/lifecycle';
import { cx } from '@/ui/cx';
import { Trouble, Waiting } from '@/ui/parts';
import { Ago } from '@/ui/Time';

/** The card's log, one line a fact, each with what led to it. */
export function Timeline({ taskId }: { taskId: string }) {
  const { data: events, error, refetch } = useQuery(timelineQuery(taskId));
  if (error) return <Trouble error={error} onRetry={() => void refetch()} />;
  if (!events) return <Waiting />;
  const known = new Set(events.map((event) => event.seq));
  return (
    <section aria-label="Event log" tabIndex={0} className="min-h-0 flex-1 overflow-y-auto px-4 py-2">
      <ol>
        {events.map((event) => (
          <li
            key={event.seq}
            id={`event-${event.seq}`}
            className="flex gap-3 border-b border-line/60 py-1.5 text-sm target:bg-accent-soft"
          >
            <span className="w-10 shrink-0 text-right text-xs text-faint tabular-nums">{event.seq}</span>
            <span className="min-w-0 flex-1">
              <span className={cx('wrap-anywhere', /failed|lost|denied|refused/.test(event.type) && 'text-bad')}>
                {told(event)}
              </span>
              <span className="block text-2xs text-faint">
                {event.type} · {event.actor?.id ?? event.actor?.kind ?? 'engine'}
                {event.cause !== undefined && (
                  <>
                    {' · '}
                    {known.has(event.cause) ? (
                      <button
                        type="button"
                        className="text-accent underline underline-offset-2"
                        onClick={() =>
                          document
                            .getElementById(`event-${event.cause}`)
                            ?.scrollIntoView({ block: 'center', behavior: 'smooth' })
                        }
                      >
                        because of {event.cause}
                      </button>
                    ) : (
                      `because of ${event.cause}`
                    )}
                  </>
                )}
              </span>
            </span>
            <Ago time={event.timestamp} className="shrink-0 text-xs text-faint" />
          </li>
        ))}
      </ol>
    </section>
  );
}

const FIELD: Record<string, string> = {
  column_id: 'column',
  agent_type: 'agent',
  blocked_by: 'dependencies',
  archived_at: 'archive',
};

function told({ type, data }: Event): string {
  switch (type) {
    case 'task.created':
      return 'Made';
    case 'task.updated': {
      const names = Object.keys((data.changed as object) ?? {}).filter((name) => name !== 'rank');
      return names.length
        ? `Changed: ${names.map((name) => FIELD[name] ?? name).join(', ')}`
        : 'Moved within its column';
    }
    case 'task.state_changed':
      return `${STATE_NAME[data.from as keyof typeof STATE_NAME] ?? data.from} → ${STATE_NAME[data.to as keyof typeof STATE_NAME] ?? data.to}${data.reason ? `: ${data.reason}` : ''}`;
    case 'turn.ended':
      return `Turn ended: ${data.stop_reason ?? 'unknown'}`;
    case 'request.opened':
      return `Asked: ${(data.request as { title?: string } | undefined)?.title ?? data.title ?? ''}`;
    case 'request.resolved':
      return 'Answered';
    default:
      return type.replace(/[._]/g, ' ').replace(/^./, (letter) => letter.toUpperCase());
  }
}
