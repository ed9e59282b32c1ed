/** Small pieces that every page uses. They know nothing of cards or boards. */
import type { ComponentProps, ReactNode } from 'react';
import { cx } from './cx';
import { Icon, type IconName } from './Icon';

export type Tone = 'neutral' | 'accent' | 'good' | 'warn' | 'bad' | 'info' | 'review';

const TONE: Record<Tone, string> = {
  neutral: 'bg-hover text-soft',
  accent: 'bg-accent-soft text-accent',
  good: 'bg-good-soft text-good',
  warn: 'bg-warn-soft text-warn',
  bad: 'bg-bad-soft text-bad',
  info: 'bg-info-soft text-info',
  review: 'bg-review-soft text-review',
};

export function Badge({
  tone = 'neutral',
  icon,
  children,
  className,
  title,
}: {
  tone?: Tone;
  icon?: IconName;
  children: ReactNode;
  className?: string;
  title?: string;
}) {
  return (
    <span
      title={title}
      className={cx(
        'inline-flex max-w-full items-center gap-1 rounded px-1.5 text-2xs font-medium',
        TONE[tone],
        className,
      )}
    >
      {icon && <Icon name={icon} className="size-3" />}
      <span className="truncate">{children}</span>
    </span>
  );
}

export const Kbd = ({ children }: { children: ReactNode }) => (
  <kbd className="inline-block min-w-5 rounded border border-line-strong bg-raised px-1 text-center font-sans text-2xs text-soft">
    {children}
  </kbd>
);

export const INPUT =
  'w-full rounded-md border border-line-strong bg-card px-2.5 py-1.5 text-sm text-ink placeholder:text-faint focus:outline-2 focus:-outline-offset-1 focus:outline-accent pointer-coarse:text-lg';

export function Field({
  label,
  hint,
  error,
  children,
}: {
  label: string;
  hint?: ReactNode;
  error?: string;
  children: ReactNode;
}) {
  return (
    <div className="flex flex-col gap-1">
      {/* biome-ignore lint/a11y/noLabelWithoutControl: the control is the child */}
      <label className="flex flex-col gap-1">
        <span className="text-xs font-medium text-soft">{label}</span>
        {children}
      </label>
      {error ? (
        <span role="alert" className="text-xs text-bad">
          {error}
        </span>
      ) : (
        hint && <span className="text-xs text-faint">{hint}</span>
      )}
    </div>
  );
}

export const Input = ({ className, ...rest }: ComponentProps<'input'>) => (
  <input {...rest} className={cx(INPUT, className)} />
);
export const Select = ({ className, ...rest }: ComponentProps<'select'>) => (
  <select {...rest} className={cx(INPUT, 'h-8 pointer-coarse:h-10', className)} />
);
export const TextArea = ({ className, ...rest }: ComponentProps<'textarea'>) => (
  <textarea {...rest} className={cx(INPUT, className)} />
);

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="mx-auto flex max-w-md flex-col items-center gap-2 px-6 py-14 text-center">
      <div className="mb-1 grid size-11 place-items-center rounded-full bg-hover text-faint">
        <Icon name={icon} className="size-5" />
      </div>
      <h2 className="text-lg font-semibold">{title}</h2>
      <div className="flex flex-col items-center gap-3 text-soft">{children}</div>
    </div>
  );
}

export function Waiting({ label = 'Loading' }: { label?: string }) {
  return (
    <div role="status" className="grid h-full min-h-32 place-items-center text-faint">
      <span className="flex items-center gap-2 text-sm">
        <span className="animate-live size-2 rounded-full bg-accent" />
        {label}
      </span>
    </div>
  );
}

export function Trouble({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  return (
    <div role="alert" className="mx-auto flex max-w-md flex-col items-center gap-3 px-6 py-14 text-center">
      <Icon name="warn" className="size-6 text-bad" />
      <p className="wrap-anywhere text-soft">{error instanceof Error ? error.message : String(error)}</p>
      {onRetry && (
        <button
          type="button"
          onClick={onRetry}
          className="rounded-md border border-line-strong px-3 py-1 text-sm hover:bg-hover"
        >
          Try again
        </button>
      )}
    </div>
  );
}

/** A ring that fills: a number where there is one, a turning arc where there is none. */
export function Meter({
  value,
  label,
  tone = 'accent',
}: {
  value: number;
  label: string;
  tone?: 'accent' | 'warn' | 'bad';
}) {
  const colour = { accent: 'text-accent', warn: 'text-warn', bad: 'text-bad' }[tone];
  return (
    <progress
      aria-label={label}
      max={100}
      value={Math.max(0, Math.min(100, value))}
      className={cx(
        'h-1 w-full appearance-none overflow-hidden rounded-full bg-hover',
        '[&::-webkit-progress-bar]:bg-hover [&::-webkit-progress-value]:bg-current [&::-moz-progress-bar]:bg-current',
        colour,
      )}
    />
  );
}

export function Tabs<T extends string>({
  tabs,
  value,
  onChange,
  label,
}: {
  tabs: { id: T; name: string; count?: number }[];
  value: T;
  onChange: (id: T) => void;
  label: string;
}) {
  return (
    <div role="tablist" aria-label={label} className="flex gap-1 overflow-x-auto border-b px-3">
      {tabs.map((tab) => (
        <button
          key={tab.id}
          type="button"
          role="tab"
          aria-selected={tab.id === value}
          tabIndex={tab.id === value ? 0 : -1}
          onClick={() => onChange(tab.id)}
          onKeyDown={(event) => {
            const way = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
            if (!way) return;
            const at = tabs.findIndex((each) => each.id === value);
            const next = tabs[(at + way + tabs.length) % tabs.length];
            if (next) onChange(next.id);
            const sibling =
              way > 0 ? event.currentTarget.nextElementSibling : event.currentTarget.previousElementSibling;
            if (sibling instanceof HTMLElement) sibling.focus();
          }}
          className={cx(
            '-mb-px flex items-center gap-1.5 border-b-2 px-2 py-2 text-sm font-medium whitespace-nowrap',
            tab.id === value ? 'border-accent text-ink' : 'border-transparent text-faint hover:text-ink',
          )}
        >
          {tab.name}
          {tab.count !== undefined && <span className="rounded bg-hover px-1 text-2xs text-soft">{tab.count}</span>}
        </button>
      ))}
    </div>
  );
}

export function Page({ title, actions, children }: { title: string; actions?: ReactNode; children: ReactNode }) {
  return (
    <div className="flex h-full flex-col">
      <header className="flex min-h-12 items-center gap-2 border-b px-4 py-2">
        <h1 className="flex-1 text-lg font-semibold">{title}</h1>
        {actions}
      </header>
      <div className="min-h-0 flex-1 overflow-y-auto">{children}</div>
    </div>
  );
}
