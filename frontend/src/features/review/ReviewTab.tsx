import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { url, why } from '@/api/client';
import { commitsQuery, deeds, diffQuery, putTask, workspaceQuery } from '@/api/queries';
import type { FileChange, Task } from '@/api/types';
import { type Line, parsePatch } from '@/lib/diff';
import { plural, visible } from '@/lib/text';
import { Button } from '@/ui/Button';
import { cx } from '@/ui/cx';
import { DiffView } from '@/ui/DiffView';
import { Icon } from '@/ui/Icon';
import { Menu, MenuItem } from '@/ui/Menu';
import { Badge, Empty, TextArea, Trouble, Waiting } from '@/ui/parts';
import { Ago } from '@/ui/Time';
import { toast } from '@/ui/toast';
import { asPrompt, type Comment } from './comments';

/** More lines than this are drawn only when somebody opens the file. */
const MANY = 600;

export function ReviewTab({ task }: { task: Task }) {
  const { data: diff, error, isPending, refetch } = useQuery(diffQuery(task.id));
  const { data: workspace } = useQuery(workspaceQuery(task.id));
  const { data: commits = [] } = useQuery(commitsQuery(task.id));
  const [split, setSplit] = useState(() => matchMedia('(min-width: 1500px)').matches);
  const [comments, setComments] = useState<Comment[]>([]);
  const cache = useQueryClient();

  const send = useMutation({
    mutationFn: () => deeds.run(task.id, 'prompt', { text: asPrompt(comments) }),
    onSuccess: () => {
      toast(`${plural(comments.length, 'comment')} sent as the next prompt`);
      setComments([]);
    },
    onError: (problem) => toast(`Not sent: ${why(problem)}`, { tone: 'bad' }),
  });
  const settle = useMutation({
    mutationFn: async (deed: 'merge' | 'push' | 'approve') => {
      if (deed === 'approve') putTask(cache, await deeds.setState(task.id, 'COMPLETED'));
      else await deeds[deed](task.id);
      return { merge: 'Merged', push: 'Pushed', approve: 'Approved' }[deed];
    },
    onSuccess: (said) => toast(said),
    onError: (problem) => toast(why(problem), { tone: 'bad' }),
    onSettled: () => void cache.invalidateQueries({ queryKey: ['task', task.id, 'run'] }),
  });

  if (error) return <Trouble error={error} onRetry={() => void refetch()} />;
  if (isPending) return <Waiting />;
  if (!diff || diff.files.length === 0)
    return (
      <Empty icon="diff" title="No changes yet">
        <p className="text-sm">
          {diff
            ? 'The workspace is as it was when it was cloned.'
            : 'This card has no workspace. It gets a clone and a branch of its own when an agent starts on it.'}
        </p>
      </Empty>
    );
  const added = diff.files.reduce((sum, file) => sum + file.additions, 0);
  const removed = diff.files.reduce((sum, file) => sum + file.deletions, 0);
  const conflict = workspace?.conflict;
  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <div className="flex flex-wrap items-center gap-2 border-b px-4 py-2 text-sm">
        <span className="font-medium">{plural(diff.files.length, 'file')}</span>
        <Counts added={added} removed={removed} />
        {workspace && <Badge icon="link">{workspace.branch}</Badge>}
        <span className="flex-1" />
        <Button small look="quiet" onClick={() => setSplit(!split)} aria-pressed={split}>
          {split ? 'One column' : 'Side by side'}
        </Button>
        <Menu
          trigger={
            <Button small icon="chevronDown">
              Merge or push
            </Button>
          }
        >
          <MenuItem icon="check" onSelect={() => settle.mutate('merge')}>
            Merge into {workspace?.base_branch ?? 'the default branch'}
          </MenuItem>
          <MenuItem icon="send" onSelect={() => settle.mutate('push')}>
            Push the branch
          </MenuItem>
          <MenuItem
            icon="file"
            onSelect={() => {
              const link = document.createElement('a');
              link.href = url(`tasks/${task.id}/workspace/patch`).href;
              link.download = '';
              link.click();
            }}
          >
            Download the patch
          </MenuItem>
        </Menu>
        {task.state === 'REVIEW' && (
          <Button small look="good" icon="check" busy={settle.isPending} onClick={() => settle.mutate('approve')}>
            Approve
          </Button>
        )}
      </div>
      {conflict && (
        <div role="alert" className="border-b bg-warn-soft px-4 py-2 text-sm text-warn">
          <p className="font-medium">The merge has conflicts: {conflict.detail}</p>
          <ul className="font-mono text-xs">
            {conflict.files.map((file) => (
              <li key={file}>{visible(file)}</li>
            ))}
          </ul>
        </div>
      )}
      <div className="min-h-0 flex-1 overflow-y-auto">
        {commits.length > 0 && (
          <details className="border-b px-4 py-2 text-sm">
            <summary className="cursor-default text-soft">{plural(commits.length, 'commit')}</summary>
            <ol className="mt-1 flex flex-col gap-0.5">
              {commits.map((commit) => (
                <li key={commit.id} className="flex gap-2">
                  <code className="text-xs text-faint">{commit.id.slice(0, 8)}</code>
                  <span className="min-w-0 flex-1 truncate">{visible(commit.subject)}</span>
                  <Ago time={commit.at} className="text-xs text-faint" />
                </li>
              ))}
            </ol>
          </details>
        )}
        {diff.files.map((file) => (
          <File
            key={file.path}
            file={file}
            split={split}
            comments={comments.filter((comment) => comment.path === file.path)}
            onComment={(comment) => setComments((all) => [...all.filter((each) => each.id !== comment.id), comment])}
            onRemove={(id) => setComments((all) => all.filter((each) => each.id !== id))}
          />
        ))}
      </div>
      {comments.length > 0 && (
        <div className="flex items-center gap-3 border-t bg-card px-4 py-2.5 text-sm">
          <Icon name="comment" className="text-accent" />
          <span className="flex-1">{plural(comments.length, 'comment')} not sent yet</span>
          <Button small look="quiet" onClick={() => setComments([])}>
            Discard
          </Button>
          <Button small look="primary" icon="send" busy={send.isPending} onClick={() => send.mutate()}>
            Ask for these changes
          </Button>
        </div>
      )}
    </div>
  );
}

const Counts = ({ added, removed }: { added: number; removed: number }) => (
  <span className="text-xs tabular-nums">
    <span className="text-good">+{added}</span> <span className="text-bad">−{removed}</span>
  </span>
);

interface FileProps {
  file: FileChange;
  split: boolean;
  comments: Comment[];
  onComment: (comment: Comment) => void;
  onRemove: (id: string) => void;
}

function File({ file, split, comments, onComment, onRemove }: FileProps) {
  const lines = useMemo(() => parsePatch(file.patch ?? ''), [file.patch]);
  const [open, setOpen] = useState(lines.length <= MANY);
  const [writing, setWriting] = useState<string | null>(null);
  const idOf = (line: Line) => `${file.path}:${line.new === null ? 'old' : 'new'}:${line.new ?? line.old}`;
  return (
    <section aria-label={file.path} className="border-b">
      <header className="sticky top-0 z-10 border-b bg-lane">
        <h3>
          <button
            type="button"
            aria-expanded={open}
            onClick={() => setOpen(!open)}
            className="flex w-full items-center gap-2 px-3 py-1.5 text-left text-sm"
          >
            <Icon name="chevronRight" className={cx('size-3.5 text-faint transition-transform', open && 'rotate-90')} />
            <span className="min-w-0 flex-1 truncate font-mono text-xs">
              {file.old_path && file.old_path !== file.path ? `${visible(file.old_path)} → ` : ''}
              {visible(file.path)}
            </span>
            {file.status !== 'modified' && (
              <Badge tone={file.status === 'deleted' ? 'bad' : file.status === 'added' ? 'good' : 'neutral'}>
                {file.status}
              </Badge>
            )}
            {comments.length > 0 && <Badge icon="comment">{comments.length}</Badge>}
            <Counts added={file.additions} removed={file.deletions} />
          </button>
        </h3>
      </header>
      {open &&
        (file.binary || file.patch === null ? (
          <p className="px-4 py-3 text-sm text-faint">Not text: nothing to compare line by line.</p>
        ) : (
          <DiffView
            label={`Changes in ${file.path}`}
            lines={lines}
            split={split}
            onLine={(line) => setWriting(idOf(line))}
            below={(line) => {
              if (line.kind === 'hunk') return null;
              const id = idOf(line);
              const comment = comments.find((each) => each.id === id);
              if (writing === id)
                return (
                  <Write
                    begun={comment?.text ?? ''}
                    onCancel={() => setWriting(null)}
                    onSave={(text) => {
                      setWriting(null);
                      if (text.trim())
                        onComment({
                          id,
                          path: file.path,
                          line: line.new ?? line.old ?? 0,
                          side: line.new === null ? 'old' : 'new',
                          code: line.text,
                          text,
                        });
                      else onRemove(id);
                    }}
                  />
                );
              return (
                comment && (
                  <div className="mx-3 my-1.5 flex items-start gap-2 rounded-lg border bg-raised px-3 py-2 text-sm">
                    <Icon name="comment" className="mt-0.5 text-accent" />
                    <p className="flex-1 whitespace-pre-wrap">{comment.text}</p>
                    <button type="button" className="text-xs text-faint underline" onClick={() => setWriting(id)}>
                      Edit
                    </button>
                    <button type="button" className="text-xs text-faint underline" onClick={() => onRemove(id)}>
                      Remove
                    </button>
                  </div>
                )
              );
            }}
          />
        ))}
    </section>
  );
}

function Write({ begun, onSave, onCancel }: { begun: string; onSave: (text: string) => void; onCancel: () => void }) {
  const [text, setText] = useState(begun);
  return (
    <form
      className="mx-3 my-1.5 flex flex-col gap-2 rounded-lg border border-accent bg-raised p-2"
      onSubmit={(event) => {
        event.preventDefault();
        onSave(text);
      }}
      onKeyDown={(event) => {
        if (event.key === 'Escape') onCancel();
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) onSave(text);
        event.stopPropagation();
      }}
    >
      <TextArea
        autoFocus
        rows={2}
        aria-label="Comment on this line"
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <div className="flex justify-end gap-2">
        <Button small look="quiet" onClick={onCancel}>
          Cancel
        </Button>
        <Button small look="primary" type="submit">
          Comment
        </Button>
      </div>
    </form>
  );
}
