import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { ROOT, why } from '@/api/client';
import { deeds, healthQuery, secretsQuery, tokensQuery, usersQuery } from '@/api/queries';
import { Button, IconButton } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { Icon } from '@/ui/Icon';
import { Badge, Input, Page, Trouble, Waiting } from '@/ui/parts';
import { Ago } from '@/ui/Time';
import { toast } from '@/ui/toast';

export function SystemPage() {
  return (
    <Page title="System">
      <div className="mx-auto flex max-w-3xl flex-col gap-8 p-4">
        <Health />
        <Secrets />
        <Users />
        <Tokens />
        <p className="text-sm text-faint">
          For programs: the{' '}
          <a className="text-accent underline underline-offset-2" href={new URL('api/docs', ROOT).href}>
            reference of the API
          </a>{' '}
          and its{' '}
          <a className="text-accent underline underline-offset-2" href={new URL('api/v1/openapi.json', ROOT).href}>
            OpenAPI document
          </a>
          .
        </p>
      </div>
    </Page>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <h2 className="mb-2 text-sm font-semibold">{title}</h2>
      {children}
    </section>
  );
}

const LIST = 'divide-y overflow-hidden rounded-xl border bg-card shadow-card';
const ROW = 'flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2.5 text-sm';

const SAYS = {
  ok: { look: 'text-good bg-good-soft', text: 'Everything works.' },
  degraded: { look: 'text-warn bg-warn-soft', text: 'The board works; something beside it does not.' },
  failed: { look: 'text-bad bg-bad-soft', text: 'The board cannot serve.' },
} as const;

function Health() {
  const { data, error, refetch } = useQuery(healthQuery);
  if (error) return <Trouble error={error} onRetry={() => void refetch()} />;
  if (!data) return <Waiting />;
  const says = SAYS[data.status] ?? SAYS.failed;
  return (
    <Section title="Health">
      <div className={LIST}>
        <p className={cx(ROW, 'font-medium', says.look)}>{says.text}</p>
        {Object.entries(data.checks).map(([name, check]) => {
          const good = check.status === 'ok';
          return (
            <div key={name} className={ROW}>
              <Icon name={good ? 'check' : 'warn'} className={good ? 'text-good' : 'text-warn'} />
              <span className="w-28 font-medium capitalize">{name}</span>
              <span className="min-w-0 flex-1 text-soft wrap-anywhere">{check.detail ?? check.status}</span>
            </div>
          );
        })}
      </div>
    </Section>
  );
}

/** Written, never read: the server gives no value back. */
function Secrets() {
  const cache = useQueryClient();
  const { data: secrets } = useQuery(secretsQuery);
  const [name, setName] = useState('');
  const [value, setValue] = useState('');
  const refresh = () => void cache.invalidateQueries({ queryKey: ['secrets'] });
  const put = useMutation({
    mutationFn: () => deeds.putSecret(name, value),
    onSuccess: () => {
      toast(`${name} is kept`);
      setName('');
      setValue('');
      refresh();
    },
    onError: (error) => toast(why(error), { tone: 'bad' }),
  });
  const remove = useMutation({
    mutationFn: deeds.deleteSecret,
    onSuccess: refresh,
    onError: (error) => toast(why(error), { tone: 'bad' }),
  });
  if (!secrets) return null;
  return (
    <Section title="Secrets">
      <div className={LIST}>
        {secrets.map((secret) => (
          <div key={secret.name} className={ROW}>
            <Icon name="lock" className="text-faint" />
            <code className="min-w-0 flex-1 truncate text-xs">{secret.name}</code>
            {secret.updated_at && (
              <span className="text-xs text-faint">
                set <Ago time={secret.updated_at} />
              </span>
            )}
            <IconButton label={`Remove ${secret.name}`} icon="trash" onClick={() => remove.mutate(secret.name)} />
          </div>
        ))}
        <form
          className="flex flex-wrap gap-2 p-3"
          onSubmit={(event) => {
            event.preventDefault();
            if (name && value) put.mutate();
          }}
        >
          <Input
            aria-label="Name of the secret"
            placeholder="NAME"
            value={name}
            onChange={(event) => setName(event.target.value)}
            className="min-w-40 flex-1 font-mono text-xs!"
            autoComplete="off"
          />
          <Input
            aria-label="Value of the secret"
            placeholder="value; it never comes back"
            type="password"
            value={value}
            onChange={(event) => setValue(event.target.value)}
            className="min-w-40 flex-1"
            autoComplete="new-password"
          />
          <Button type="submit" busy={put.isPending}>
            Keep
          </Button>
        </form>
      </div>
    </Section>
  );
}

function Users() {
  const { data: users } = useQuery(usersQuery);
  if (!users) return null;
  return (
    <Section title="Users">
      <ul className={LIST}>
        {users.map((user) => (
          <li key={user.id} className={ROW}>
            <Icon name="user" className="text-faint" />
            <span className="flex-1">{user.name}</span>
            <Badge>{user.role}</Badge>
            {user.disabled && <Badge tone="bad">disabled</Badge>}
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Tokens() {
  const { data: tokens } = useQuery(tokensQuery);
  if (!tokens) return null;
  return (
    <Section title="Tokens">
      <ul className={LIST}>
        {tokens.map((token) => (
          <li key={token.id} className={ROW}>
            <Icon name="lock" className="text-faint" />
            <span className="flex-1">{token.name}</span>
            {token.scope && <Badge>{token.scope}</Badge>}
            <span className="text-xs text-faint">
              {token.last_used_at ? <Ago time={token.last_used_at} /> : 'never used'}
            </span>
          </li>
        ))}
      </ul>
    </Section>
  );
}
