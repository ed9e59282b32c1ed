/** Short words at the edge of the page: the only state of ours that no page owns. */
export interface Toast {
  id: number;
  text: string;
  tone: 'plain' | 'bad';
  undo?: () => void;
}

let toasts: readonly Toast[] = [];
let last = 0;
const watchers = new Set<() => void>();

const say = (next: readonly Toast[]) => {
  toasts = next;
  for (const watcher of watchers) watcher();
};

export function toast(text: string, more: { tone?: Toast['tone']; undo?: () => void } = {}): void {
  const id = ++last;
  say([...toasts.slice(-2), { id, text, tone: more.tone ?? 'plain', undo: more.undo }]);
  setTimeout(() => dismiss(id), more.undo || more.tone === 'bad' ? 8_000 : 4_000);
}

export const dismiss = (id: number) => say(toasts.filter((each) => each.id !== id));

/** The newest that can be undone, for the key. */
export function undoLast(): boolean {
  const newest = toasts.findLast((each) => each.undo);
  if (!newest) return false;
  dismiss(newest.id);
  newest.undo?.();
  return true;
}

export const toastStore = {
  watch: (watcher: () => void) => {
    watchers.add(watcher);
    return () => void watchers.delete(watcher);
  },
  current: () => toasts,
};

/** Said to screen readers only. */
let region: HTMLElement | null = null;
export function announce(text: string): void {
  region ??= document.getElementById('announcements');
  if (region) region.textContent = text;
}
