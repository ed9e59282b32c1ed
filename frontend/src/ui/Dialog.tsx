/** The browser's own dialog: it keeps the focus inside, closes on Escape and lies above everything, without a line of ours. */
import { type ReactNode, useEffect, useId, useRef } from 'react';
import { IconButton } from './Button';
import { cx } from './cx';

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
  footer?: ReactNode;
  wide?: boolean;
  /** The title is for screen readers only. */
  bare?: boolean;
}

export function Dialog({ title, onClose, children, footer, wide, bare }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === ref.current && onClose()}
      onKeyDown={(event) => event.stopPropagation()}
      className={cx(
        'animate-rise max-h-[85dvh] w-[calc(100vw-2rem)] flex-col overflow-hidden rounded-xl bg-raised text-ink shadow-float open:flex',
        wide ? 'max-w-3xl' : 'max-w-lg',
        bare && 'mt-[12dvh]',
      )}
    >
      {bare ? (
        <h2 id={id} className="sr-only">
          {title}
        </h2>
      ) : (
        <header className="flex items-center gap-2 border-b px-4 py-2.5">
          <h2 id={id} className="flex-1 text-base font-semibold">
            {title}
          </h2>
          <IconButton label="Close" icon="x" onClick={onClose} />
        </header>
      )}
      <div className={cx('min-h-0 flex-1 overflow-y-auto', !bare && 'p-4')}>{children}</div>
      {footer && <footer className="flex items-center justify-end gap-2 border-t px-4 py-3">{footer}</footer>}
    </dialog>
  );
}
