/** Everything by name: pages, boards, cards, and the deeds of the page that is open. */
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useDeferredValue, useId, useState } from 'react';
import { boardQuery, boardsQuery, searchQuery } from '@/api/queries';
import { keyNames, shortcuts } from '@/lib/shortcuts';
import { setTheme } from '@/lib/theme';
import { cx } from '@/ui/cx';
import { Dialog } from '@/ui/Dialog';
import { Icon, type IconName } from '@/ui/Icon';
import { Kbd } from '@/ui/parts';

interface Entry {
  id: string;
  icon: IconName;
  name: string;
  hint?: string;
  keys?: string;
  run: () => void;
}

export default function Palette({
  boardKey,
  onClose,
  onHelp,
}: {
  boardKey?: string;
  onClose: () => void;
  onHelp: () => void;
}) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const [deeds] = useState(() => shortcuts().filter((each) => !each.always && !/^[?]$/.test(each.keys[0] ?? '')));
  const typed = useDeferredValue(text.trim());
  const navigate = useNavigate();
  const list = useId();
  const { data: boards = [] } = useQuery(boardsQuery);
  const { data: view } = useQuery({ ...boardQuery(boardKey ?? ''), enabled: boardKey !== undefined });
  const { data: elsewhere = [] } = useQuery(searchQuery(typed));

  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (name: string) => words.every((word) => name.toLowerCase().includes(word));
  const card = (key: string, task: { id: string; number: number; title: string }): Entry => ({
    id: task.id,
    icon: 'task',
    name: task.title,
    hint: `${key}-${task.number}`,
    run: () =>
      void navigate({ to: '/boards/$board/cards/$number', params: { board: key, number: String(task.number) } }),
  });
  const here =
    view && words.length
      ? [...view.tasks.values()].filter((t) => fits(`${view.board.key}-${t.number} ${t.title}`))
      : [];
  const known = new Set(here.map((task) => task.id));
  const entries: Entry[] = [
    ...here.slice(0, 8).map((task) => card(view?.board.key ?? '', task)),
    ...elsewhere
      .filter((task) => !known.has(task.id))
      .map((task) => card(boards.find((board) => board.id === task.board_id)?.key ?? task.board_id, task)),
    ...deeds
      .filter((each) => fits(each.does))
      .map(
        (each): Entry => ({
          id: each.keys.join(),
          icon: 'chevronRight',
          name: each.does,
          keys: each.keys[0],
          run: () => each.run(new KeyboardEvent('keydown')),
        }),
      ),
    ...boards
      .filter((board) => fits(`${board.key} ${board.name}`))
      .map(
        (board): Entry => ({
          id: board.id,
          icon: 'board',
          name: board.name,
          hint: board.key,
          run: () => void navigate({ to: '/boards/$board', params: { board: board.key } }),
        }),
      ),
    ...(
      [
        { id: 'light', icon: 'sun', name: 'Light colours', run: () => setTheme('light') },
        { id: 'dark', icon: 'moon', name: 'Dark colours', run: () => setTheme('dark') },
        { id: 'system', icon: 'gear', name: 'Colours as the system', run: () => setTheme('system') },
        { id: 'help', icon: 'help', name: 'Keyboard shortcuts', keys: '?', run: onHelp },
      ] satisfies Entry[]
    ).filter((each) => fits(each.name)),
  ];
  const chosen = Math.min(at, entries.length - 1);
  const pick = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    // Only once the dialog has given the focus back may the deed move it on.
    setTimeout(entry.run);
  };

  return (
    <Dialog title="Commands and search" onClose={onClose} bare>
      <div className="flex items-center gap-2 border-b px-3">
        <Icon name="search" className="text-faint" />
        <input
          autoFocus
          role="combobox"
          aria-label="Command, board or card"
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={entries.length ? `${list}-${chosen}` : undefined}
          placeholder="Find a card, go somewhere, do something"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setAt(0);
          }}
          onKeyDown={(event) => {
            if (event.key === 'ArrowDown') setAt(Math.min(chosen + 1, entries.length - 1));
            else if (event.key === 'ArrowUp') setAt(Math.max(chosen - 1, 0));
            else if (event.key === 'Enter') pick(entries[chosen]);
            else return;
            event.preventDefault();
          }}
          className="h-11 flex-1 bg-transparent text-base outline-none placeholder:text-faint"
        />
      </div>
      <div id={list} role="listbox" aria-label="Found" className="max-h-[50dvh] overflow-y-auto p-1.5">
        {entries.map((entry, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are the input's
          <div
            key={entry.id}
            id={`${list}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === chosen}
            ref={(element) => {
              if (index === chosen) element?.scrollIntoView({ block: 'nearest' });
            }}
            onMouseMove={() => setAt(index)}
            onClick={() => pick(entry)}
            className={cx('flex items-center gap-2.5 rounded-md px-2.5 py-1.5 text-sm', index === chosen && 'bg-hover')}
          >
            <Icon name={entry.icon} className="text-faint" />
            {entry.hint && <span className="text-xs text-faint tabular-nums">{entry.hint}</span>}
            <span className="min-w-0 flex-1 truncate">{entry.name}</span>
            {entry.keys && (
              <span className="flex gap-0.5">
                {keyNames(entry.keys).map((name) => (
                  <Kbd key={name}>{name}</Kbd>
                ))}
              </span>
            )}
          </div>
        ))}
      </div>
      {entries.length === 0 && <p className="px-4 py-6 text-center text-sm text-faint">Nothing is called that.</p>}
    </Dialog>
  );
}
