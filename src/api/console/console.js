// The operator's console: one stream of events, drawn. Home: the browser.
// Invariants: it asks nobody but its own server; what the server says becomes text, never markup (names of topics are clients');
// it says when the gateway is away, and comes back by itself.
"use strict";

const HISTORY = 300; // events that are drawn: five minutes
const AWAY_MS = 3500; // without an event for so long, the gateway is away
const LISTS_MS = 2000; // how often lists are asked for
const ROWS = 10;
const STAGES = {
  decode: "receive → decoded", request: "receive → reply", publish_lossless: "publish, lossless", publish_latest: "publish, latest",
  order: "order → venue → reply", turn: "length of turns", mesh: "between threads", upgrade: "accept → upgraded",
};
const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; strings become text. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// How numbers are written.

function scaled(number, base, units) {
  let at = 0;
  while (Math.abs(number) >= base && at < units.length - 1) { number /= base; at += 1; }
  const digits = at === 0 && Number.isInteger(number) ? 0 : at === 0 && Math.abs(number) < 10 ? 1 : Math.abs(number) < 10 ? 2 : Math.abs(number) < 100 ? 1 : 0;
  return number.toFixed(digits) + units[at];
}
const none = (number) => number === null || number === undefined || Number.isNaN(number);
const count = (number) => none(number) ? "–" : scaled(number, 1000, ["", "k", "M", "G"]);
const bytes = (number) => none(number) ? "–" : scaled(number, 1024, [" B", " KiB", " MiB", " GiB"]);
const time = (ns) => none(ns) ? "–" : ns === 0 ? "0" : scaled(ns, 1000, [" ns", " µs", " ms", " s"]);
const share = (of) => none(of) ? "–" : (of * 100).toFixed(of < 0.1 ? 1 : 0) + " %";
const clock = (ms) => new Date(ms).toTimeString().slice(0, 8);

function span(seconds) {
  const [d, h, m, s] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds % 60)];
  return d > 0 ? `${d}d ${h}h` : h > 0 ? `${h}h ${m}m` : m > 0 && s > 0 ? `${m}m ${s}s` : m > 0 ? `${m}m` : `${s}s`;
}

function measured(number, unit) {
  switch (unit) {
    case "seconds": return time(number * 1e9);
    case "share": return share(number);
    case "per_second": return count(number) + "/s";
    default: return count(number);
  }
}

// Charts: lines over the last five minutes, the axis and the newest values on the right.

/** Steps of an axis from 0 to at least `max`, round in units of `base`. */
function niceTicks(max, base) {
  const unit = base ** Math.max(0, Math.floor(Math.log(max) / Math.log(base)));
  const rough = max / unit / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) * power * unit;
  return Array.from({ length: Math.ceil(max / step - 1e-9) + 1 }, (_, nth) => nth * step);
}

class Chart {
  constructor(place, series, { format, log = false, least = 1, base = 1000 }) {
    Object.assign(this, { series, format, log, least, base, at: null });
    this.legend = el("div", { class: "legend" });
    this.figure = svg("svg", { role: "img", tabindex: "0" });
    place.replaceChildren(this.legend, this.figure);
    this.figure.addEventListener("pointermove", (event) => this.point(event.clientX - this.figure.getBoundingClientRect().left));
    this.figure.addEventListener("pointerleave", () => this.choose(null));
    this.figure.addEventListener("blur", () => this.choose(null));
    this.figure.addEventListener("keydown", (event) => {
      const last = points.length - 1;
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -HISTORY, End: HISTORY }[event.key];
      if (event.key === "Escape") this.choose(null);
      if (move === undefined || last < 0) return;
      event.preventDefault();
      this.choose(Math.min(Math.max((this.at ?? last) + move, 0), last));
    });
  }

  choose(at) { this.at = at; this.draw(); }

  /** The event nearest to a place. */
  point(x) {
    if (points.length === 0) return;
    const wanted = newest() - (1 - x / this.width) * shownMs();
    let nearest = 0;
    points.forEach((point, nth) => { if (Math.abs(point.t - wanted) < Math.abs(points[nearest].t - wanted)) nearest = nth; });
    this.choose(nearest);
  }

  draw() {
    const box = this.figure.getBoundingClientRect();
    if (box.width === 0) return;
    const axis = 62, foot = 16, height = box.height - foot;
    this.width = box.width - axis;
    const x = (t) => this.width - (newest() - t) / shownMs() * this.width;
    const [y, ticks] = this.scale(height);
    const parts = ticks.flatMap((tick) => [
      svg("line", { class: "gridline", x1: 0, x2: this.width, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "axis", x: this.width + 8, y: y(tick) + 4 }, this.format(tick)),
    ]);
    const stepMs = shownMs() / (box.width < 420 ? 2 : 4);
    for (let agoMs = 0; agoMs <= shownMs(); agoMs += stepMs) {
      const anchor = agoMs === 0 ? "end" : agoMs === shownMs() ? "start" : "middle";
      parts.push(svg("text", { class: "axis", x: this.width - agoMs / shownMs() * this.width, y: box.height - 3, "text-anchor": anchor },
        agoMs === 0 ? "now" : `−${span(agoMs / 1000)}`));
    }
    for (const mark of restarts.filter((t) => x(t) >= 0)) {
      parts.push(svg("line", { class: "mark", x1: x(mark), x2: x(mark), y1: 0, y2: height }, svg("title", {}, "restarted")));
    }
    this.series.forEach((series) => parts.push(...this.curve(series, x, y, height)));
    parts.push(...this.lastTags(y, height));
    if (this.at !== null && points[this.at]) {
      const at = x(points[this.at].t);
      parts.push(svg("line", { class: "cross", x1: at, x2: at, y1: 0, y2: height }));
    }
    this.figure.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    this.figure.replaceChildren(...parts);
    this.tell();
  }

  scale(height) {
    const values = points.flatMap((point) => this.series.map((series) => series.of(point))).filter((value) => !none(value));
    if (!this.log) {
      const ticks = niceTicks(Math.max(this.least, ...values), this.base);
      const top = ticks[ticks.length - 1];
      return [(value) => height - value / top * (height - 10), ticks];
    }
    const positive = values.filter((value) => value > 0);
    const low = Math.floor(Math.log10(Math.min(1e4, ...positive))), high = Math.ceil(Math.log10(Math.max(1e6, ...positive)));
    const ticks = Array.from({ length: high - low + 1 }, (_, nth) => 10 ** (low + nth));
    return [(value) => height - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) * (height - 10), ticks];
  }

  /** Lines between events that follow each other; a hole where the gateway was away. */
  curve({ of, color, fill }, x, y, height) {
    let line = "", area = "", begun = null, before = null;
    const close = () => { if (begun !== null) area += `L${before.x},${height}L${begun},${height}Z`; begun = null; };
    for (const point of points) {
      const value = of(point);
      if (none(value)) { close(); before = null; continue; }
      const place = { x: x(point.t).toFixed(1), y: y(value).toFixed(1), t: point.t };
      if (before === null || point.t - before.t > AWAY_MS) {
        close();
        begun = place.x;
        line += `M${place.x},${place.y}`;
        area += `M${place.x},${place.y}`;
      } else {
        line += `L${place.x},${place.y}`;
        area += `L${place.x},${place.y}`;
      }
      before = place;
    }
    close();
    const curve = svg("path", { class: `curve ${color}`, d: line });
    return fill ? [svg("path", { class: `area ${color}`, d: area }), curve] : [curve];
  }

  /** The newest value of each line on the axis, where they have room. */
  lastTags(y, height) {
    const last = points[points.length - 1];
    const tags = last ? this.series.map((series) => ({ series, value: series.of(last) })).filter(({ value }) => !none(value)) : [];
    tags.forEach((tag) => { tag.y = Math.min(Math.max(y(tag.value), 8), height - 8); });
    tags.sort((a, b) => a.y - b.y);
    tags.forEach((tag, nth) => { if (nth > 0) tag.y = Math.max(tag.y, tags[nth - 1].y + 17); });
    return tags.filter((tag) => tag.y <= height + 4).map(({ series, value, y: at }) => svg("g", { class: `last ${series.color}` },
      svg("rect", { x: this.width + 3, y: at - 8, width: 59, height: 16, rx: 3 }),
      svg("text", { x: this.width + 8, y: at + 4 }, this.format(value))));
  }

  /** The values that are pointed at, or the newest; for those who cannot see the lines as well. */
  tell() {
    const point = points[this.at ?? points.length - 1];
    const items = this.series.map((series) => el("span", {}, el("i", { class: series.color }), series.label + " ",
      el("b", {}, point ? this.format(series.of(point)) : "–")));
    const at = point && this.at !== null ? [el("time", {}, clock(point.t))] : [];
    this.legend.replaceChildren(...items, ...at);
    const said = this.series.map((series) => `${series.label} ${point ? this.format(series.of(point)) : "unknown"}`).join(", ");
    this.figure.setAttribute("aria-label", `${said}${at.length > 0 ? ` at ${clock(point.t)}` : ", the newest"}. Arrow keys go through the last five minutes.`);
  }
}

/** A small line below a tile. */
function spark(of, color) {
  const values = points.slice(-120).map(of);
  const known = values.filter((value) => !none(value));
  const top = Math.max(1e-9, ...known), low = Math.min(...known, top) * 0.9;
  let line = "", pen = "M";
  values.forEach((value, nth) => {
    if (none(value)) { pen = "M"; return; }
    const x = 200 - (values.length - 1 - nth) * (200 / 119);
    line += `${pen}${x.toFixed(1)},${(27 - (value - low) / (top - low || 1) * 24).toFixed(1)}`;
    pen = "L";
  });
  return svg("svg", { viewBox: "0 0 200 30", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: `curve ${color}`, d: line, "vector-effect": "non-scaling-stroke" }));
}

// What is known.

let points = []; // {t, event}, oldest first
let restarts = [];
let heard = null; // when the last event came, by this machine's clock
let charts = [];
let source = null;
let openedAt = 0;
let logTotal = null, logLines = [];
let topicsBefore = new Map();

const newest = () => points.length > 0 ? points[points.length - 1].t : Date.now();
/** How far back is drawn: a minute at first, then as much as there is, up to all that is kept. */
function shownMs() {
  const known = points.length > 0 ? newest() - points[0].t : 0;
  return [60_000, 120_000].find((ms) => known <= ms) ?? HISTORY * 1000;
}
const rate = (name) => (point) => point.event.rates?.[name];
const stage = (name) => (point) => point.event.stages.find((of) => of.stage === name && of.count > 0)?.p99_ns;

const TILES = [
  ["Connections", (of) => of.event.connections, count, (event) => `of ${count(event.connections_max)} places`],
  ["Deliveries a second", rate("deliveries"), count, (event) => `${bytes(event.rates?.transmitted_bytes)}/s out`],
  ["Requests a second", rate("requests"), count, (event) => failures(event.rates)],
  ["Events a second", rate("events"), count, (event) => `${count(event.topics)} topics, ${count(event.instruments)} instruments`],
  ["Orders a second", rate("orders"), count, (event) => `${count(event.rates?.fills)} fills/s`],
  ["Memory of the budget", (of) => of.event.memory_held_bytes / of.event.memory_budget_bytes, share, (event) => `${bytes(event.memory_held_bytes)}; ${bytes(event.resident_bytes)} resident`],
];

function failures(rates) {
  if (none(rates?.requests) || rates.requests === 0) return "none asked";
  return rates.requests_failed === 0 ? "none failed" : `${share(rates.requests_failed / rates.requests)} failed`;
}

// Panels.

function drawTiles(event) {
  byId("tiles").replaceChildren(...TILES.map(([name, of, format, note], nth) => el("div", { class: "tile", "data-tile": name },
    el("div", { class: "name" }, name), el("div", { class: "value" }, format(of({ event }))),
    el("div", { class: "note" }, note(event)), spark(of, `c${nth}`))));
}

function drawAlerts({ alerts }) {
  const firing = alerts.filter((alert) => alert.state === "firing").length;
  byId("alerts-count").textContent = alerts.length === 0 ? "" : `${firing} firing, ${alerts.length - firing} pending`;
  const items = alerts.map((alert) => el("li", { class: `${alert.severity} ${alert.state}`, "data-alert": alert.name },
    el("span", { class: `chip ${alert.severity === "critical" ? "bad" : "warn"}` }, alert.state === "firing" ? alert.severity : "pending"),
    el("span", { class: "what" }, el("b", {}, alert.name.replace("Tickring", "")), " ", alert.summary),
    el("span", { class: "measured" }, `${measured(alert.value, alert.unit)} / ${measured(alert.threshold, alert.unit)} · ${span((newest() - alert.since_unix_ms) / 1000)}`),
    el("span", { class: "cure" }, alert.cure)));
  byId("alerts").replaceChildren(...(items.length > 0 ? items : [el("li", { class: "calm" }, "Nothing to tell.")]));
  // A screen reader is told of what is new, not each second of all.
  const said = alerts.filter((alert) => alert.state === "firing").map((alert) => alert.summary).join(" ");
  if (byId("alerts-said").textContent !== said) byId("alerts-said").textContent = said;
}

function drawShards({ shards }) {
  byId("shards").replaceChildren(...shards.map((of) => {
    const busy = of.busy_share ?? 0;
    const [word, kind] = [["normal", "good"], ["guarded", "warn"], ["shedding", "bad"]][of.overload_stance] ?? ["?", "warn"];
    const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
    return el("div", { class: "shard" },
      el("h3", {}, el("span", {}, of.thread), el("span", { class: `chip ${kind}` }, word)),
      svg("svg", { class: `bar ${busy > 0.8 ? "c6" : busy > 0.5 ? "c3" : "c0"}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": `busy ${share(busy)}` },
        svg("rect", { class: "track", width: 100, height: 6, rx: 1 }), svg("rect", { class: "fill", width: Math.min(100, busy * 100), height: 6, rx: 1 })),
      el("dl", {}, fact("busy", share(of.busy_share)), fact("clients", count(of.connections)),
        fact("turn, mean", time(of.turn_mean_ns)), fact("deliveries/s", count(of.deliveries_per_second)),
        fact("turn, max", time(of.turn_max_ns)), fact("turns/s", count(of.turns_per_second)),
        fact("deepest queue", count(of.queue_deepest_frames)), fact("memory", bytes(of.memory_bytes))));
  }));
}

/** A table: columns are [head, cell of a row, class]. */
function drawTable(id, columns, rows, empty) {
  const head = el("tr", {}, ...columns.map(([name, , kind = ""]) => el("th", { scope: "col", class: kind }, name)));
  const cell = (row) => ([, of, kind = ""]) => {
    const value = of(row);
    return el("td", typeof value === "string" ? { class: kind, title: kind.includes("long") ? value : "" } : { class: kind }, value);
  };
  const lines = rows.map((row) => el("tr", {}, ...columns.map(cell(row))));
  if (lines.length === 0) lines.push(el("tr", {}, el("td", { class: "empty", colspan: columns.length }, empty)));
  byId(id).replaceChildren(el("thead", {}, head), el("tbody", {}, ...lines));
}

const number = (format, of) => (row) => format(of(row));

function drawStages({ stages }) {
  const names = Object.keys(STAGES);
  const name = (row) => el("span", { title: STAGES[row.stage] }, el("span", { class: `swatch c${names.indexOf(row.stage)}` }), row.stage.replace("_", " "));
  const at = (key) => number(time, (row) => row.count > 0 ? row[key] : null);
  drawTable("stages", [["stage", name], ["count", number(count, (row) => row.count), "n wide"], ["p50", at("p50_ns"), "n"], ["p90", at("p90_ns"), "n wide"],
    ["p99", at("p99_ns"), "n"], ["p99.9", at("p999_ns"), "n wide"], ["max", at("max_ns"), "n"]], stages, "Nothing was measured yet.");
}

function drawLinks({ links }) {
  const kind = { up: "good", down: "bad", given_up: "bad" };
  drawTable("links", [["link", (row) => row.name, "long"], ["venue", (row) => row.venue, "wide"], ["kind", (row) => row.kind, "wide"],
    ["state", (row) => el("span", { class: `chip ${kind[row.state] ?? "warn"}` }, row.state.replace("_", " "))],
    ["for", (row) => span(Math.max(0, newest() - row.since_unix_ms) / 1000), "n"], ["instruments", number(count, (row) => row.instruments), "n wide"],
    ["last reason", (row) => row.last_reason ?? "–", "long"]], links, "There is no venue, and no feed.");
}

function drawBackends({ backends }) {
  byId("panel-backends").hidden = backends.length === 0;
  drawTable("backends", [["backend", (row) => row.name, "long"], ["kind", (row) => row.kind, "wide"],
    ["state", (row) => el("span", { class: `chip ${row.state === "up" ? "good" : "bad"}` }, row.state)],
    ["ready", (row) => `${row.members_up}/${row.members}`, "n"], ["under way", number(count, (row) => row.under_way), "n wide"],
    ["calls", number(count, (row) => row.calls), "n"], ["failed", number(count, (row) => row.failed), "n"],
    ["last reason", (row) => row.last_reason ?? "–", "long"]], backends, "There is no backend.");
}

function drawIncidents({ incidents }) {
  const rows = Object.entries(incidents).sort(([, a], [, b]) => b.total - a.total).slice(0, ROWS);
  drawTable("incidents", [["reason", ([reason]) => reason.replaceAll("_", " "), "long"], ["a second", ([, of]) => count(of.per_second), "n"], ["in all", ([, of]) => count(of.total), "n"]],
    rows, "Nobody was refused or closed since the start.");
}

function drawTopics(topics) {
  const now = Date.now();
  const id = (row) => `${row.topic} ${row.encoding} ${row.account}`;
  const perS = (row) => {
    const before = topicsBefore.get(id(row));
    return before === undefined ? null : Math.max(0, row.deliveries_total - before.total) / Math.max(1, (now - before.at) / 1000);
  };
  drawTable("topics", [["topic", (row) => row.encoding === "sbe" ? `${row.topic} (SBE)` : row.topic, "long"], ["followers", number(count, (row) => row.subscribers), "n"], ["a second", number(count, perS), "n"],
    ["in all", number(count, (row) => row.deliveries_total), "n wide"]], topics, "Nobody follows a topic.");
  topicsBefore = new Map(topics.map((row) => [id(row), { total: row.deliveries_total, at: now }]));
}

function drawSlow(connections) {
  const slow = connections.filter((row) => row.queued_bytes > 0);
  drawTable("slow", [["peer", (row) => row.peer, "long"], ["account", (row) => row.client_id ?? "–", "wide"], ["shard", (row) => String(row.shard), "n wide"], ["topics", number(count, (row) => row.topics), "n wide"],
    ["waits", number(bytes, (row) => row.queued_bytes), "n"], ["conflated", number(count, (row) => row.conflated_total), "n"], ["for", (row) => span(row.age_ms / 1000), "n"]],
    slow, "Every client has read what it was sent.");
}

function drawLog() {
  const least = LEVELS.indexOf(byId("level").value), log = byId("log");
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const lines = logLines.filter((line) => LEVELS.indexOf(line.level) >= least).map((line) => el("li", {},
    el("span", { class: "at" }, new Date(line.timestamp_ms).toISOString().slice(11, 23)), el("span", { class: line.level }, line.level),
    el("span", { class: "text" }, line.message)));
  log.replaceChildren(...(lines.length > 0 ? lines : [el("li", { class: "empty" }, "No line of this level.")]));
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

// From the gateway.

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(LISTS_MS) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** What is not in an event since it may be long. What fails is asked for again. */
async function askLists() {
  if (document.hidden || document.body.dataset.link !== "live") return;
  const total = points[points.length - 1].event.log_lines_total;
  const logs = total === logTotal ? Promise.resolve() : ask("/api/logs?limit=200").then((said) => { logLines = said.logs; logTotal = total; drawLog(); });
  const topics = ask(`/api/topics?limit=${ROWS}&sort=deliveries`).then((said) => drawTopics(said.topics));
  const slow = ask(`/api/connections?limit=${ROWS}&sort=queued`).then((said) => drawSlow(said.connections));
  await Promise.allSettled([logs, topics, slow]);
}

function take(event) {
  const last = points[points.length - 1]?.event;
  if (last && last.start_unix_ms !== event.start_unix_ms) {
    restarts = [...restarts.slice(-9), event.unix_ms];
    logTotal = null;
    topicsBefore = new Map();
  }
  points.push({ t: event.unix_ms, event });
  points = points.filter((point) => event.unix_ms - point.t <= HISTORY * 1000 && point.t <= event.unix_ms).slice(-HISTORY);
  heard = Date.now();
  setLink("live");
  draw();
}

function draw() {
  const event = points[points.length - 1]?.event;
  if (document.hidden || event === undefined) return;
  byId("version").textContent = event.version;
  byId("uptime").textContent = span(event.uptime_seconds);
  byId("clock").textContent = clock(event.unix_ms);
  byId("halted").hidden = !event.trading_halted;
  byId("draining").hidden = event.state !== "draining";
  drawTiles(event);
  drawAlerts(event);
  drawStages(event);
  charts.forEach((chart) => chart.draw());
  drawShards(event);
  drawLinks(event);
  drawBackends(event);
  drawIncidents(event);
  const state = byId("state"), isWell = event.state === "serving";
  if (document.body.dataset.link === "live" && state.textContent !== event.state) {
    state.textContent = event.state;
    state.className = `pill ${isWell ? "good" : "warn"}`;
  }
  document.title = `${event.state === "serving" ? "" : event.state + " · "}${count(event.connections)} clients · tickring`;
}

/** `connecting`, `live` or `away`. */
function setLink(link) {
  if (document.body.dataset.link === link) return;
  document.body.dataset.link = link;
  byId("away").hidden = link !== "away";
  byId("away-since").textContent = heard === null ? "It has not been heard yet." : `It was last heard at ${clock(heard)}.`;
  if (link === "away") {
    byId("state").textContent = "away";
    byId("state").className = "pill bad";
    document.title = "away · tickring";
  } else if (link === "live") {
    askLists();
  }
}

function connect() {
  source?.close();
  openedAt = Date.now();
  source = new EventSource("/api/events");
  source.onmessage = (message) => take(JSON.parse(message.data));
}

/** An EventSource comes again by itself, but for where it was answered anything else than events, or hangs. */
function watch() {
  const silentMs = Date.now() - Math.max(heard ?? 0, openedAt);
  if (Date.now() - (heard ?? openedAt) > AWAY_MS) setLink("away");
  if (source.readyState === EventSource.CLOSED || silentMs > 3 * AWAY_MS) connect();
}

// The theme.

function theme() {
  let chosen = "auto";
  try { chosen = localStorage.getItem("theme") ?? "auto"; } catch { /* Without storage it is the system's. */ }
  const show = () => {
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    byId("theme").querySelector("b").textContent = chosen;
  };
  show();
  byId("theme").addEventListener("click", () => {
    chosen = { auto: "light", light: "dark", dark: "auto" }[chosen] ?? "auto";
    try { localStorage.setItem("theme", chosen); } catch { /* It holds until the page is closed. */ }
    show();
  });
}

function begin() {
  theme();
  const line = (label, of, nth, fill = false) => ({ label, of, color: `c${nth}`, fill });
  charts = [
    new Chart(byId("chart-connections"), [line("open", (point) => point.event.connections, 0, true)], { format: count, least: 4 }),
    new Chart(byId("chart-deliveries"), [line("delivered", rate("deliveries"), 1, true), line("conflated", rate("conflated"), 3)], { format: count, least: 10 }),
    new Chart(byId("chart-messages"), [line("received", rate("messages_received"), 2, true), line("requests", rate("requests"), 0), line("failed", rate("requests_failed"), 6)], { format: count, least: 10 }),
    new Chart(byId("chart-bytes"), [line("out", rate("transmitted_bytes"), 5, true), line("in", rate("received_bytes"), 4)], { format: bytes, least: 1024, base: 1024 }),
    new Chart(byId("chart-latency"), ["request", "publish_lossless", "publish_latest", "order", "turn", "mesh"].map((name) => line(`${name.replace("_", " ")} p99`, stage(name), Object.keys(STAGES).indexOf(name))), { format: time, log: true }),
  ];
  new ResizeObserver(() => charts.forEach((chart) => chart.draw())).observe(byId("main"));
  byId("level").addEventListener("change", drawLog);
  document.addEventListener("visibilitychange", draw);
  connect();
  setInterval(watch, 500);
  setInterval(askLists, LISTS_MS);
}

begin();
