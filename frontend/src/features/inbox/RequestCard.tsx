import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { isMissing, Problem, why } from '@/api/client';
import { deeds } from '@/api/queries';
import type { Request, RequestOption } from '@/api/types';
import { diffLines } from '@/lib/diff';
import { visible } from '@/lib/text';
import { Button } from '@/ui/Button';
import { DiffView } from '@/ui/DiffView';
import { Icon } from '@/ui/Icon';
import { Badge, Input, Kbd } from '@/ui/parts';
import { Ago } from '@/ui/Time';
import { announce, toast } from '@/ui/toast';

export function useAnswer() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ request, answer }: { request: Request; answer: Record<string, unknown> }) =>
      deeds.answer(request.id, answer),
    onMutate: ({ request }) => {
      // It is gone at once; a refusal brings it back with the next reading.
      cache.setQueryData<Request[] | null>(['requests', 'open'], (all) =>
        all?.filter((each) => each.id !== request.id),
      );
    },
    onSuccess: (_, { request }) => announce(`Request ${request.number} is answered.`),
    onError: (error, { request }) => {
      const first = error instanceof Problem && error.code === 'already_answered';
      toast(
        first
          ? why(error)
          : `Request ${request.number} was not answered: ${isMissing(error) ? 'it is gone' : why(error)}`,
        { tone: 'bad' },
      );
    },
    onSettled: () => void cache.invalidateQueries({ queryKey: ['requests'] }),
  });
}

export const isYes = (option: RequestOption) => option.kind.startsWith('allow');

/** What is asked, word for word, and every answer the agent offered: in its order, none chosen beforehand. */
export function RequestCard({ request, keys }: { request: Request; keys?: boolean }) {
  const answer = useAnswer();
  const [text, setText] = useState('');
  const call = request.tool_call;
  const raw = call?.rawInput as { command?: unknown; cwd?: unknown } | undefined;
  const command = Array.isArray(raw?.command)
    ? raw.command.join(' ')
    : typeof raw?.command === 'string'
      ? raw.command
      : null;
  const give = (body: Record<string, unknown>) => answer.mutate({ request, answer: body });
  return (
    <div className="flex flex-col gap-2.5">
      <p className="flex items-center gap-2 font-semibold">
        <Icon name={request.kind === 'permission' ? 'hand' : 'help'} className="text-warn" />
        <span className="min-w-0 flex-1 wrap-anywhere">{visible(request.title)}</span>
        <Badge tone="warn">{request.kind}</Badge>
      </p>
      {request.detail && <p className="text-sm text-soft wrap-anywhere">{visible(request.detail)}</p>}
      {call && (
        <div className="overflow-hidden rounded-lg border bg-card">
          {command !== null ? (
            <pre
              tabIndex={0}
              className="max-h-48 overflow-auto px-3 py-2 font-mono text-xs leading-5 whitespace-pre-wrap wrap-anywhere"
            >
              <span className="text-faint select-none">$ </span>
              {visible(command)}
            </pre>
          ) : (
            <p className="px-3 py-2 font-mono text-xs wrap-anywhere">{visible(call.title ?? call.toolCallId)}</p>
          )}
          {typeof raw?.cwd === 'string' && (
            <p className="border-t px-3 py-1 font-mono text-2xs text-faint">in {visible(raw.cwd)}</p>
          )}
          {call.content?.map(
            (part, index) =>
              part.type === 'diff' && (
                <div key={index} className="max-h-72 overflow-y-auto border-t">
                  <DiffView lines={diffLines(part.oldText ?? '', part.newText)} label={`Changes in ${part.path}`} />
                </div>
              ),
          )}
        </div>
      )}
      <div className="flex flex-wrap items-center gap-2">
        {request.options.map((option, index) => (
          <Button
            key={option.option_id}
            look={
              request.kind === 'question'
                ? 'plain'
                : option.kind === 'allow_once'
                  ? 'good'
                  : option.kind.startsWith('reject')
                    ? 'danger'
                    : 'plain'
            }
            onClick={() => give({ option_id: option.option_id })}
            className="max-sm:flex-1"
          >
            {visible(option.name)}
            {keys && index < 9 && <Kbd>{index + 1}</Kbd>}
          </Button>
        ))}
        {request.kind === 'question' && (
          <form
            className="flex min-w-52 flex-1 gap-2"
            onSubmit={(event) => {
              event.preventDefault();
              if (text.trim()) give({ text: text.trim() });
            }}
          >
            <Input
              aria-label="Another answer"
              placeholder="Another answer"
              value={text}
              onChange={(event) => setText(event.target.value)}
            />
            <Button type="submit">Answer</Button>
          </form>
        )}
      </div>
      {request.expires_at && (
        <p className="flex items-center gap-1 text-xs text-faint">
          <Icon name="clock" className="size-3.5" /> Rejected by itself <Ago time={request.expires_at} />
        </p>
      )}
    </div>
  );
}
