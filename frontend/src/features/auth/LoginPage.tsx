import { useMutation, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { isMissing, ROOT, why } from '@/api/client';
import { deeds } from '@/api/queries';
import { Button } from '@/ui/Button';
import { Icon } from '@/ui/Icon';
import { Field, Input } from '@/ui/parts';

const route = getRouteApi('/login');

export function LoginPage() {
  const { to } = route.useSearch();
  const navigate = useNavigate();
  const cache = useQueryClient();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [token, setToken] = useState('');
  const enter = useMutation({
    mutationFn: () => deeds.login(name, password),
    onSuccess: async () => {
      cache.clear();
      // Only a place within this page: never where somebody's link says.
      await navigate({ href: to?.startsWith('/') && !to.startsWith('//') ? to : '/' });
    },
  });
  const trade = useMutation({
    mutationFn: () => deeds.link(token.trim()),
    onSuccess: ({ url }) => {
      // The link's own host may be one that this browser does not use; its path is what counts.
      const path = /\/login\/[^/]+$/.exec(new URL(url, ROOT).pathname)?.[0];
      if (path) location.assign(new URL(path.slice(1), ROOT));
    },
  });
  return (
    <main className="grid h-dvh place-items-center overflow-y-auto p-4">
      <div className="w-full max-w-sm">
        <div className="mb-6 flex flex-col items-center gap-3">
          <img src={new URL('icon.svg', ROOT).href} alt="" className="size-11" />
          <h1 className="text-xl font-semibold">Log in to Kanvoy</h1>
        </div>
        <form
          className="flex flex-col gap-3 rounded-xl border bg-card p-5 shadow-card"
          onSubmit={(event) => {
            event.preventDefault();
            enter.mutate();
          }}
        >
          <Field label="Name">
            <Input required autoComplete="username" value={name} onChange={(event) => setName(event.target.value)} />
          </Field>
          <Field label="Password">
            <Input
              required
              type="password"
              autoComplete="current-password"
              value={password}
              onChange={(event) => setPassword(event.target.value)}
            />
          </Field>
          {enter.error && (
            <p role="alert" className="text-sm text-bad">
              {isMissing(enter.error)
                ? 'This server has no passwords. Use the link that it printed, or a token below.'
                : why(enter.error)}
            </p>
          )}
          <Button look="primary" type="submit" busy={enter.isPending}>
            Log in
          </Button>
        </form>
        <div className="mt-4 flex gap-2.5 rounded-xl border bg-lane p-4 text-sm text-soft">
          <Icon name="link" className="mt-0.5 text-faint" />
          <p>
            On your own machine you need no password: <code className="text-xs">kanvoy serve</code> prints a link when
            it starts. It works once, for fifteen minutes.
          </p>
        </div>
        <details className="mt-3 rounded-xl border px-4 py-3 text-sm text-soft">
          <summary className="cursor-default">I have a token</summary>
          <form
            className="mt-3 flex gap-2"
            onSubmit={(event) => {
              event.preventDefault();
              trade.mutate();
            }}
          >
            <Input
              aria-label="Token"
              type="password"
              autoComplete="off"
              value={token}
              onChange={(event) => setToken(event.target.value)}
            />
            <Button type="submit" busy={trade.isPending}>
              Enter
            </Button>
          </form>
          {trade.error && (
            <p role="alert" className="mt-2 text-bad">
              {why(trade.error)}
            </p>
          )}
          <p className="mt-2 text-xs text-faint">The first one lies in the data directory, in the file named token.</p>
        </details>
      </div>
    </main>
  );
}
