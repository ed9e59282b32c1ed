/** Text of people and agents. No HTML in it becomes HTML, no picture is fetched, and a link says where it goes. */
import { lazy, memo, Suspense } from 'react';

const Rendered = lazy(() => import('./MarkdownRendered'));

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <Suspense fallback={<div className="prose whitespace-pre-wrap">{text}</div>}>
      <Rendered text={text} />
    </Suspense>
  );
});
