/** Drawn here, 16 by 16, in one stroke width: no font, no library, a few bytes each. */
import { cx } from './cx';

const PATHS = {
  agent:
    'M3.5 6.5a2 2 0 0 1 2-2h5a2 2 0 0 1 2 2v4a2 2 0 0 1-2 2h-5a2 2 0 0 1-2-2zM8 4.5V2.5M6.3 8v1M9.7 8v1M1.8 7.5v2M14.2 7.5v2',
  archive: 'M2.5 3.5h11v3h-11zM3.5 6.5v6h9v-6M6.5 9h3',
  arrowDown: 'M8 3v10M4 9l4 4 4-4',
  back: 'M9.5 3.5 5 8l4.5 4.5',
  board: 'M2.5 3h3v10h-3zM6.8 3h3v6h-3zM11 3h2.5v8H11z',
  check: 'm3 8.5 3.2 3.2L13 5',
  chevronDown: 'm4 6 4 4 4-4',
  chevronRight: 'm6 4 4 4-4 4',
  clock: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5v3.2l2 1.3',
  comment: 'M2.5 3.5h11v7.5H8l-3 2.5V11H2.5z',
  copy: 'M5.5 5.5h7v7h-7zM3.5 10.5v-7h7',
  diff: 'M8 3v5M5.5 5.5h5M5.5 11.5h5',
  dot: 'M8 6.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z',
  edit: 'M3 13v-2.5l7-7L12.5 6l-7 7zM9 4.5 11.5 7',
  expand: 'M9.5 3H13v3.5M13 3 9 7M6.5 13H3V9.5M3 13l4-4',
  fail: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM6 6l4 4M10 6l-4 4',
  file: 'M4 2.5h5l3 3v8H4zM9 2.5v3h3',
  filter: 'M2.5 4h11M4.5 8h7M6.5 12h3',
  freeze: 'M8 2v12M2.8 5l10.4 6M13.2 5 2.8 11',
  gear: 'M8 5.8a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4zM8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2M3.6 3.6 5 5M11 11l1.4 1.4M12.4 3.6 11 5M5 11l-1.4 1.4',
  globe: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM2.5 8h11M8 2.5c-4 3.6-4 7.4 0 11M8 2.5c4 3.6 4 7.4 0 11',
  hand: 'M5 8V4.2a1 1 0 0 1 2 0V7M7 7V3.2a1 1 0 0 1 2 0V7M9 7V4.2a1 1 0 0 1 2 0v5.3c0 2.2-1.3 4-3.5 4-1.6 0-2.4-.8-3-2L3 9.2c-.6-1.2.8-2 1.5-1z',
  help: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM6.4 6.4a1.6 1.6 0 1 1 2.2 1.5c-.4.2-.6.5-.6 1M8 10.9v.1',
  inbox: 'M2.5 9 4 3.5h8L13.5 9v3.5h-11zM2.5 9h3l1 1.5h3l1-1.5h3',
  link: 'M6.5 9.5l3-3M7 5l1.6-1.6a2.4 2.4 0 0 1 3.4 3.4L10.5 8.5M9 11l-1.6 1.6A2.4 2.4 0 0 1 4 9.2L5.5 7.5',
  lock: 'M4 7.5h8v6H4zM5.5 7.5V5.3a2.5 2.5 0 0 1 5 0v2.2',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
  moon: 'M13 9.6A5.5 5.5 0 0 1 6.4 3a5.5 5.5 0 1 0 6.6 6.6z',
  more: 'M3.5 8h.01M8 8h.01M12.5 8h.01',
  move: 'M3 8h10M9.5 4.5 13 8l-3.5 3.5',
  play: 'M5 3.5v9l7-4.5z',
  plus: 'M8 3v10M3 8h10',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  retry: 'M13 8a5 5 0 1 1-1.6-3.7M13 2.5v2.8h-2.8',
  search: 'M7 2.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4zM10.2 10.2l3.3 3.3',
  send: 'M2.5 8 13.5 3l-3.3 10.3L7.5 9z',
  sort: 'M5 3v10M2.5 10.5 5 13l2.5-2.5M11 13V3M8.5 5.5 11 3l2.5 2.5',
  stop: 'M4 4h8v8H4z',
  sun: 'M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.8v1.4M8 12.8v1.4M1.8 8h1.4M12.8 8h1.4M3.6 3.6l1 1M11.4 11.4l1 1M12.4 3.6l-1 1M4.6 11.4l-1 1',
  task: 'M3 3h10v10H3zM5.5 8l1.8 1.8L10.8 6',
  terminal: 'M2.5 3.5h11v9h-11zM5 6.5 7 8l-2 1.5M8.5 10h2.5',
  think: 'M5.5 12.5h5M6.5 14h3M8 2a4 4 0 0 0-2.2 7.3v1.2h4.4V9.3A4 4 0 0 0 8 2z',
  trash: 'M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9',
  user: 'M8 2.8a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2zM3 13.5c.4-2.6 2.3-4 5-4s4.6 1.4 5 4',
  warn: 'M8 2.5 14 13H2zM8 6.5v3M8 11.2v.1',
  x: 'm4 4 8 8M12 4l-8 8',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, className }: { name: IconName; className?: string }) {
  return (
    <svg
      viewBox="0 0 16 16"
      className={cx('size-4 shrink-0', className)}
      fill="none"
      stroke="currentColor"
      strokeWidth={name === 'more' ? 2.2 : 1.4}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
