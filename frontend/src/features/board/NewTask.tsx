import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { Problem, why } from '@/api/client';
import { agentTypesQuery, deeds, putTask } from '@/api/queries';
import { type Board, PRIORITIES, type Priority } from '@/api/types';
import { cardKey } from '@/lib/paths';
import { Button } from '@/ui/Button';
import { Dialog } from '@/ui/Dialog';
import { Field, Input, Select, TextArea } from '@/ui/parts';
import { PRIORITY_NAME } from '@/ui/signs';
import { toast } from '@/ui/toast';

export default function NewTask({
  board,
  title: begun,
  onClose,
}: {
  board: Board;
  title: string;
  onClose: () => void;
}) {
  const cache = useQueryClient();
  const navigate = useNavigate();
  const { data: agents } = useQuery(agentTypesQuery);
  const [title, setTitle] = useState(begun);
  const [description, setDescription] = useState('');
  const [agent, setAgent] = useState(board.settings.default_agent_type ?? '');
  const [priority, setPriority] = useState<Priority>('normal');
  const [labels, setLabels] = useState('');
  const [state, setState] = useState<'TODO' | 'BACKLOG'>('TODO');
  const add = useMutation({
    mutationFn: () =>
      deeds.createTask(board.id, {
        title,
        description,
        state,
        priority,
        agent_type: agent || null,
        labels: labels.split(',').flatMap((label) => label.trim() || []),
      }),
    onSuccess: (task) => {
      putTask(cache, task);
      toast(`${cardKey(board.key, task.number)} was added`);
      onClose();
      void navigate({
        to: '/boards/$board/cards/$number',
        params: { board: board.key, number: String(task.number) },
        search: (before) => before,
      });
    },
  });
  const fields = add.error instanceof Problem ? add.error.fields : {};
  const submit = () => add.mutate();
  return (
    <Dialog
      title={`New card on ${board.name}`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            look="primary"
            onClick={submit}
            busy={add.isPending}
            unable={title.trim() ? null : 'Give it a title first'}
          >
            {agent && state === 'TODO' ? `Add and offer to ${agent}` : 'Add card'}
          </Button>
        </>
      }
    >
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit();
        }}
      >
        <Field label="Title" error={fields.title}>
          <Input autoFocus required value={title} onChange={(event) => setTitle(event.target.value)} />
        </Field>
        <Field
          label="Description"
          hint="Markdown. The agent reads title and description as its first prompt."
          error={fields.description}
        >
          <TextArea rows={6} value={description} onChange={(event) => setDescription(event.target.value)} />
        </Field>
        <div className="grid grid-cols-2 gap-3">
          <Field label="Agent" error={fields.agent_type}>
            {agents ? (
              <Select value={agent} onChange={(event) => setAgent(event.target.value)}>
                <option value="">Nobody: worked by hand</option>
                {agents.map((type) => (
                  <option key={type.name}>{type.name}</option>
                ))}
              </Select>
            ) : (
              <Input value={agent} placeholder="Nobody" onChange={(event) => setAgent(event.target.value)} />
            )}
          </Field>
          <Field label="Priority">
            <Select value={priority} onChange={(event) => setPriority(event.target.value as Priority)}>
              {PRIORITIES.map((each) => (
                <option key={each} value={each}>
                  {PRIORITY_NAME[each]}
                </option>
              ))}
            </Select>
          </Field>
          <Field label="Begins in">
            <Select value={state} onChange={(event) => setState(event.target.value as 'TODO' | 'BACKLOG')}>
              <option value="TODO">To do</option>
              <option value="BACKLOG">Backlog: parked</option>
            </Select>
          </Field>
          <Field label="Labels" hint="Separated by commas" error={fields.labels}>
            <Input value={labels} onChange={(event) => setLabels(event.target.value)} />
          </Field>
        </div>
        {add.error && Object.keys(fields).length === 0 && (
          <p role="alert" className="text-sm text-bad">
            {why(add.error)}
          </p>
        )}
        <button type="submit" hidden />
      </form>
    </Dialog>
  );
}
