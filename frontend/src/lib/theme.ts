export type Theme = 'system' | 'light' | 'dark';

const KEY = 'kanvoy.theme';
const prefers = matchMedia('(prefers-color-scheme: dark)');

export function theme(): Theme {
  try {
    const chosen = localStorage.getItem(KEY);
    return chosen === 'light' || chosen === 'dark' ? chosen : 'system';
  } catch {
    return 'system';
  }
}

const paint = () => {
  const chosen = theme();
  const dark = chosen === 'dark' || (chosen === 'system' && prefers.matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  document.querySelector('meta[name="theme-color"]')?.setAttribute('content', dark ? '#0e0f12' : '#f5f5f7');
};

export function setTheme(chosen: Theme): void {
  try {
    if (chosen === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch {
    // Nowhere to keep it: it holds until the page is closed.
  }
  paint();
}

prefers.addEventListener('change', paint);
paint();
