/** Comments on lines, and the prompt that they become. */
export interface Comment {
  id: string;
  path: string;
  line: number;
  side: 'old' | 'new';
  code: string;
  text: string;
}

export function asPrompt(comments: readonly Comment[], closing = ''): string {
  const files = new Map<string, Comment[]>();
  for (const comment of comments) files.set(comment.path, [...(files.get(comment.path) ?? []), comment]);
  const parts = [...files].map(([path, all]) =>
    [
      `### ${path}`,
      ...all
        .toSorted((a, b) => a.line - b.line)
        .map(
          ({ line, side, code, text }) =>
            `- line ${line}${side === 'old' ? ' (removed)' : ''}: \`${code.trim().slice(0, 120)}\`\n  ${text.trim().replaceAll('\n', '\n  ')}`,
        ),
    ].join('\n'),
  );
  return ['I reviewed your changes. Please address these comments:', ...parts, closing.trim()]
    .filter(Boolean)
    .join('\n\n');
}
