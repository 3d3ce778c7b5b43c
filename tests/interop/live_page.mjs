// The live page of a real watch, followed from a healthy pair through a restart of the agent into a
// loss. It is run by `cargo test --test interop`, which says in the environment where things are,
// and does what is asked for on standard output: "done" on standard input is its answer.

import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const { modules, browser: executable, url, screenshots } =
  JSON.parse(process.env.PUSHER_CANARY_INTEROP_TARGET);
const require = createRequire(join(modules, 'package.json'));
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');

const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 375, height: 800 };
const LOOKS = [WIDE, NARROW].flatMap((viewport) =>
  ['light', 'dark'].map((colorScheme) => ({ viewport, colorScheme })));
// What the page may weigh, uncompressed, as it is served.
const BYTES_MAX = 48 * 1024;
// For so long an answer is fresh; the page looks at its clock once a second.
const STALE = 6000, TICK = 1000;
// It asks at least so often while nobody answers, and gives up on an answer after as long.
const SELDOM = 10_000;
// How long a verdict may take: its trials, the horizon, and a window's worth of stalls.
const VERDICT = 60_000;
// What WCAG asks between text and what is behind it.
const CONTRAST_MIN = 4.5;

const checks = [];
const check = (name, run) => checks.push([name, run]);
const demand = (is, what) => { if (!is) throw new Error(what); };
const none = (wrong) => demand(wrong.length === 0, wrong.slice(0, 20).join('\n'));

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
/** Has the test do something, and waits until it is done. */
async function ask(deed) {
  console.log(JSON.stringify({ ask: deed }));
  const { value } = await answers.next();
  demand(value === 'done', `${deed}: ${value ?? 'nobody is there'}`);
}

// Root has no sandbox, and nothing here comes from outside. No name is ever resolved.
const browser = await chromium.launch({
  executablePath: executable,
  args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});

// What any page did that it must not do.
const noise = [];
// Chromium itself writes down each question that nobody answers. Until an agent has begun, and
// while it is away, that is how it should be.
let isAway = true;

/** Opens the page, with what it must not do written down. */
async function open(look) {
  const context = await browser.newContext(look);
  const page = await context.newPage();
  const requests = [];
  page.on('console', (message) => {
    const unanswered = message.text().startsWith('Failed to load resource:')
      && message.location().url === `${url}api/live`;
    if (!(isAway && unanswered)) noise.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => noise.push(`error: ${error}`));
  page.on('dialog', (dialog) => { noise.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => {
    requests.push(request.url());
    if (![url, `${url}api/live`, 'data:,'].includes(request.url())) {
      noise.push(`request: ${request.url()}`);
    }
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener('securitypolicyviolation', (event) =>
      globalThis.violations.push(`${event.violatedDirective} by ${event.blockedURI}`));
  });
  const response = await page.goto(url);
  await page.locator('#body').waitFor({ timeout: VERDICT });
  const close = async () => {
    noise.push(...await page.evaluate(() => globalThis.violations));
    await context.close();
  };
  return { page, response, requests, close };
}

/** Runs this on the page in each look; what it returns is what is wrong. */
async function everywhere(run, looks = LOOKS) {
  const wrong = [];
  for (const look of looks) {
    const { page, close } = await open(look);
    const found = await run(page, look);
    wrong.push(...found.map((what) => `at ${look.viewport.width}, ${look.colorScheme}: ${what}`));
    await close();
  }
  none(wrong);
}

const unfold = (page) => page.evaluate(() => {
  for (const fold of document.querySelectorAll('details')) fold.open = true;
});

const violations = async (page) => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations'],
  }));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((n) => n.html)}`);
};

const word = (page) => page.locator('#word').textContent();
const text = (page, id) => page.locator(`#${id}`).textContent();
const until = (page, shown, timeout = VERDICT) => page.waitForFunction(
  (shown) => document.getElementById('word').textContent === shown, shown, { timeout });
/** A figure of the tables of old and new, by the words of its row. */
const figure = (page, label) => page.evaluate((label) => {
  const rows = [...document.querySelectorAll('#figures tbody tr')];
  const row = rows.find((one) => one.cells[0].textContent === label);
  return [...row.cells].slice(1).map((cell) => Number(cell.textContent.replaceAll(',', '')));
}, label);

// One page stays open from here to the end and is never loaded anew. All that it ever says is kept.
const { page, response, requests } = await open({ viewport: WIDE, colorScheme: 'light' });
await page.evaluate(() => {
  globalThis.isSame = true;
  globalThis.seen = [];
  const look = () => {
    const [face, word] = ['face', 'word'].map((id) => document.getElementById(id));
    const { textContent: run } = document.querySelector('#facts div:nth-child(3) dd');
    const { title } = document;
    globalThis.seen.push({ word: word.textContent, face: face.className, title, run });
  };
  new MutationObserver(look).observe(document.documentElement,
    { subtree: true, childList: true, characterData: true, attributes: true });
  globalThis.heard = [];
  const told = document.getElementById('told');
  new MutationObserver(() => globalThis.heard.push(told.textContent))
    .observe(told, { childList: true, characterData: true, subtree: true });
});
isAway = false;
const seen = () => page.evaluate(() => globalThis.seen?.splice(0) ?? []);
const told = () => page.evaluate(() => globalThis.heard?.splice(0) ?? []);
const isSame = () => page.evaluate(() => globalThis.isSame === true);

check('the page is one small file with a policy, and all that it loads', async () => {
  const { length } = await response.body();
  demand(length > 10_000 && length <= BYTES_MAX, `it has ${length} bytes`);
  const headers = response.headers();
  const policy = headers['content-security-policy'] ?? '';
  demand(policy.startsWith("default-src 'none';"), `its policy is ${policy}`);
  demand(headers['cache-control'] === 'no-store', `it may be kept: ${headers['cache-control']}`);
  const others = requests.filter((request) => request !== `${url}api/live` && request !== 'data:,');
  demand(others.join() === url, `it loaded ${others}`);
});

check('a healthy pair is GO with its reasons, and old stands beside new', async () => {
  await until(page, 'GO');
  demand((await page.title()).startsWith('GO: '), `the title is ${await page.title()}`);
  const reasons = await page.locator('#reasons li').allTextContents();
  demand(reasons.length > 0 && reasons.every(Boolean), `the reasons are ${reasons}`);
  const heads = await page.locator('#figures table').first().locator('thead th').allTextContents();
  demand(heads.join() === 'old,new', `the columns are ${heads}`);
  const boxes = await page.locator('#figures table').first().locator('tbody tr').first()
    .locator('td').evaluateAll((cells) => cells.map((cell) => cell.getBoundingClientRect()));
  demand(boxes[0].top === boxes[1].top && boxes[0].right <= boxes[1].left, 'new is not beside old');
  const [delivered, lost] = [await figure(page, 'delivered'), await figure(page, 'lost')];
  demand(delivered.every((count) => count > 0), `delivered: ${delivered}`);
  demand(lost.every((count) => count === 0), `lost: ${lost}`);
  demand(await page.locator('#no-incidents').isVisible(), 'there are incidents where all is well');
});

let run = '';
check('an agent that is gone is said to be gone, and no verdict is shown of it', async () => {
  await until(page, 'GO');
  run = await page.locator('#facts dd').nth(2).textContent();
  demand(/^[0-9a-f-]{36}$/.test(run), `the run is ${run}`);
  await told();
  isAway = true;
  await ask('stop');
  const stopped = performance.now();
  // What it heard last stays fresh for a moment, and no longer.
  await until(page, 'no answer', STALE + 2 * TICK);
  const took = Math.round(performance.now() - stopped);
  await seen();
  await page.waitForFunction(() => document.getElementById('link').textContent.includes('reached'),
    null, { timeout: SELDOM + TICK });
  const link = await text(page, 'link');
  demand(/^No answer since .*it cannot be reached.*of then\.$/.test(link), `it says ${link}`);
  const since = await text(page, 'since');
  demand(/^The last verdict was [A-Z-]+, since /.test(since), `it says ${since}`);
  demand((await page.title()).startsWith('no answer: '), `the title is ${await page.title()}`);
  demand((await told()).some((one) => one.startsWith('No answer since')), 'it is not announced');
  // It asks again, more than once, and nothing comes of it.
  const before = requests.length;
  while (requests.length < before + 2) {
    await page.waitForEvent('request', { timeout: SELDOM + TICK });
  }
  const wrong = (await seen()).filter(({ word, face, title }) =>
    word !== 'no answer' || face !== 'verdict none' || !title.startsWith('no answer: '));
  none(wrong.map((one) => `later than ${took} ms after the end: ${JSON.stringify(one)}`));
});

check('axe finds nothing to mend while the agent is gone', async () => {
  none(await violations(page));
});

check('it recovers by itself from a restart of the agent, and shows the new run', async () => {
  await seen();
  await ask('start');
  await page.waitForFunction(() => document.getElementById('word').textContent !== 'no answer',
    null, { timeout: SELDOM + VERDICT });
  isAway = false;
  await until(page, 'GO');
  demand(await isSame(), 'it was loaded anew');
  // What the run before came to is no verdict of this one.
  none((await seen()).filter((one) => one.word !== 'no answer' && one.run === run)
    .map((one) => `of the run before: ${JSON.stringify(one)}`));
  demand((await told()).join(' ').includes('The agent answers again.'), 'it is not announced');
});

check('a loss on new is NO-GO by itself, with its reasons, figures and incidents', async () => {
  await told();
  await ask('lose');
  await until(page, 'NO-GO');
  demand((await page.title()).startsWith('NO-GO: '), `the title is ${await page.title()}`);
  await page.locator('#newest tbody tr').first().waitFor();
  const reasons = await page.locator('#reasons li').allTextContents();
  demand(reasons.some((one) => one.startsWith('loss on new: ')), `the reasons are ${reasons}`);
  none(reasons.filter((one) => one.includes('on old')));
  await page.waitForFunction(() => document.getElementById('told').textContent.includes('NO-GO'));
  const [old, fresh] = await figure(page, 'lost');
  demand(old === 0 && fresh > 0, `lost: ${old} on old, ${fresh} on new`);
  const incidents = await page.locator('#newest tbody tr, #older tbody tr').evaluateAll((rows) =>
    rows.map((row) => [...row.cells].slice(1, 3).map((cell) => cell.textContent).join(' ')));
  none(incidents.filter((one) => one !== 'new lost'));
  demand(incidents.length > 0, 'there is no incident');
  const failed = await page.locator('#open tbody tr').evaluateAll((rows) =>
    rows.map((row) => [...row.cells].slice(0, 3).map((cell) => cell.textContent).join(' ')));
  demand(failed.includes('fail loss new'), `what failed or is open: ${failed}`);
  const panels = await page.locator('#charts .panel').allTextContents();
  demand(panels.includes('old 0 lost') && panels.some((one) => /^new [1-9][\d,]* lost$/.test(one)),
    `the charts say ${panels}`);
  // What lies between two losses is nothing to rely on.
  await page.locator('#safe', { hasText: /^Not safe/ }).waitFor();
  const loads = requests.filter((one) => one === url).length;
  demand(await isSame() && loads === 1, 'it was loaded anew');
});

check('figures move on by themselves, and what is announced does not repeat', async () => {
  const at = () => page.evaluate(() => document.getElementById('link').textContent);
  await told();
  const links = new Set();
  while (links.size < 4) {
    const before = await at();
    links.add(before);
    await page.waitForFunction((before) => document.getElementById('link').textContent !== before,
      before, { timeout: SELDOM });
  }
  none((await told()).filter((one) => !/^\d+ new incidents?, the last: lost on new\.$/.test(one)));
});

check('landmarks, headings and live regions are there for who cannot see', async () => {
  const found = await page.evaluate(() => {
    const wrong = [];
    const one = (what) => {
      if (document.querySelectorAll(what).length !== 1) wrong.push(`there is not one ${what}`);
    };
    ['main', 'body > header', 'body > footer', 'nav[aria-label]', 'h1', '[role=status]']
      .forEach(one);
    const headings = [...document.querySelectorAll('h1, h2, h3, h4')];
    const levels = headings.map((heading) => Number(heading.localName[1]));
    const skips = levels.some((level, n) => level > (levels[n - 1] ?? 0) + 1);
    if (skips) wrong.push(`levels of headings: ${levels}`);
    for (const section of document.querySelectorAll('section')) {
      const name = document.getElementById(section.getAttribute('aria-labelledby'));
      if (!name?.textContent) wrong.push(`section ${section.id} has no name`);
    }
    for (const image of document.querySelectorAll('svg[role=img]')) {
      if (!image.getAttribute('aria-label')) wrong.push('a chart says nothing');
    }
    for (const table of document.querySelectorAll('table')) {
      if (!table.caption?.textContent) wrong.push('a table has no caption');
    }
    return wrong;
  });
  none(found);
  const tree = await page.locator('main').ariaSnapshot();
  const isHeading = /heading "NO-GO .*\[level=1\]/.test(tree);
  demand(isHeading, `the verdict is no heading: ${tree.slice(0, 200)}`);
});

check('axe finds nothing to mend, in any look, running or paused', () =>
  everywhere(async (page) => {
    await unfold(page);
    const running = await violations(page);
    await page.locator('#pause').click();
    const paused = await violations(page);
    return [...running, ...paused.map((what) => `paused: ${what}`)];
  }));

check('nothing is wider than the screen, folded or not', () =>
  everywhere(async (page) => {
    const overflowing = () => page.evaluate(() => {
      const wide = document.documentElement.clientWidth;
      const wrong = [];
      if (document.documentElement.scrollWidth > wide) wrong.push('the page scrolls sideways');
      for (const element of document.querySelectorAll('body *')) {
        if (element.closest('.scroll, .skip, .unseen, .cards thead, svg')) continue;
        const { right, left, width } = element.getBoundingClientRect();
        if (width > 0 && (right > wide + 1 || left < -1)) {
          wrong.push(`<${element.localName} class="${element.className}"> ends at ${right}`);
        }
      }
      return wrong;
    });
    const folded = await overflowing();
    await unfold(page);
    return [...folded, ...await overflowing()];
  }, [...LOOKS, { viewport: { width: 320, height: 640 }, colorScheme: 'light' }]));

check('text stands out from what is behind it, on light and on dark', () =>
  everywhere((page, { colorScheme }) => page.evaluate(([scheme, least]) => {
    const wrong = [];
    const channels = (color) => color.match(/[\d.]+/g).map(Number);
    const light = (color) => channels(color).slice(0, 3).map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
      .reduce((sum, value, n) => sum + value * [0.2126, 0.7152, 0.0722][n], 0);
    const contrast = (a, b) => {
      const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
      return (high + 0.05) / (low + 0.05);
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const { backgroundColor } = getComputedStyle(at);
        if (channels(backgroundColor)[3] !== 0) return backgroundColor;
      }
      return 'rgb(255, 255, 255)';
    };
    const page = light(behind(document.body));
    const isAsked = scheme === 'dark' ? page < 0.1 : page > 0.8;
    if (!isAsked) wrong.push(`the page has a luminance of ${page}`);
    const places = ['#word', '#name', '#reasons li', '#since', '.quiet', 'td.wrong', '.status.fail',
      '#link', '#pause', '.facts dt', 'nav a', 'caption', 'summary'];
    for (const place of places) {
      const element = document.querySelector(place);
      const found = element && contrast(getComputedStyle(element).color, behind(element));
      if (!(found >= least)) wrong.push(`${place}: ${found}`);
    }
    // Lines are no text: they need less.
    for (const line of document.querySelectorAll('.plot .line.old, .plot .line.new')) {
      const found = contrast(getComputedStyle(line).stroke, behind(document.body));
      if (!(found >= 3)) wrong.push(`a line: ${found}`);
    }
    return wrong;
  }, [colorScheme, CONTRAST_MIN])));

check('the keyboard reaches all that can be operated, in order, and shows where it is', () =>
  everywhere(async (page) => {
    // What is asked for is there before, so that answers add no stop on the way.
    await unfold(page);
    const wanted = await page.evaluate(() => {
      const all = [...document.querySelectorAll('a, button, summary, [tabindex="0"]')]
        .filter((element) => element.getClientRects().length > 0);
      globalThis.stops = all;
      return all.map((e) => `${e.localName} ${e.getAttribute('aria-label') ?? e.textContent}`);
    });
    const stops = [], wrong = [];
    for (;;) {
      await page.keyboard.press('Tab');
      const [at, outline, shown] = await page.evaluate(() => {
        const e = document.activeElement;
        const { left, right, width, height } = e.getBoundingClientRect();
        return [globalThis.stops.indexOf(e), getComputedStyle(e).outlineStyle,
          left >= 0 && right <= innerWidth && width > 0 && height > 0];
      });
      if (at < 0 || stops.length > wanted.length) break;
      stops.push(at);
      if (outline === 'none' || !shown) wrong.push(`${wanted[at]} does not show that it has focus`);
    }
    if (stops.join() !== wanted.map((_, n) => n).join()) {
      wrong.push(`of ${wanted.join(', ')} it reaches ${stops}`);
    }
    return wrong;
  }, [LOOKS[0], LOOKS.at(-1)]));

check('the keyboard leads to the verdict, and pauses, which shows no verdict', () =>
  everywhere(async (page) => {
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    demand(await page.evaluate(() => document.activeElement.id) === 'verdict', 'it led elsewhere');
    await page.locator('#pause').focus();
    await page.keyboard.press('Space');
    demand(await word(page) === 'paused', `paused, it shows ${await word(page)}`);
    demand((await page.title()).startsWith('paused: '), `the title is ${await page.title()}`);
    const pressed = await page.locator('#pause').getAttribute('aria-pressed');
    demand(pressed === 'true', `whether it is pressed: ${pressed}`);
    await page.keyboard.press('Space');
    await until(page, 'NO-GO', SELDOM);
    return [];
  }, [LOOKS[0]]));

check('screenshots are made where they are asked for', async () => {
  if (!screenshots) return;
  await mkdir(screenshots, { recursive: true });
  const shots = { 'desktop': LOOKS[0], 'desktop-dark': LOOKS[1], 'phone': LOOKS[2] };
  for (const [name, look] of Object.entries(shots)) {
    const { page, close } = await open(look);
    await until(page, 'NO-GO', SELDOM);
    await page.screenshot({ path: join(screenshots, `watch-${name}.png`) });
    await close();
  }
});

// The last one: what any page did until here.
check('pages ask nobody but the agent, say nothing and keep their policy', async () => {
  noise.push(...await page.evaluate(() => globalThis.violations));
  none(noise);
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
process.stdin.destroy();
