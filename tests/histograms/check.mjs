// A file of histograms, as a library of another language reads it: node check.mjs URL CONTROL_URL PID FOLDER
// Sends requests, has the server write a file by SIGUSR1, and compares what the library finds with what was sent and with what the
// server itself says.
import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.env.CHECK_MODULES, "package.json"));
const hdr = require("hdr-histogram-js");
const { WebSocket } = require("ws");

const [url, control, pid, folder] = process.argv.slice(2);
const REQUESTS = 200;
const DEADLINE_MS = 20_000;

const fail = (what) => {
  console.error(`FAILED: ${what}`);
  process.exit(1);
};
setTimeout(() => fail(`not done within ${DEADLINE_MS} ms`), DEADLINE_MS).unref();

// Each request is answered before the next is sent.
const send = () =>
  new Promise((done) => {
    const socket = new WebSocket(url);
    let answered = 0;
    const next = () => socket.send(JSON.stringify({ jsonrpc: "2.0", id: answered, method: "public/test", params: {} }));
    socket.on("open", next);
    socket.on("message", () => {
      answered += 1;
      if (answered === REQUESTS) {
        socket.on("close", done);
        socket.close();
      } else {
        next();
      }
    });
    socket.on("error", (error) => fail(String(error)));
  });

// The file is there as a whole once it has its name.
const dump = () =>
  new Promise((done) => {
    const watcher = fs.watch(folder, (_, name) => {
      if (name?.endsWith(".hlog") && fs.existsSync(path.join(folder, name))) {
        watcher.close();
        done(path.join(folder, name));
      }
    });
    process.kill(Number(pid), "SIGUSR1");
  });

await send();
const file = await dump();
const reader = new hdr.HistogramLogReader(fs.readFileSync(file, "utf8"));
const tags = new Map();
for (let interval = reader.nextIntervalHistogram(); interval; interval = reader.nextIntervalHistogram()) {
  tags.set(interval.tag, interval);
}
const requests = tags.get("request.all");
if (requests?.totalCount !== REQUESTS) fail(`${requests?.totalCount} requests in ${file}, ${REQUESTS} were sent`);
if (tags.get("upgrade.all")?.totalCount !== 1) fail("not one upgrade");
if (!(tags.get("turn.venue")?.totalCount > 0)) fail("the venue has no turns");

const told = (await (await fetch(`${control}/api/histograms`)).json()).stages;
const row = told.find((row) => row.stage === "request" && row.thread === "all");
if (row.count !== REQUESTS) fail(`the server tells ${row.count} requests`);
for (const [name, percent] of [["p50_ns", 50], ["p90_ns", 90], ["p99_ns", 99], ["max_ns", 100]]) {
  const read = requests.getValueAtPercentile(percent);
  // Three digits, read from either end of a value's own bucket.
  if (Math.abs(read - row[name]) > row[name] / 500) fail(`${name}: ${read} read, ${row[name]} told`);
}
const begun = requests.startTimeStampMsec;
if (Math.abs(begun - (await (await fetch(`${control}/api/histograms`)).json()).interval_begun_unix_ms) > 2) {
  fail(`the interval begins at ${begun}`);
}
console.log(`hdr-histogram-js reads ${tags.size} histograms: ${REQUESTS} requests, p99 ${requests.getValueAtPercentile(99)} ns`);
