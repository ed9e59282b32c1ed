import { defineConfig, devices } from '@playwright/test';

const chromium = {
  actionTimeout: 15_000,
  navigationTimeout: 20_000,
  launchOptions: {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--no-first-run'],
  },
};
const desk = { ...chromium, viewport: { width: 1440, height: 900 } };

/** `mock`: the built page on the played server. `server`: the same page in the real binary. `shots`: pictures to look at. */
export default defineConfig({
  testDir: '.',
  outputDir: '../test-results',
  timeout: 60_000,
  expect: { timeout: 10_000 },
  workers: 1,
  reporter: [['list']],
  projects: [
    { name: 'mock', testMatch: /(board|card|inbox|review|a11y|safety|scale)\.spec\.ts/, use: desk },
    {
      name: 'phone',
      testMatch: /phone\.spec\.ts/,
      use: { ...devices['Pixel 7'], ...chromium, viewport: { width: 390, height: 844 } },
    },
    { name: 'server', testMatch: /server\.spec\.ts/, use: desk },
    { name: 'shots', testMatch: /shots\.ts/, use: desk },
  ],
});
