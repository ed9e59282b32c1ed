import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { why } from '@/api/client';
import { agentTypesQuery, deeds, putTask } from '@/api/queries';
import type { Board, NewTask } from '@/api/types';
import { Button } from '@/ui/Button';
import { Icon, type IconName } from '@/ui/Icon';

const STEPS: [IconName, string, string][] = [
  ['task', 'Write a card', 'Title and description are what the agent is told first.'],
  [
    'agent',
    'Give it an agent',
    'It works in a container of its own, on a branch of its own. Or nobody: then you do it by hand.',
  ],
  ['hand', 'Answer and review', 'What an agent asks is in the inbox. What it did is on the card, line by line.'],
];

export function FirstRun({ board, onAdd }: { board: Board; onAdd: () => void }) {
  const cache = useQueryClient();
  const { data: agents } = useQuery(agentTypesQuery);
  const demo = agents?.find((type) => type.name === 'demo');
  const examples = useMutation({
    mutationFn: async () => {
      const cards: NewTask[] = [
        {
          title: 'Drag me to In progress',
          description: 'Or press **Alt and an arrow**. `?` shows every key.',
          labels: ['example'],
        },
        { title: 'Something for later', state: 'BACKLOG', labels: ['example'] },
        {
          title: demo ? 'Watch the demo agent work' : 'A card with a description',
          description: '- [ ] look at this card\n- [ ] write the first real one',
          agent_type: demo ? 'demo' : null,
          labels: ['example'],
        },
      ];
      for (const card of cards) putTask(cache, await deeds.createTask(board.id, card));
    },
  });
  return (
    <div className="min-h-0 flex-1 overflow-y-auto">
      <div className="mx-auto flex max-w-3xl flex-col items-center px-6 py-[8vh] text-center">
        <h2 className="text-xl font-semibold">{board.name} has no cards yet</h2>
        <p className="mt-1 text-soft">
          A card is a piece of work. It goes from left to right, by your hand or an agent's.
        </p>
        <ol className="mt-8 grid w-full gap-3 text-left sm:grid-cols-3">
          {STEPS.map(([icon, title, text], index) => (
            <li key={title} className="rounded-xl border bg-card p-4 shadow-card">
              <Icon name={icon} className="mb-2 size-5 text-accent" />
              <h3 className="font-semibold">
                {index + 1}. {title}
              </h3>
              <p className="mt-0.5 text-sm text-soft">{text}</p>
            </li>
          ))}
        </ol>
        <div className="mt-8 flex flex-wrap justify-center gap-2">
          <Button look="primary" icon="plus" onClick={onAdd}>
            Write the first card
          </Button>
          <Button onClick={() => examples.mutate()} busy={examples.isPending}>
            {demo ? 'Show me with the demo agent' : 'Add example cards'}
          </Button>
        </div>
        {examples.error && (
          <p role="alert" className="mt-3 text-sm text-bad">
            {why(examples.error)}
          </p>
        )}
      </div>
    </div>
  );
}
