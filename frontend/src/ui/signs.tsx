/** How states and priorities look, everywhere the same. */
import type { Priority, State } from '@/api/types';
import { STATE_NAME } from '@/lib/lifecycle';
import { cx } from './cx';
import type { Tone } from './parts';

export const STATE_TONE: Record<State, Tone> = {
  BACKLOG: 'neutral',
  TODO: 'neutral',
  PLANNING: 'info',
  IN_PROGRESS: 'accent',
  REVIEW: 'review',
  VERIFY: 'info',
  COMPLETED: 'good',
  FAILED: 'bad',
  CANCELLED: 'neutral',
};

const COLOUR: Record<State, string> = {
  BACKLOG: 'text-faint',
  TODO: 'text-soft',
  PLANNING: 'text-info',
  IN_PROGRESS: 'text-accent',
  REVIEW: 'text-review',
  VERIFY: 'text-info',
  COMPLETED: 'text-good',
  FAILED: 'text-bad',
  CANCELLED: 'text-faint',
};

/** A circle that fills as work goes on. */
export function StateSign({ state, className }: { state: State; className?: string }) {
  const part: Partial<Record<State, string>> = {
    PLANNING: 'M8 8V4.2A3.8 3.8 0 0 1 11.8 8z',
    IN_PROGRESS: 'M8 4.2a3.8 3.8 0 0 1 0 7.6z',
    REVIEW: 'M8 8V4.2A3.8 3.8 0 1 1 4.2 8z',
    VERIFY: 'M8 8V4.2A3.8 3.8 0 1 1 4.2 8z',
  };
  return (
    <svg
      viewBox="0 0 16 16"
      role="img"
      aria-label={STATE_NAME[state]}
      className={cx('size-3.5 shrink-0', COLOUR[state], className)}
    >
      {state === 'COMPLETED' || state === 'FAILED' || state === 'CANCELLED' ? (
        <>
          <circle cx="8" cy="8" r="6.6" fill="currentColor" />
          <path
            d={state === 'COMPLETED' ? 'm5.2 8.3 2 2 3.6-4' : 'm6 6 4 4m0-4-4 4'}
            fill="none"
            stroke="var(--c-card)"
            strokeWidth="1.6"
            strokeLinecap="round"
            strokeLinejoin="round"
          />
        </>
      ) : (
        <>
          <circle
            cx="8"
            cy="8"
            r="6"
            fill="none"
            stroke="currentColor"
            strokeWidth="1.5"
            strokeDasharray={state === 'BACKLOG' ? '2 1.8' : undefined}
          />
          {part[state] && <path d={part[state]} fill="currentColor" />}
        </>
      )}
    </svg>
  );
}

export const PRIORITY_NAME: Record<Priority, string> = { urgent: 'Urgent', high: 'High', normal: 'Normal', low: 'Low' };

export function PrioritySign({ priority, className }: { priority: Priority; className?: string }) {
  const bars = { urgent: 3, high: 3, normal: 2, low: 1 }[priority];
  return (
    <svg
      viewBox="0 0 16 16"
      role="img"
      aria-label={`${PRIORITY_NAME[priority]} priority`}
      className={cx('size-3.5 shrink-0', priority === 'urgent' ? 'text-warn' : 'text-faint', className)}
    >
      {priority === 'urgent' ? (
        <>
          <rect x="1.5" y="1.5" width="13" height="13" rx="3" fill="currentColor" />
          <path d="M8 4.5v4.2M8 11.3v.2" stroke="var(--c-card)" strokeWidth="1.8" strokeLinecap="round" />
        </>
      ) : (
        [0, 1, 2].map((bar) => (
          <rect
            key={bar}
            x={2 + bar * 4.5}
            y={9.5 - bar * 3.5}
            width="3"
            height={4 + bar * 3.5}
            rx="1"
            fill="currentColor"
            opacity={bar < bars ? 1 : 0.28}
          />
        ))
      )}
    </svg>
  );
}
