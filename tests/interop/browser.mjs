// The report's page in a real browser: each check opens every page that the test made, and prints a
// line. It is run by `cargo test --test interop`, which says in the environment where things are.

import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { modules, browser: executable, pages, screenshots } =
  JSON.parse(process.env.PUSHER_CANARY_INTEROP_TARGET);
const require = createRequire(join(modules, 'package.json'));
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const { parse } = await import(pathToFileURL(require.resolve('parse5')));

const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 375, height: 800 };
// An A4 page at 96 pixels an inch, without its margins.
const PAPER = { width: 718, height: 1047 };
// Colours do not depend on where things lie, nor that on colours.
const LAYOUTS = [{ viewport: WIDE, colorScheme: 'light' }, { viewport: NARROW, colorScheme: 'dark' }];

// Most of the time is waited for the browser's next frame.
const AT_ONCE = 4;

const checks = [];
const check = (name, run) => checks.push([name, run]);

// Root has no sandbox, and nothing here comes from outside. No name is ever resolved.
const browser = await chromium.launch({
  executablePath: executable,
  args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND'],
});

/** Opens a page with what it must not do written down. */
async function open({ file }, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const noise = [];
  page.on('console', (message) => noise.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => noise.push(`error: ${error}`));
  page.on('dialog', (dialog) => { noise.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => {
    if (request.url() !== pathToFileURL(file).href) noise.push(`request: ${request.url()}`);
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener('securitypolicyviolation', (event) =>
      globalThis.violations.push(`${event.violatedDirective} by ${event.blockedURI}`));
  });
  await page.goto(pathToFileURL(file).href, { waitUntil: 'load' });
  return { page, noise, close: () => context.close() };
}

/** Runs this on each page in each of these looks, some at a time; what it returns is what is wrong. */
async function everywhere(run, looks, of = () => true) {
  const wrong = [];
  const left = pages.filter(of).flatMap((one) => looks.map((look) => [one, look]));
  const next = async () => {
    for (let of = left.shift(); of; of = left.shift()) {
      const [one, look] = of;
      const opened = await open(one, look);
      const { width } = look.viewport;
      for (const found of await run(opened)) {
        wrong.push(`${one.name} at ${width}, ${look.colorScheme ?? look.media}: ${found}`);
      }
      await opened.close();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  if (wrong.length > 0) throw new Error(wrong.slice(0, 20).join('\n'));
}

const unfold = (page) => page.evaluate(() => {
  for (const fold of document.querySelectorAll('details')) fold.open = true;
});

/** What is wider than the screen, but for what can be scrolled by itself. */
const overflowing = (page) => page.evaluate(() => {
  const wide = document.documentElement.clientWidth;
  const wrong = [];
  if (document.documentElement.scrollWidth > wide) wrong.push('the page scrolls sideways');
  for (const element of document.querySelectorAll('body *')) {
    if (element.closest('.scroll, pre, .skip, thead, svg')) continue;
    const { right, left, width } = element.getBoundingClientRect();
    if (width > 0 && (right > wide + 1 || left < -1)) {
      wrong.push(`<${element.localName} class="${element.className}"> ends at ${right}`);
    }
  }
  return wrong;
});

check('pages load nothing, say nothing and keep their policy', () =>
  everywhere(async ({ page, noise }) => {
    await unfold(page);
    return [...noise, ...await page.evaluate(() => globalThis.violations)];
  }, LAYOUTS));

check('the style is allowed by the policy, and applied', () =>
  everywhere(async ({ page }) => {
    const family = await page.evaluate(() => getComputedStyle(document.body).fontFamily);
    return family.includes('system-ui') ? [] : [`the type is ${family}`];
  }, LAYOUTS));

check('a strict parser finds no error in the markup', async () => {
  const wrong = [];
  for (const { name, file } of pages) {
    const onParseError = ({ code, startLine }) => wrong.push(`${name}:${startLine}: ${code}`);
    parse(await readFile(file, 'utf8'), { onParseError, sourceCodeLocationInfo: true });
  }
  if (wrong.length > 0) throw new Error(wrong.slice(0, 20).join('\n'));
});

check('nothing is wider than the screen, folded or not', () =>
  everywhere(async ({ page }) => {
    const folded = await overflowing(page);
    await unfold(page);
    return [...folded, ...await overflowing(page)];
  }, LAYOUTS));

check('no text of a chart is cut off or lies on another', () =>
  everywhere(({ page }) => page.evaluate(() => {
    const wrong = [];
    const wide = document.documentElement.clientWidth;
    for (const chart of document.querySelectorAll('.plot > svg, .clock > svg')) {
      const texts = [...chart.querySelectorAll('text')];
      const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
      const shown = boxes.filter(([, box]) => box.width > 0);
      const name = chart.getAttribute('aria-label') ?? 'the clock';
      if (shown.length < 2) wrong.push(`${name}: there is hardly any text`);
      for (const [text, box] of shown) {
        if (box.left < 0 || box.right > wide) wrong.push(`${name}: ${text} is cut off`);
      }
      shown.forEach(([text, a], at) => shown.slice(at + 1).forEach(([other, b]) => {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 0 && down > 1) wrong.push(`${name}: ${text} and ${other} overlap`);
      }));
    }
    return wrong;
  }), LAYOUTS));

check('lines are drawn within their charts', () =>
  everywhere(({ page }) => page.evaluate(() => {
    const wrong = [];
    for (const path of document.querySelectorAll('.plot path.line')) {
      const box = path.getBoundingClientRect();
      const chart = path.closest('.plot > svg').getBoundingClientRect();
      const beside = box.left < chart.left - 2 || box.right > chart.right + 2
        || box.top < chart.top - 2 || box.bottom > chart.bottom + 2;
      if (path.getAttribute('d') && beside) wrong.push(path.getAttribute('class'));
      if (/NaN|inf/i.test(path.getAttribute('d'))) wrong.push('a point that is none');
    }
    return wrong;
  }), LAYOUTS));

check('axe finds nothing to mend', () =>
  everywhere(async ({ page }) => {
    await unfold(page);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      resultTypes: ['violations'],
    }));
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((n) => n.html)}`);
  }, LAYOUTS));

check('the keyboard reaches every link, fold and region, and shows where it is', () =>
  everywhere(async ({ page }) => {
    const wanted = await page.evaluate(() =>
      [...document.querySelectorAll('a, summary')].filter((e) => e.getClientRects().length).length);
    const reached = new Set();
    for (let press = 0; press < wanted + 20 && reached.size < wanted; press++) {
      await page.keyboard.press('Tab');
      const [at, outline] = await page.evaluate(() => {
        const e = document.activeElement;
        const all = [...document.querySelectorAll('a, summary')];
        return [all.indexOf(e), getComputedStyle(e).outlineStyle];
      });
      if (at >= 0) reached.add(at);
      if (at >= 0 && outline === 'none') return [`element ${at} does not show that it has focus`];
    }
    return reached.size === wanted ? [] : [`${reached.size} of ${wanted} were reached`];
  }, LAYOUTS, ({ name }) => name === 'rehearsal' || name === 'matrix'));

check('on paper everything is unfolded, in dark type on white', () =>
  everywhere(async ({ page }) => {
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    // What is folded is laid out with the next frame.
    await page.evaluate(() => new Promise((done) =>
      requestAnimationFrame(() => requestAnimationFrame(done))));
    const wrong = await page.evaluate(() => {
      const found = [];
      for (const fold of document.querySelectorAll('details')) {
        const inner = fold.querySelector('table, dl, pre');
        if (!inner.checkVisibility({ contentVisibilityAuto: true })) {
          found.push(`${fold.querySelector('summary').textContent} is folded`);
        }
      }
      const { color, backgroundColor } = getComputedStyle(document.body);
      if (color !== 'rgb(27, 31, 36)') found.push(`type is ${color}`);
      if (backgroundColor !== 'rgb(255, 255, 255)') found.push(`the page is ${backgroundColor}`);
      return found;
    });
    const pdf = await page.pdf({ format: 'A4' });
    if (pdf.length < 10_000) wrong.push(`a PDF of ${pdf.length} bytes`);
    return [...wrong, ...await overflowing(page)];
  }, [{ viewport: PAPER, colorScheme: 'dark' }]));

check('hostile text stays text, even where no policy holds', async () => {
  const hostile = ({ name }) => name.startsWith('hostile');
  if (!pages.some(hostile)) throw new Error('there is no hostile page');
  await everywhere(async ({ page, noise }) => {
    await unfold(page);
    // What would run by itself has run by now; what waits for the pointer gets it.
    await page.evaluate(() => {
      for (const element of document.querySelectorAll('svg rect, td, summary')) {
        for (const kind of ['mouseover', 'click']) {
          element.dispatchEvent(new MouseEvent(kind, { bubbles: true, cancelable: true }));
        }
      }
    });
    const found = await page.evaluate(() => {
      const wrong = [];
      if (globalThis.hacked) wrong.push('a script ran');
      if (!document.body.textContent.includes('globalThis.hacked')) wrong.push('its text is gone');
      for (const element of document.querySelectorAll('*')) {
        const loads = ['script', 'img', 'iframe', 'link', 'object', 'base', 'form', 'image', 'use'];
        if (loads.includes(element.localName)) wrong.push(`there is a <${element.localName}>`);
        for (const { name } of element.attributes) {
          if (name.startsWith('on') || name === 'style') wrong.push(`there is an ${name}`);
        }
      }
      return wrong;
    });
    return [...noise, ...found];
  }, [{ viewport: WIDE, colorScheme: 'light', bypassCSP: true }], hostile);
});

/** What the README shows. */
check('screenshots are made where they are asked for', async () => {
  if (!screenshots) return;
  await mkdir(screenshots, { recursive: true });
  const page = pages.find(({ name }) => name === 'rehearsal');
  const wide = await open(page, { viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  await wide.page.screenshot({ path: join(screenshots, 'report-desktop.png') });
  await wide.close();
  const narrow = await open(page, { viewport: { width: 375, height: 1150 }, colorScheme: 'dark' });
  await narrow.page.evaluate(() => document.querySelector('#course').scrollIntoView());
  await narrow.page.screenshot({ path: join(screenshots, 'report-phone.png') });
  await narrow.close();
  for (const [look, { viewport, colorScheme }] of Object.entries({ wide: LAYOUTS[0], narrow: LAYOUTS[1] })) {
    const matrix = await open(pages.find(({ name }) => name === 'matrix'), { viewport, colorScheme });
    await matrix.page.screenshot({ path: join(screenshots, `matrix-${look}.png`) });
    await matrix.close();
  }
});

for (const [name, run] of checks) {
  try {
    await run();
    console.log(JSON.stringify({ check: name, ok: true }));
  } catch (error) {
    console.log(JSON.stringify({ check: name, ok: false, detail: String(error.message ?? error) }));
  }
}
await browser.close();
