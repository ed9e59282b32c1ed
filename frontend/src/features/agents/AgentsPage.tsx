import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { why } from '@/api/client';
import { agentTypesQuery, boardsQuery, deeds, instancesQuery, queueQuery } from '@/api/queries';
import type { AgentType } from '@/api/types';
import { cardKey } from '@/lib/paths';
import { plural } from '@/lib/text';
import { Button } from '@/ui/Button';
import { Icon } from '@/ui/Icon';
import { Badge, Empty, Meter, Page, Trouble, Waiting } from '@/ui/parts';
import { Ago } from '@/ui/Time';
import { toast } from '@/ui/toast';

export function AgentsPage() {
  const { data: types, error, isPending, refetch } = useQuery(agentTypesQuery);
  return (
    <Page title="Agents">
      {error ? (
        <Trouble error={error} onRetry={() => void refetch()} />
      ) : isPending ? (
        <Waiting />
      ) : !types ? (
        <Empty icon="agent" title="This server does not run agents yet">
          <p>Boards and cards work all the same. Agent types, running instances and the queue will be here.</p>
        </Empty>
      ) : (
        <div className="mx-auto flex max-w-5xl flex-col gap-8 p-4">
          <Running />
          <Queue />
          <Section title="Agent types" count={types.length}>
            <ul className="grid gap-3 md:grid-cols-2">
              {types.map((type) => (
                <Type key={type.name} type={type} />
              ))}
            </ul>
          </Section>
        </div>
      )}
    </Page>
  );
}

function Section({ title, count, children }: { title: string; count: number; children: ReactNode }) {
  return (
    <section>
      <h2 className="mb-2 flex items-center gap-2 text-sm font-semibold">
        {title} <span className="text-xs font-normal text-faint tabular-nums">{count}</span>
      </h2>
      {children}
    </section>
  );
}

function Type({ type }: { type: AgentType }) {
  const cache = useQueryClient();
  const check = useMutation({
    mutationFn: () => deeds.checkAgent(type.name),
    onSuccess: () => toast(`${type.name} answers`),
    onError: (error) => toast(`${type.name}: ${why(error)}`, { tone: 'bad' }),
    onSettled: () => void cache.invalidateQueries({ queryKey: ['agents', 'types'] }),
  });
  const { limits } = type;
  return (
    <li className="flex flex-col gap-2 rounded-xl border bg-card p-4 shadow-card">
      <div className="flex items-center gap-2">
        <Icon name="agent" className="text-accent" />
        <h3 className="min-w-0 flex-1 truncate font-semibold">{type.name}</h3>
        {type.runtime === 'process' && (
          <Badge tone="warn" icon="warn" title="It runs on the host, with the rights of the server">
            not a cage
          </Badge>
        )}
        <Button small busy={check.isPending} onClick={() => check.mutate()}>
          Check
        </Button>
      </div>
      {type.description && <p className="text-sm text-soft">{type.description}</p>}
      <p className="truncate font-mono text-xs text-faint">{type.image ?? type.command.join(' ')}</p>
      <div className="flex flex-wrap gap-1">
        <Badge>
          {typeof type.permissions === 'string'
            ? type.permissions.replace('_', ' ')
            : plural(type.permissions.length, 'rule')}
        </Badge>
        <Badge tone={type.network === 'none' ? 'good' : 'neutral'} icon="globe">
          network {type.network}
        </Badge>
        {limits.memory_mb && <Badge>{limits.memory_mb} MB</Badge>}
        {limits.cpus && <Badge>{limits.cpus} CPU</Badge>}
        {type.max_running && <Badge>at most {type.max_running}</Badge>}
        {type.secrets.map((secret) => (
          <Badge key={secret} icon="lock">
            {secret}
          </Badge>
        ))}
      </div>
      {type.check ? (
        <p className={`flex items-center gap-1.5 text-xs ${type.check.ok ? 'text-good' : 'text-bad'}`}>
          <Icon name={type.check.ok ? 'check' : 'fail'} className="size-3.5" />
          <span className="min-w-0 flex-1">{type.check.detail}</span>
          <Ago time={type.check.at} className="text-faint" />
        </p>
      ) : (
        <p className="text-xs text-faint">Not checked yet</p>
      )}
    </li>
  );
}

const NONE = 'rounded-xl border border-dashed p-4 text-center text-sm text-faint';

function Running() {
  const { data: instances } = useQuery(instancesQuery);
  const stop = useMutation({
    mutationFn: (id: string) => deeds.stopInstance(id),
    onError: (error) => toast(why(error), { tone: 'bad' }),
  });
  if (!instances) return null;
  return (
    <Section title="Running" count={instances.length}>
      {instances.length === 0 ? (
        <p className={NONE}>No agent is at work.</p>
      ) : (
        <ul className="divide-y overflow-hidden rounded-xl border bg-card shadow-card">
          {instances.map((instance) => (
            <li key={instance.id} className="flex flex-wrap items-center gap-x-4 gap-y-2 px-4 py-2.5 text-sm">
              <span className="flex min-w-40 flex-1 items-center gap-2">
                <span
                  aria-hidden="true"
                  className={
                    instance.state === 'running'
                      ? 'animate-live size-2 rounded-full bg-good'
                      : 'size-2 rounded-full bg-faint'
                  }
                />
                <span className="font-medium">{instance.agent_type}</span>
                <span className="text-xs text-faint">{instance.state}</span>
                {instance.runtime === 'process' && <Badge tone="warn">not a cage</Badge>}
              </span>
              {instance.usage && (
                <span className="flex gap-4 text-xs text-soft tabular-nums">
                  <Use name="Memory" now={instance.usage.memory_mb} most={instance.limits?.memory_mb} unit="MB" />
                  <Use
                    name="CPU"
                    now={Math.round(instance.usage.cpu_percent)}
                    most={(instance.limits?.cpus ?? 0) * 100}
                    unit="%"
                  />
                </span>
              )}
              <code className="text-xs text-faint max-md:hidden">{instance.container_id?.slice(0, 12)}</code>
              {instance.started_at && <Ago time={instance.started_at} className="text-xs text-faint" />}
              <Button small look="danger" icon="stop" onClick={() => stop.mutate(instance.id)}>
                Stop
              </Button>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Use({ name, now, most, unit }: { name: string; now: number; most?: number; unit: string }) {
  const part = most ? (100 * now) / most : 0;
  return (
    <span className="flex w-36 flex-col gap-0.5 whitespace-nowrap">
      <span>
        {name} {now} {unit}
        {most ? <span className="text-faint"> / {most}</span> : null}
      </span>
      {most ? (
        <Meter value={part} label={`${name} in use`} tone={part > 90 ? 'bad' : part > 70 ? 'warn' : 'accent'} />
      ) : null}
    </span>
  );
}

function Queue() {
  const { data: queue } = useQuery(queueQuery);
  const { data: boards = [] } = useQuery(boardsQuery);
  if (!queue) return null;
  return (
    <Section title="Waiting to run" count={queue.length}>
      {queue.length === 0 ? (
        <p className={NONE}>Nothing waits.</p>
      ) : (
        <ol className="divide-y overflow-hidden rounded-xl border bg-card shadow-card">
          {queue.map((entry) => {
            const key = boards.find((board) => board.id === entry.board_id)?.key ?? '';
            return (
              <li key={entry.task_id} className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2.5 text-sm">
                <span className="w-5 text-right text-xs text-faint tabular-nums">{entry.position}</span>
                <Link
                  to="/boards/$board/cards/$number"
                  params={{ board: key, number: String(entry.number) }}
                  className="min-w-40 flex-1 truncate hover:underline"
                >
                  <span className="text-xs text-faint tabular-nums">{cardKey(key, entry.number)}</span> {entry.title}
                </Link>
                <span className="flex items-center gap-1.5 text-xs text-warn">
                  <Icon name="clock" className="size-3.5" />
                  {entry.waiting.map((reason) => reason.detail).join('; ')}
                </span>
              </li>
            );
          })}
        </ol>
      )}
    </Section>
  );
}
