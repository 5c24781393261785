// The console in headless Chromium, against the real binary: node check.mjs PATH_OF_TICKRING
// It loads without an error, its numbers move, it fits a phone in light and dark, and it survives a restart of the server.

import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { serve, watch } from "./gateway.mjs";

const modules = createRequire(join(process.env.CONSOLE_MODULES, "package.json"));
const load = async (name) => (await import(modules.resolve(name))).default;
const [chromium, puppeteer] = [await load("@sparticuz/chromium"), await load("puppeteer-core")];
const binary = process.argv[2];
const shots = process.env.CONSOLE_SHOTS;
const AWAIT = { timeout: 60_000, polling: 100 };

/** What the page complained of: errors, refused loads, breaches of its policy. */
const complaints = [];

async function open(browser, url) {
  const page = await browser.newPage();
  page.on("console", (said) => { if (["error", "warn"].includes(said.type())) complaints.push(`console: ${said.text()} ${said.location()?.url ?? ""}`); });
  page.on("pageerror", (error) => complaints.push(`script: ${error.message}`));
  page.on("requestfailed", (request) => {
    // What the page itself breaks off by being loaded anew is no fault.
    const why = request.failure()?.errorText;
    if (why !== "net::ERR_ABORTED") complaints.push(`load: ${request.url()} ${why}`);
  });
  page.on("response", (response) => { if (response.status() >= 400) complaints.push(`status ${response.status()}: ${response.url()}`); });
  await page.evaluateOnNewDocument(() => {
    window.breaches = [];
    document.addEventListener("securitypolicyviolation", (breach) => window.breaches.push(`${breach.violatedDirective}: ${breach.blockedURI}`));
  });
  await page.goto(url, { waitUntil: "domcontentloaded" });
  return page;
}

const tile = (page, name) => page.$eval(`[data-tile="${name}"] .value`, (value) => value.textContent);

async function quiet(page, when) {
  assert.deepEqual(complaints, [], when);
  assert.deepEqual(await page.evaluate(() => window.breaches), [], when);
}

async function picture(page, name) {
  if (shots === undefined) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

const until = (page, condition, ...given) => page.waitForFunction(condition, AWAIT, ...given);

/** Nothing reaches beyond the window, but for what scrolls by itself. */
async function fits(page, when) {
  const wide = await page.evaluate(() => {
    const root = document.documentElement;
    const out = [...document.querySelectorAll("body *")].filter((element) =>
      element.closest(".scroll, .log, .unseen, .skip") === null && element.getBoundingClientRect().right > root.clientWidth + 0.5);
    return { by: root.scrollWidth - root.clientWidth, out: out.map((element) => `${element.tagName}.${element.getAttribute("class")}`) };
  });
  assert.deepEqual(wide, { by: 0, out: [] }, when);
}

/** How bright a colour is, from 0 to 255. */
async function brightness(page) {
  const color = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const parts = color.match(/\d+/g).slice(0, 3).map(Number);
  return parts.reduce((sum, part) => sum + part, 0) / 3;
}

/** Its numbers are those of the gateway, and go on. */
async function moves(page) {
  await until(page, () => document.body.dataset.link === "live" && document.querySelector("#state").textContent === "serving");
  await until(page, () => document.querySelector('[data-tile="Connections"] .value')?.textContent === "2");
  await until(page, () => /^[1-9]/.test(document.querySelector('[data-tile="Deliveries a second"] .value')?.textContent ?? ""));
  const drawn = () => page.$eval("#chart-deliveries .curve", (curve) => curve.getAttribute("d"));
  const before = [await page.$eval("#clock", (clock) => clock.textContent), await drawn()];
  await until(page, ([clock, curve]) => document.querySelector("#clock").textContent !== clock
    && document.querySelector("#chart-deliveries .curve").getAttribute("d") !== curve, before);
}

async function isComplete(page) {
  const rows = (id) => page.$$eval(`#${id} tbody tr`, (found) => found.map((row) => row.textContent));
  assert.ok((await page.$$(".shard")).length > 0, "no shard is shown");
  assert.match((await rows("links")).join(), /paper.*up/, "the feed is no link that is up");
  await until(page, () => document.querySelectorAll("#log li .text").length > 0);
  assert.match(await page.$eval("#alerts", (list) => list.textContent), /Nothing to tell|Shard/);
}

/** All that can be operated is reached by the keyboard, in the order of the page. */
async function isOperatedByKeys(page) {
  await page.evaluate(() => document.activeElement?.blur());
  const reached = new Set();
  for (let press = 0; press < 40; press += 1) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.closest("[id]")?.id ?? document.activeElement.className));
  }
  for (const id of ["theme", "chart-connections", "chart-deliveries", "level", "log"]) assert.ok(reached.has(id), `${id} is not reached by Tab: ${[...reached]}`);
  await page.$eval("#chart-deliveries svg", (chart) => chart.focus());
  await page.keyboard.press("ArrowLeft");
  assert.match(await page.$eval("#chart-deliveries .legend", (legend) => legend.textContent), /\d\d:\d\d:\d\d/);
  await page.keyboard.press("Escape");
}

async function isThemed(page) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  assert.ok(await brightness(page) < 60, "dark is not dark");
  await picture(page, "dark");
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
  assert.ok(await brightness(page) > 200, "light is not light");
  await picture(page, "light");
  // The choice goes before the system's, and outlives the page.
  for (let press = 0; press < 2; press += 1) await page.click("#theme");
  assert.ok(await brightness(page) < 60, "the toggle does not choose dark");
  await page.reload({ waitUntil: "domcontentloaded" });
  assert.ok(await brightness(page) < 60, "the choice is forgotten");
  await page.click("#theme");
  assert.ok(await brightness(page) > 200, "the toggle does not come back to the system's");
}

async function isForPhones(page) {
  for (const scheme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.setViewport({ width: 360, height: 740, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
    await until(page, () => document.querySelectorAll(".shard").length > 0 && document.querySelectorAll("#chart-bytes .curve").length > 0);
    await fits(page, `at 360 px, ${scheme}`);
    await picture(page, `phone-${scheme}`);
  }
  await page.setViewport({ width: 1440, height: 1000 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
}

/** The server dies and comes back at the same address. */
async function survives(page, first, clients) {
  const control = first.http.replace("http://", "");
  // The page began anew when it ceased to be a phone's.
  await until(page, () => document.body.dataset.link === "live");
  await quiet(page, "before the restart");
  await first.kill();
  await Promise.all(clients.map((client) => client.stop()));
  await until(page, () => document.body.dataset.link === "away" && !document.querySelector("#away").hidden);
  assert.equal(await page.$eval("#state", (state) => state.textContent), "away");
  assert.match(await page.$eval("#away", (banner) => banner.textContent), /last heard at \d\d:\d\d:\d\d/);
  await picture(page, "away");
  const second = await serve(binary, control);
  const others = [0, 1].map(() => watch(binary, second.ws, ["ticker.*.raw"]));
  await moves(page);
  assert.equal(await page.$eval("#away", (banner) => banner.hidden), true);
  await until(page, () => document.querySelectorAll("#chart-connections .mark").length === 1);
  // What failed meanwhile is what a browser says of a server that is not there.
  const other = complaints.filter((complaint) => !/ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)/.test(complaint));
  assert.deepEqual(other, [], "besides what a dead server makes fail");
  complaints.length = 0;
  await until(page, (clock) => document.querySelector("#clock").textContent !== clock, await page.$eval("#clock", (clock) => clock.textContent));
  await quiet(page, "after the restart");
  return { second, others };
}

/** A drain is told, and the end of it is clean. */
async function tellsOfDrains(page, server) {
  await page.evaluate(() => {
    window.drained = new Promise((told) => new MutationObserver(() => {
      if (!document.querySelector("#draining").hidden || document.body.dataset.link === "away") told();
    }).observe(document.body, { subtree: true, attributes: true }));
  });
  const ended = server.stop();
  await page.evaluate(() => window.drained);
  assert.deepEqual(await ended, { code: 0, by: null });
}

rmSync(join(process.env.TMPDIR, "profile"), { recursive: true, force: true });
const browser = await puppeteer.launch({
  executablePath: await chromium.executablePath(), headless: "shell", userDataDir: join(process.env.TMPDIR, "profile"),
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-zygote", "--hide-scrollbars"],
});
const running = [];
try {
  console.log(await browser.version());
  const server = await serve(binary);
  const clients = [0, 1].map(() => watch(binary, server.ws, ["ticker.*.raw"]));
  running.push(server, ...clients);
  const page = await open(browser, `${server.http}/`);
  await page.setViewport({ width: 1440, height: 1000 });
  const steps = { moves, isComplete, isOperatedByKeys, isThemed, isForPhones, quiet: (of) => quiet(of, "in all") };
  for (const [name, step] of Object.entries(steps)) {
    await step(page);
    console.log(`ok: ${name}`);
  }
  const { second, others } = await survives(page, server, clients);
  running.push(second, ...others);
  console.log("ok: survives a restart");
  await tellsOfDrains(page, second);
  console.log("ok: tells of drains");
} catch (error) {
  console.error(error, complaints);
  const [page] = (await browser.pages()).slice(-1);
  console.error(await page.evaluate(() => document.body.innerText.slice(0, 2000)));
  await picture(page, "failed");
  process.exitCode = 1;
} finally {
  await browser.close();
  for (const each of running) await (each.kill ?? each.stop)();
}
