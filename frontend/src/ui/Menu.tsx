/** Menus on radix: roving focus, typing ahead, placing. Not modal, because a modal one writes a style element. */
import { DropdownMenu as Radix } from 'radix-ui';
import { type ReactNode, useState } from 'react';
import { cx } from './cx';
import { Icon, type IconName } from './Icon';

const PANEL = 'z-50 max-h-[70dvh] min-w-44 overflow-y-auto rounded-lg bg-raised p-1 text-sm text-ink shadow-float';
const ITEM =
  'flex items-center gap-2 rounded-md px-2 py-1.5 outline-none data-highlighted:bg-hover data-disabled:opacity-50 pointer-coarse:py-2.5';

export function Menu({
  trigger,
  children,
  align = 'end',
}: {
  trigger: ReactNode;
  children: ReactNode;
  align?: 'start' | 'end';
}) {
  return (
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          align={align}
          sideOffset={4}
          collisionPadding={8}
          className={PANEL}
          onKeyDown={(event) => event.stopPropagation()}
        >
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

interface ItemProps {
  children: ReactNode;
  onSelect: () => void;
  icon?: IconName;
  hint?: string;
  danger?: boolean;
  disabled?: boolean;
}

export function MenuItem({ children, onSelect, icon, hint, danger, disabled }: ItemProps) {
  return (
    <Radix.Item disabled={disabled} onSelect={onSelect} className={cx(ITEM, danger && 'text-bad')}>
      {icon && <Icon name={icon} className={danger ? undefined : 'text-faint'} />}
      <span className="flex-1">{children}</span>
      {hint && <span className="pl-4 text-xs text-faint">{hint}</span>}
    </Radix.Item>
  );
}

export function MenuCheck({
  children,
  checked,
  onChange,
  keepOpen,
}: {
  children: ReactNode;
  checked: boolean;
  onChange: () => void;
  keepOpen?: boolean;
}) {
  return (
    <Radix.CheckboxItem
      checked={checked}
      onCheckedChange={onChange}
      onSelect={(event) => keepOpen && event.preventDefault()}
      className={ITEM}
    >
      <span className="grid size-4 place-items-center">{checked && <Icon name="check" className="text-accent" />}</span>
      <span className="flex-1">{children}</span>
    </Radix.CheckboxItem>
  );
}

/** Beside its menu where there is room; on a phone, unfolded within it. */
export function SubMenu({ label, icon, children }: { label: string; icon?: IconName; children: ReactNode }) {
  const [narrow] = useState(() => matchMedia('(max-width: 40rem)').matches);
  const [open, setOpen] = useState(false);
  if (narrow)
    return (
      <>
        <Radix.Item
          aria-expanded={open}
          onSelect={(event) => {
            event.preventDefault();
            setOpen(!open);
          }}
          className={ITEM}
        >
          {icon && <Icon name={icon} className="text-faint" />}
          <span className="flex-1">{label}</span>
          <Icon name="chevronDown" className={cx('text-faint', open && 'rotate-180')} />
        </Radix.Item>
        {open && (
          <Radix.Group aria-label={label} className="ml-4 border-l pl-1">
            {children}
          </Radix.Group>
        )}
      </>
    );
  return (
    <Radix.Sub>
      <Radix.SubTrigger className={cx(ITEM, 'data-[state=open]:bg-hover')}>
        {icon && <Icon name={icon} className="text-faint" />}
        <span className="flex-1">{label}</span>
        <Icon name="chevronRight" className="text-faint" />
      </Radix.SubTrigger>
      <Radix.Portal>
        <Radix.SubContent sideOffset={4} collisionPadding={8} className={PANEL}>
          {children}
        </Radix.SubContent>
      </Radix.Portal>
    </Radix.Sub>
  );
}

export const MenuLine = () => <Radix.Separator className="my-1 border-t" />;
export const MenuTitle = ({ children }: { children: ReactNode }) => (
  <Radix.Label className="px-2 pt-1.5 pb-1 text-xs font-medium text-faint">{children}</Radix.Label>
);
