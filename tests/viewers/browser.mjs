// Opens a page in headless Chromium, runs a step file on it, prints what it gives as JSON.
// node browser.mjs STEPS.mjs '{"url": ..., "screenshot": ...}'
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { chromium } = createRequire(process.env.VIEWERS_CACHE + '/')('playwright-core');
const [steps, given] = process.argv.slice(2);
const options = JSON.parse(given);
const profile = mkdtempSync(join(tmpdir(), 'medseg-browser-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  viewport: { width: options.width ?? 1400, height: options.height ?? 900 },
  args: [
    '--no-sandbox', '--disable-gpu', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-quic',
    '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
const page = context.pages()[0] ?? (await context.newPage());
const requests = [], complaints = [];
page.on('request', request => requests.push(request.url()));
page.on('console', message => message.type() === 'error' && complaints.push(message.text()));
page.on('pageerror', error => complaints.push(String(error)));
let code = 0;
try {
  const { run } = await import(pathToFileURL(steps));
  const result = await run(page, options);
  console.log(JSON.stringify({ result, requests, complaints }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error), requests, complaints }));
  if (options.screenshot) await page.screenshot({ path: options.screenshot }).catch(() => {});
  code = 1;
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(code);
