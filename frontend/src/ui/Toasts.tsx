import { useSyncExternalStore } from 'react';
import { IconButton } from './Button';
import { cx } from './cx';
import { dismiss, toastStore } from './toast';

export function Toasts() {
  const toasts = useSyncExternalStore(toastStore.watch, toastStore.current);
  return (
    <>
      <div id="announcements" aria-live="assertive" className="sr-only" />
      <div
        aria-live="polite"
        className="pointer-events-none fixed inset-x-4 bottom-4 z-50 flex flex-col items-center gap-2"
      >
        {toasts.map((toast) => (
          <div
            key={toast.id}
            className={cx(
              'animate-rise pointer-events-auto flex max-w-lg items-center gap-3 rounded-lg py-1.5 pr-1.5 pl-3.5 text-sm shadow-float',
              toast.tone === 'bad' ? 'bg-bad-soft text-bad' : 'bg-ink text-page',
            )}
          >
            <span className="min-w-0 flex-1 wrap-anywhere">{toast.text}</span>
            {toast.undo && (
              <button
                type="button"
                className="rounded px-2 py-1 font-semibold underline underline-offset-2"
                onClick={() => {
                  dismiss(toast.id);
                  toast.undo?.();
                }}
              >
                Undo <kbd className="ml-1 text-2xs opacity-70">Z</kbd>
              </button>
            )}
            <IconButton
              label="Dismiss"
              icon="x"
              className="text-current hover:text-ink"
              onClick={() => dismiss(toast.id)}
            />
          </div>
        ))}
      </div>
    </>
  );
}
