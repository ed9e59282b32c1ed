/** A diff as text in a table. The whole renderer: what is compared is made elsewhere. */
import { Fragment, type ReactNode } from 'react';
import { type Line, sideBySide } from '@/lib/diff';
import { cx } from './cx';

const MARK = { same: ' ', add: '+', del: '−', hunk: '' } as const;
const LOOK = { same: '', add: 'bg-add', del: 'bg-del', hunk: 'bg-lane text-faint' } as const;
const NUMBER = 'w-10 px-1.5 text-right text-faint select-none align-top';
const CODE = 'px-2 whitespace-pre-wrap wrap-anywhere align-top';

interface Props {
  lines: Line[];
  label: string;
  split?: boolean;
  onLine?: (line: Line) => void;
  /** What hangs below a line: comments. */
  below?: (line: Line) => ReactNode;
}

export function DiffView({ lines, label, split, onLine, below }: Props) {
  return (
    <section className="overflow-x-auto" aria-label={label} tabIndex={0}>
      <table className={cx('w-full border-collapse font-mono text-xs leading-5', split && 'table-fixed')}>
        <caption className="sr-only">{label}</caption>
        {split && (
          <colgroup>
            <col className="w-10" />
            <col />
            <col className="w-10" />
            <col />
          </colgroup>
        )}
        <tbody>
          {split
            ? sideBySide(lines).map(([left, right], index) => (
                <Fragment key={index}>
                  <tr>
                    <Half line={left} side="old" onLine={onLine} />
                    <Half line={right} side="new" onLine={onLine} />
                  </tr>
                  {[...new Set([left, right])].map(
                    (line) => line && <Below key={line.kind} line={line} below={below} span={4} />,
                  )}
                </Fragment>
              ))
            : lines.map((line, index) => (
                <Fragment key={index}>
                  <tr className={LOOK[line.kind]}>
                    <td className={NUMBER}>{line.old}</td>
                    <td className={NUMBER}>{line.new}</td>
                    <td className={CODE}>
                      <Code line={line} onLine={onLine} />
                    </td>
                  </tr>
                  <Below line={line} below={below} span={3} />
                </Fragment>
              ))}
        </tbody>
      </table>
    </section>
  );
}

function Below({ line, below, span }: { line: Line; below?: Props['below']; span: number }) {
  const content = below?.(line);
  if (!content) return null;
  return (
    <tr>
      <td colSpan={span} className="font-sans">
        {content}
      </td>
    </tr>
  );
}

function Half({ line, side, onLine }: { line: Line | null; side: 'old' | 'new'; onLine?: Props['onLine'] }) {
  const look = line ? LOOK[line.kind] : 'bg-lane';
  return (
    <>
      <td className={cx(NUMBER, look)}>{line?.[side]}</td>
      <td className={cx(CODE, look)}>{line && <Code line={line} onLine={onLine} />}</td>
    </>
  );
}

function Code({ line, onLine }: { line: Line; onLine?: Props['onLine'] }) {
  const sign = (
    <span aria-hidden="true" className="mr-1.5 inline-block w-2 text-faint select-none">
      {MARK[line.kind]}
    </span>
  );
  const said = line.kind === 'add' ? 'added: ' : line.kind === 'del' ? 'removed: ' : '';
  return (
    <span className="group/line flex">
      {sign}
      <span className="min-w-0 flex-1">
        {said && <span className="sr-only">{said}</span>}
        {line.text || ' '}
      </span>
      {onLine && line.kind !== 'hunk' && (
        <button
          type="button"
          onClick={() => onLine(line)}
          aria-label={`Comment on line ${line.new ?? line.old}`}
          className="size-5 shrink-0 rounded bg-accent text-center leading-5 text-on-accent opacity-0 group-hover/line:opacity-100 focus:opacity-100 pointer-coarse:opacity-60"
        >
          +
        </button>
      )}
    </span>
  );
}
