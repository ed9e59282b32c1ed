import type { Board, Move, Priority, Task } from '@/api/types';
import { PRIORITIES } from '@/api/types';
import { stateIn } from '@/lib/lifecycle';
import { MenuCheck, MenuItem, MenuLine, SubMenu } from '@/ui/Menu';
import { PRIORITY_NAME } from '@/ui/signs';

/** What can be done to a card from the board; the same object for all cards, so that none is drawn again for it. */
export interface CardDeeds {
  board: () => Board;
  onFocus: (id: string) => void;
  onSelect: (id: string) => void;
  onMove: (task: Task, to: Move) => void;
  onEnd: (task: Task, end: 'top' | 'bottom') => void;
  onPriority: (task: Task, priority: Priority) => void;
  onStart: (task: Task) => void;
  onArchive: (task: Task) => void;
  onCopy: (task: Task) => void;
}

export function CardMenu({ task, deeds }: { task: Task; deeds: CardDeeds }) {
  const board = deeds.board();
  return (
    <>
      <SubMenu label="Move to…" icon="move">
        {board.columns.map((column) => {
          const here = column.id === task.column_id;
          return (
            <MenuItem
              key={column.id}
              disabled={here || stateIn(column, task, board) === null}
              hint={here ? 'here' : undefined}
              onSelect={() => deeds.onMove(task, { column_id: column.id })}
            >
              {column.name}
            </MenuItem>
          );
        })}
        <MenuLine />
        <MenuItem onSelect={() => deeds.onEnd(task, 'top')}>Top of the column</MenuItem>
        <MenuItem onSelect={() => deeds.onEnd(task, 'bottom')}>Bottom of the column</MenuItem>
      </SubMenu>
      <SubMenu label="Priority" icon="sort">
        {PRIORITIES.map((priority) => (
          <MenuCheck
            key={priority}
            checked={task.priority === priority}
            onChange={() => deeds.onPriority(task, priority)}
          >
            {PRIORITY_NAME[priority]}
          </MenuCheck>
        ))}
      </SubMenu>
      {task.agent_type && !task.current_run_id && (
        <MenuItem icon="play" onSelect={() => deeds.onStart(task)}>
          Start {task.agent_type}
        </MenuItem>
      )}
      <MenuItem icon="check" hint="X" onSelect={() => deeds.onSelect(task.id)}>
        Select
      </MenuItem>
      <MenuItem icon="copy" onSelect={() => deeds.onCopy(task)}>
        Copy link
      </MenuItem>
      <MenuLine />
      <MenuItem icon="archive" onSelect={() => deeds.onArchive(task)}>
        Archive
      </MenuItem>
    </>
  );
}
