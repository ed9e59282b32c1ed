import { useState } from 'react';
import { keyNames, shortcuts } from '@/lib/shortcuts';
import { Dialog } from '@/ui/Dialog';
import { Kbd } from '@/ui/parts';

/** Made of what is registered now: it cannot name a key that does nothing. */
export default function HelpSheet({ onClose }: { onClose: () => void }) {
  const [all] = useState(shortcuts);
  const groups = [...new Set(all.map((each) => each.group))];
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose} wide>
      <div className="columns-1 gap-8 sm:columns-2">
        {groups.map((group) => (
          <section key={group} className="mb-5 break-inside-avoid">
            <h3 className="mb-1.5 text-xs font-medium text-faint">{group}</h3>
            <dl>
              {all
                .filter((each) => each.group === group)
                .map((each) => (
                  <div key={each.does} className="flex items-center gap-3 border-b border-line/60 py-1 text-sm">
                    <dt className="flex-1">{each.does}</dt>
                    <dd className="flex gap-1">
                      {each.keys.slice(0, 2).map((keys, index) => (
                        <span key={keys} className="flex items-center gap-0.5">
                          {index > 0 && <span className="px-1 text-2xs text-faint">or</span>}
                          {keyNames(keys).map((name) => (
                            <Kbd key={name}>{name}</Kbd>
                          ))}
                        </span>
                      ))}
                    </dd>
                  </div>
                ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
