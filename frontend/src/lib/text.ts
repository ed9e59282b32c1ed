/** Text from agents is shown as it is, never as markup, and never able to hide what it says. */

// Control, zero-width and bidirectional characters: drawn as their numbers where a person decides on what they read.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to be found
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

export const visible = (text: string) =>
  text.replace(HIDDEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`);

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

/** What a terminal would show: no colours, and a carriage return starts its line again. */
export function plain(output: string): string {
  const text = output.replace(ANSI, '').replace(/\r\n/g, '\n');
  if (!text.includes('\r')) return text;
  return text
    .split('\n')
    .map((line) => line.slice(line.lastIndexOf('\r') + 1))
    .join('\n');
}

export const plural = (count: number, one: string, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function money(cost: number | { amount: number; currency: string }): string {
  const { amount, currency } = typeof cost === 'number' ? { amount: cost, currency: 'USD' } : cost;
  return new Intl.NumberFormat('en', {
    style: 'currency',
    currency: /^[A-Z]{3}$/.test(currency) ? currency : 'USD',
    maximumFractionDigits: amount < 1 ? 3 : 2,
  }).format(amount);
}

export const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
