import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { Problem, url, why } from '@/api/client';
import { agentTypesQuery, boardQuery, boardsQuery, deeds, putBoard } from '@/api/queries';
import {
  type Board,
  type Column,
  type ColumnEdit,
  type BoardSettings as Settings,
  STATES,
  type State,
} from '@/api/types';
import { STATE_NAME } from '@/lib/lifecycle';
import { Button, IconButton } from '@/ui/Button';
import { Dialog } from '@/ui/Dialog';
import { Menu, MenuCheck } from '@/ui/Menu';
import { Field, Input, Select, Tabs, TextArea } from '@/ui/parts';
import { StateSign } from '@/ui/signs';
import { toast } from '@/ui/toast';

const route = getRouteApi('/inside/boards/$board');
type Tab = 'general' | 'columns' | 'work' | 'data';

export function BoardSettings() {
  const { board: key } = route.useParams();
  const { data: view } = useSuspenseQuery(boardQuery(key));
  const navigate = useNavigate();
  const [tab, setTab] = useState<Tab>('general');
  const close = () => void navigate({ to: '/boards/$board', params: { board: key }, search: (before) => before });
  return (
    <Dialog title={`Settings of ${view.board.name}`} onClose={close} wide>
      <div className="-m-4">
        <Tabs
          label="Settings"
          value={tab}
          onChange={setTab}
          tabs={[
            { id: 'general', name: 'General' },
            { id: 'columns', name: 'Columns' },
            { id: 'work', name: 'Agents and review' },
            { id: 'data', name: 'Data' },
          ]}
        />
        <div className="min-h-72 p-4" role="tabpanel">
          {tab === 'general' && <General board={view.board} />}
          {tab === 'columns' && <Columns board={view.board} />}
          {tab === 'work' && <Work board={view.board} />}
          {tab === 'data' && <Data board={view.board} />}
        </div>
      </div>
    </Dialog>
  );
}

function useSave(board: Board) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (edit: Parameters<typeof deeds.updateBoard>[1]) =>
      deeds.updateBoard(board.id, { ...edit, version: board.version }),
    onSuccess: (saved) => {
      putBoard(cache, saved);
      toast('Saved');
    },
  });
}

function Said({ error }: { error: unknown }) {
  if (!error) return null;
  const conflict = error instanceof Problem && error.code === 'stale_version';
  return (
    <p role="alert" className="text-sm text-bad">
      {conflict
        ? 'Somebody else changed this board meanwhile. What they wrote is shown now; save again to overwrite it.'
        : why(error)}
    </p>
  );
}

function General({ board }: { board: Board }) {
  const [name, setName] = useState(board.name);
  const [description, setDescription] = useState(board.description);
  const [repository, setRepository] = useState(board.repository_url ?? '');
  const [branch, setBranch] = useState(board.default_branch ?? '');
  const save = useSave(board);
  const fields = save.error instanceof Problem ? save.error.fields : {};
  return (
    <form
      className="flex flex-col gap-3"
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ name, description, repository_url: repository || null, default_branch: branch || null });
      }}
    >
      <div className="grid gap-3 sm:grid-cols-[1fr_6rem]">
        <Field label="Name" error={fields.name}>
          <Input value={name} onChange={(event) => setName(event.target.value)} />
        </Field>
        <Field label="Key" hint="never changes">
          <Input value={board.key} readOnly className="text-faint" />
        </Field>
      </div>
      <Field label="Description" error={fields.description}>
        <TextArea rows={2} value={description} onChange={(event) => setDescription(event.target.value)} />
      </Field>
      <div className="grid gap-3 sm:grid-cols-[1fr_10rem]">
        <Field label="Repository" error={fields.repository_url}>
          <Input value={repository} onChange={(event) => setRepository(event.target.value)} />
        </Field>
        <Field label="Default branch" error={fields.default_branch}>
          <Input value={branch} placeholder="main" onChange={(event) => setBranch(event.target.value)} />
        </Field>
      </div>
      <Said error={save.error} />
      <div>
        <Button look="primary" type="submit" busy={save.isPending}>
          Save
        </Button>
      </div>
    </form>
  );
}

function Columns({ board }: { board: Board }) {
  const cache = useQueryClient();
  const refresh = () => cache.invalidateQueries({ queryKey: ['board', board.key], exact: true });
  const edit = useMutation({
    mutationFn: ({ id, change }: { id: string; change: ColumnEdit }) => deeds.updateColumn(id, change),
    onSuccess: refresh,
  });
  const remove = useMutation({ mutationFn: (id: string) => deeds.removeColumn(id), onSuccess: refresh });
  const add = useMutation({
    mutationFn: () => deeds.addColumn(board.id, { name: 'New column', states: ['TODO'] }),
    onSuccess: refresh,
  });
  const change = (id: string, fields: ColumnEdit) => edit.mutate({ id, change: fields });
  return (
    <div className="flex flex-col gap-2">
      <p className="text-sm text-soft">
        A column holds one or more states of a card. Where several columns hold a state, cards come to the first of them
        by themselves. A limit is a warning, not a wall.
      </p>
      <ol className="flex flex-col gap-1.5">
        {board.columns.map((column, index) => (
          <li key={column.id} className="flex flex-wrap items-center gap-2 rounded-lg border bg-card p-2">
            <div className="flex">
              <IconButton
                label={`Move ${column.name} to the left`}
                icon="back"
                unable={index === 0 && 'It is the first'}
                onClick={() => change(column.id, { position: index - 1 })}
              />
              <IconButton
                label={`Move ${column.name} to the right`}
                icon="chevronRight"
                unable={index === board.columns.length - 1 && 'It is the last'}
                onClick={() => change(column.id, { position: index + 1 })}
              />
            </div>
            <Input
              aria-label="Name of the column"
              defaultValue={column.name}
              className="min-w-32 flex-1"
              onBlur={(event) =>
                event.target.value.trim() &&
                event.target.value !== column.name &&
                change(column.id, { name: event.target.value })
              }
            />
            <States column={column} onChange={(states) => change(column.id, { states })} />
            <Input
              aria-label={`Limit of ${column.name}`}
              type="number"
              min={1}
              placeholder="no limit"
              defaultValue={column.wip_limit ?? ''}
              className="w-24!"
              onBlur={(event) => {
                const limit = event.target.value ? Number(event.target.value) : null;
                if (limit !== column.wip_limit) change(column.id, { wip_limit: limit });
              }}
            />
            <IconButton label={`Remove ${column.name}`} icon="trash" onClick={() => remove.mutate(column.id)} />
          </li>
        ))}
      </ol>
      <Said error={edit.error ?? remove.error ?? add.error} />
      <div>
        <Button icon="plus" onClick={() => add.mutate()} busy={add.isPending}>
          Add a column
        </Button>
      </div>
    </div>
  );
}

function States({ column, onChange }: { column: Column; onChange: (states: State[]) => void }) {
  return (
    <Menu
      trigger={
        <Button small icon="chevronDown" className="max-w-52">
          <span className="flex items-center gap-1 truncate">
            {column.states.map((state) => (
              <StateSign key={state} state={state} />
            ))}
            <span className="truncate">{column.states.map((state) => STATE_NAME[state]).join(', ')}</span>
          </span>
        </Button>
      }
    >
      {STATES.map((state) => {
        const held = column.states.includes(state);
        return (
          <MenuCheck
            key={state}
            checked={held}
            onChange={() => {
              const next = held ? column.states.filter((each) => each !== state) : [...column.states, state];
              if (next.length) onChange(next);
            }}
          >
            {STATE_NAME[state]}
          </MenuCheck>
        );
      })}
    </Menu>
  );
}

function AgentSelect({
  value,
  none,
  onChange,
}: {
  value: string | null;
  none: string;
  onChange: (name: string | null) => void;
}) {
  const { data: agents } = useQuery(agentTypesQuery);
  if (!agents)
    return <Input value={value ?? ''} placeholder={none} onChange={(event) => onChange(event.target.value || null)} />;
  const names = [...new Set([...agents.map((agent) => agent.name), ...(value ? [value] : [])])];
  return (
    <Select value={value ?? ''} onChange={(event) => onChange(event.target.value || null)}>
      <option value="">{none}</option>
      {names.map((name) => (
        <option key={name}>{name}</option>
      ))}
    </Select>
  );
}

function Work({ board }: { board: Board }) {
  const [settings, setSettings] = useState<Settings>(board.settings);
  const set = (change: Partial<Settings>) => setSettings({ ...settings, ...change });
  const save = useSave(board);
  return (
    <form
      className="flex flex-col gap-3"
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ settings });
      }}
    >
      <Field label="Agent of a new card">
        <AgentSelect
          value={settings.default_agent_type}
          none="Nobody"
          onChange={(name) => set({ default_agent_type: name })}
        />
      </Field>
      <Field
        label="Planner"
        hint="The agent that writes a plan when a card goes to Planning. Without one no card goes there."
      >
        <AgentSelect value={settings.planner} none="No planner" onChange={(name) => set({ planner: name })} />
      </Field>
      <Field label="Review" hint="Who looks at the work before it is done.">
        <Select value={settings.review} onChange={(event) => set({ review: event.target.value as Settings['review'] })}>
          <option value="nobody">Nobody: a finished turn is done</option>
          <option value="person">A person</option>
        </Select>
      </Field>
      <label className="flex items-center gap-2 text-sm">
        <input type="checkbox" checked={settings.verify} onChange={(event) => set({ verify: event.target.checked })} />
        Verify the work before it is done
      </label>
      <Said error={save.error} />
      <div>
        <Button look="primary" type="submit" busy={save.isPending}>
          Save
        </Button>
      </div>
    </form>
  );
}

function Data({ board }: { board: Board }) {
  const [retention, setRetention] = useState(board.settings.retention);
  const save = useSave(board);
  const cache = useQueryClient();
  const navigate = useNavigate();
  const archive = useMutation({
    mutationFn: () => deeds.updateBoard(board.id, { archived: true }),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: boardsQuery.queryKey });
      await navigate({ to: '/' });
      toast(`${board.name} was archived`, {
        undo: () =>
          void deeds
            .updateBoard(board.id, { archived: false })
            .then(() => cache.invalidateQueries({ queryKey: ['boards'] })),
      });
    },
  });
  const number = (text: string) => (text ? Number(text) : null);
  return (
    <div className="flex flex-col gap-5">
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate({ settings: { ...board.settings, retention } });
        }}
      >
        <p className="text-sm text-soft">
          How much of the log is kept. Nothing set keeps everything; what goes leaves a mark in its place.
        </p>
        <div className="grid grid-cols-2 gap-3">
          <Field label="At most so many events">
            <Input
              type="number"
              min={1}
              placeholder="all"
              value={retention.max_events ?? ''}
              onChange={(event) => setRetention({ ...retention, max_events: number(event.target.value) })}
            />
          </Field>
          <Field label="At most so many days">
            <Input
              type="number"
              min={1}
              placeholder="for ever"
              value={retention.max_age_days ?? ''}
              onChange={(event) => setRetention({ ...retention, max_age_days: number(event.target.value) })}
            />
          </Field>
        </div>
        <Said error={save.error} />
        <div>
          <Button look="primary" type="submit" busy={save.isPending}>
            Save
          </Button>
        </div>
      </form>
      <div className="flex flex-wrap items-center gap-2 border-t pt-4">
        <a
          href={url(`boards/${board.id}/export`).href}
          download
          className="text-sm text-accent underline underline-offset-2"
        >
          Export the board with its log
        </a>
        <span className="flex-1" />
        <Button look="danger" icon="archive" onClick={() => archive.mutate()} busy={archive.isPending}>
          Archive this board
        </Button>
      </div>
      <Said error={archive.error} />
    </div>
  );
}
