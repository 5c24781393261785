// The binary under test: started on loopback, stopped by its own process id; clients that make it work.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const START_MS = 30_000;

/** A running server: `{ws, control, stop}`. `control` is an address, or 127.0.0.1:0 for one that the kernel chooses. */
export async function serve(binary, control = "127.0.0.1:0", flags = []) {
  const child = spawn(binary, ["serve", "--listen", "127.0.0.1:0", "--control", control, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  const log = [];
  createInterface({ input: child.stderr }).on("line", (line) => log.push(line));
  const exit = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  const said = await Promise.race([
    once(lines, "line").then(([line]) => line),
    exit.then(([code]) => Promise.reject(new Error(`the server ended with ${code}: ${log.join("\n")}`))),
    new Promise((_, reject) => setTimeout(reject, START_MS, new Error("the server told no address")).unref()),
  ]);
  const ws = said.match(/ws:\/\/127\.0\.0\.1:\d+\/ws/)[0];
  const http = said.match(/control on (http:\/\/127\.0\.0\.1:\d+)/)[1];
  const end = async (signal) => {
    child.kill(signal);
    const [code, by] = await exit;
    return { code, by };
  };
  return { ws, http, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}

/** A client that follows channels until it is told to stop, and reads all. */
export function watch(binary, url, channels) {
  const child = spawn(binary, ["watch", "--raw", "--url", url, ...channels], { stdio: ["ignore", "ignore", "ignore"] });
  const exit = once(child, "exit");
  return {
    async stop() {
      child.kill("SIGTERM");
      await exit;
    },
  };
}
