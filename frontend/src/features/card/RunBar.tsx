import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { why } from '@/api/client';
import { deeds } from '@/api/queries';
import type { RunStatus, Task } from '@/api/types';
import { isLive } from '@/lib/lifecycle';
import { money, short } from '@/lib/text';
import { Button, IconButton } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { Icon } from '@/ui/Icon';
import { Menu, MenuItem, MenuLine } from '@/ui/Menu';
import { Badge } from '@/ui/parts';
import { toast } from '@/ui/toast';
import { can } from './can';
import type { Transcript } from './transcript';

function useRun(task: Task) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ verb, body }: { verb: string; body?: Record<string, unknown> }) => deeds.run(task.id, verb, body),
    onError: (error, { verb }) => toast(`“${verb}” was refused: ${why(error)}`, { tone: 'bad' }),
    onSettled: () => void cache.invalidateQueries({ queryKey: ['task', task.id, 'run'] }),
  });
}

/** What one can do to the run, and what one says to its agent next. */
export function RunBar({ task, status, view }: { task: Task; status: RunStatus | null; view: Transcript }) {
  const run = useRun(task);
  const [text, setText] = useState('');
  const live = isLive(task);
  const busy = status?.turn?.state === 'running' || (live && view.running);
  const act = (verb: string, body?: Record<string, unknown>) => run.mutate({ verb, body });
  const refused = can.prompt(task, status);
  const send = () => {
    const words = text.trim();
    if (!words || refused) return;
    setText('');
    act(
      task.attempts > 0 || live ? 'prompt' : 'start',
      task.attempts > 0 || live ? { text: words } : { prompt: words },
    );
  };
  const queued = status?.queued_prompts ?? [];
  const usage = view.usage ?? status?.usage ?? null;
  const frozen = status?.run?.frozen || status?.instance?.state === 'paused';
  return (
    <div className="border-t bg-card px-3 pt-2 pb-[max(0.75rem,env(safe-area-inset-bottom))]">
      {queued.length > 0 && (
        <ul aria-label="Prompts that wait" className="mb-2 flex flex-col gap-1">
          {queued.map((each, index) => (
            <li key={index} className="flex gap-2 rounded bg-hover px-2 py-1 text-xs text-soft">
              <Icon name="clock" className="size-3.5" /> <span className="truncate">{each}</span>
            </li>
          ))}
        </ul>
      )}
      <form
        className={cx(
          'rounded-lg border border-line-strong bg-page focus-within:border-accent',
          refused && 'opacity-60',
        )}
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <textarea
          aria-label="What to tell the agent next"
          rows={1}
          placeholder={
            refused ??
            (busy ? 'Say what comes after this turn' : live ? 'Say what to do next' : 'Say more, and start a new turn')
          }
          readOnly={refused !== null}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
              event.preventDefault();
              send();
            }
            if (event.key === 'Escape') event.currentTarget.blur();
          }}
          className="field-sizing-content max-h-48 min-h-9 w-full resize-none bg-transparent px-3 py-2 text-sm outline-none placeholder:text-faint pointer-coarse:text-lg"
        />
        <div className="flex items-center gap-1 px-1.5 pb-1.5">
          {live ? (
            <>
              <Button small icon="stop" look="danger" unable={can.stop(task, status)} onClick={() => act('stop')}>
                Stop
              </Button>
              {frozen || status?.run?.held ? (
                <Button small icon="play" onClick={() => act('resume')} unable={can.resume(task, status)}>
                  Resume
                </Button>
              ) : (
                <Button
                  small
                  look="quiet"
                  icon="pause"
                  unable={can.hold(task, status)}
                  onClick={() => act('hold')}
                  title="Let this turn end, take no new one"
                >
                  Hold
                </Button>
              )}
            </>
          ) : task.attempts > 0 ? (
            <Button small icon="retry" unable={can.retry(task, status)} onClick={() => act('retry')}>
              Retry
            </Button>
          ) : (
            <Button small look="primary" icon="play" unable={can.start(task, status)} onClick={() => act('start')}>
              Start
            </Button>
          )}
          <Menu align="start" trigger={<IconButton label="More for this run" icon="more" />}>
            <MenuItem icon="x" disabled={can.cancel(task, status) !== null} onSelect={() => act('cancel')}>
              End this turn only
            </MenuItem>
            <MenuItem icon="freeze" disabled={can.freeze(task, status) !== null} onSelect={() => act('freeze')}>
              Freeze the container
            </MenuItem>
            <MenuItem icon="play" disabled={can.resume(task, status) !== null} onSelect={() => act('resume')}>
              Resume
            </MenuItem>
            <MenuLine />
            <MenuItem icon="retry" disabled={can.retry(task, status) !== null} onSelect={() => act('retry')}>
              Retry from the start
            </MenuItem>
          </Menu>
          <span className="flex min-w-0 flex-1 items-center gap-1.5 truncate pl-1 text-2xs text-faint tabular-nums">
            {view.mode && <Badge>{view.modes.find((mode) => mode.id === view.mode)?.name ?? view.mode}</Badge>}
            {view.config
              .filter((option) => option.category === 'model')
              .map((option) => (
                <Badge key={option.id}>
                  {option.options.find((o) => o.value === option.currentValue)?.name ?? option.currentValue}
                </Badge>
              ))}
            {usage && usage.size > 0 && (
              <span title={`${usage.used} of ${usage.size} tokens of context`}>
                {short.format(usage.used)} / {short.format(usage.size)}
              </span>
            )}
            {usage?.cost && <span>{money(usage.cost)}</span>}
          </span>
          <Button
            small
            look="primary"
            type="submit"
            icon="send"
            unable={refused ?? (text.trim() ? null : 'Write something first')}
          >
            {busy ? 'Queue' : 'Send'}
          </Button>
        </div>
      </form>
    </div>
  );
}
