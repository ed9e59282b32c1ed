import type { ComponentProps, ReactNode } from 'react';
import { cx } from './cx';
import { Icon, type IconName } from './Icon';

type Look = 'plain' | 'primary' | 'quiet' | 'danger' | 'good';

const LOOK: Record<Look, string> = {
  plain: 'border border-line-strong bg-raised text-ink hover:bg-hover shadow-card',
  primary: 'bg-accent text-on-accent hover:brightness-110 border border-transparent',
  quiet: 'border border-transparent text-soft hover:bg-hover hover:text-ink',
  danger: 'border border-bad/40 text-bad bg-raised hover:bg-bad-soft',
  good: 'border border-transparent bg-good text-page hover:brightness-110',
};

interface Props extends Omit<ComponentProps<'button'>, 'disabled'> {
  look?: Look;
  icon?: IconName;
  small?: boolean;
  /** Why it cannot be pressed now. It stays focusable, so that everybody can learn the reason. */
  unable?: string | false | null;
  busy?: boolean;
  children?: ReactNode;
}

export function Button({ look = 'plain', icon, small, unable, busy, className, children, onClick, ...rest }: Props) {
  return (
    <button
      type="button"
      {...rest}
      aria-disabled={unable || busy ? true : undefined}
      title={unable || rest.title}
      onClick={(event) => {
        if (unable || busy) event.preventDefault();
        else onClick?.(event);
      }}
      className={cx(
        'inline-flex items-center justify-center gap-1.5 rounded-md font-medium whitespace-nowrap transition-colors select-none',
        small ? 'h-7 px-2 text-xs' : 'h-8 px-3 text-sm',
        'pointer-coarse:min-h-10',
        (unable || busy) && 'opacity-55',
        LOOK[look],
        className,
      )}
    >
      {icon && <Icon name={icon} className={small ? 'size-3.5' : undefined} />}
      {children}
    </button>
  );
}

export function IconButton({
  label,
  icon,
  className,
  unable,
  onClick,
  ...rest
}: Props & { label: string; icon: IconName }) {
  return (
    <button
      type="button"
      {...rest}
      aria-label={label}
      aria-disabled={unable ? true : undefined}
      title={unable || rest.title || label}
      onClick={(event) => (unable ? event.preventDefault() : onClick?.(event))}
      className={cx(
        'inline-grid size-7 place-items-center rounded-md text-faint transition-colors hover:bg-hover hover:text-ink pointer-coarse:size-10',
        unable && 'opacity-50',
        className,
      )}
    >
      <Icon name={icon} />
    </button>
  );
}
