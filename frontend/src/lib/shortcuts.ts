/** One registry of keys: what is in it works, and the help sheet is made of it. */
import { useEffect, useRef } from 'react';

export interface Shortcut {
  /** `c`, `Enter`, `mod+k`, `shift+j`, `alt+ArrowUp`, or two keys one after another: `g i`. */
  keys: string[];
  does: string;
  group: string;
  run: (event: KeyboardEvent) => void;
  /** Also while somebody types. */
  always?: boolean;
}

let registry: readonly (readonly Shortcut[])[] = [];
let pending = '';
let forget: ReturnType<typeof setTimeout> | undefined;

export const shortcuts = () => registry.flat();

export function spelled(event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>): string {
  const letter = event.key.length === 1 && /\p{L}/u.test(event.key);
  return [
    event.ctrlKey || event.metaKey ? 'mod+' : '',
    event.altKey ? 'alt+' : '',
    event.shiftKey && (letter || event.key.length > 1) ? 'shift+' : '',
    letter ? event.key.toLowerCase() : event.key,
  ].join('');
}

const isTyping = (target: EventTarget | null) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName)) &&
  !(target instanceof HTMLInputElement && /^(checkbox|radio|button)$/.test(target.type));

export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  // What lies below an open dialog is out of reach for the mouse, and so for the keys.
  if (document.querySelector('dialog[open]')) return;
  const typing = isTyping(event.target);
  const key = spelled(event);
  const chord = pending ? `${pending} ${key}` : '';
  const all = registry.toReversed().flat();
  const found = (keys: string) => all.find((each) => each.keys.includes(keys) && (!typing || each.always));
  const hit = (chord && found(chord)) || found(key);
  pending = '';
  clearTimeout(forget);
  if (hit) {
    event.preventDefault();
    hit.run(event);
    return;
  }
  if (!typing && all.some((each) => each.keys.some((keys) => keys.startsWith(`${key} `)))) {
    pending = key;
    forget = setTimeout(() => {
      pending = '';
    }, 1_200);
  }
}

/** The newest part of the page to register a key has it. */
export function useShortcuts(list: Shortcut[]): void {
  const latest = useRef(list);
  useEffect(() => {
    latest.current = list;
  });
  useEffect(() => {
    const mine = latest.current.map((shortcut, index) => ({
      ...shortcut,
      run: (event: KeyboardEvent) => latest.current[index]?.run(event),
    }));
    registry = [...registry, mine];
    return () => {
      registry = registry.filter((each) => each !== mine);
    };
  }, []);
}

const MAC = /Mac|iPhone|iPad/.test(navigator.userAgent);
const NAMES: Record<string, string> = {
  mod: MAC ? '⌘' : 'Ctrl',
  alt: MAC ? '⌥' : 'Alt',
  shift: '⇧',
  ArrowUp: '↑',
  ArrowDown: '↓',
  ArrowLeft: '←',
  ArrowRight: '→',
  Escape: 'Esc',
  Delete: 'Del',
};

export const keyNames = (keys: string): string[] =>
  keys
    .split(' ')
    .flatMap((part) => part.split('+').map((key) => NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key)));
