// What the gateway owes to clients while servers, and other clients, do what none should: node faults.mjs HTTP_URL WS_URL
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const url = new URL(process.argv[2]);
const ws = process.argv[3];
// The key that everybody knows, of loopback alone.
const KEY = 'Bearer demo.demo-secret';

const text = (result) => result.content[0].text;
const client = new Client({ name: 'faults.mjs', version: '1' }, { capabilities: {} });
await client.connect(new StreamableHTTPClientTransport(url));
const call = (name) => client.callTool({ name, arguments: {} });

// Until the backend is up again, it is said that it is not.
async function isUp(name) {
  for (let tries = 0; ; tries += 1) {
    try {
      return assert.equal(text(await call(name)), 'well');
    } catch (error) {
      if (tries === 200 || error.data?.reason !== 'backend_unavailable') throw error;
      await pause(50);
    }
  }
}

async function post(headers, message, target = url) {
  const all = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers };
  return fetch(target, { method: 'POST', headers: all, body: typeof message === 'string' ? message : JSON.stringify(message) });
}

const request = (method, params = {}) => ({ jsonrpc: '2.0', id: 1, method, params });
const initialize = request('initialize', {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'x', version: '1' },
});

const checks = {
  async 'each fault of a server is one error, and nobody else notices'() {
    for (const [tool, reason] of [
      ['hang', 'backend_timed_out'],
      ['crash', 'backend_lost'],
      ['half', 'backend_bad_answer'],
      ['huge', 'backend_bad_answer'],
      ['late', 'backend_timed_out'],
      ['deep', 'backend_bad_answer'],
      ['endless', 'backend_bad_answer'],
    ]) {
      await isUp('bad__answer');
      const [bad, good] = await Promise.allSettled([call(`bad__${tool}`), call('good__answer')]);
      assert.equal(bad.reason?.data?.reason, reason, `${tool}: ${JSON.stringify(bad)}`);
      assert.equal(text(good.value), 'well');
    }
    await isUp('bad__answer');
    assert.equal(text(await call('bad__twice')), 'answer 1');
    assert.equal(text(await call('bad__garbage')), 'after garbage');
    await isUp('bad__answer');
  },
  async 'a plain client calls without a session'() {
    const answer = await post({ accept: 'application/json' }, request('tools/call', { name: 'good__answer' }));
    assert.equal(answer.headers.get('content-type'), 'application/json');
    assert.equal(text((await answer.json()).result), 'well');
    assert.equal((await post({}, request('prompts/list'))).status, 400);
  },
  async 'what is refused says so by its status'() {
    for (const [status, headers, message] of [
      [403, { origin: 'http://evil.example' }, initialize],
      [200, { origin: 'http://localhost:3000' }, initialize],
      [401, { authorization: 'Bearer demo.wrong' }, initialize],
      [400, { 'mcp-protocol-version': '1999-01-01' }, initialize],
      [404, { 'mcp-session-id': 'made-up' }, request('ping')],
      [406, { accept: 'text/html' }, initialize],
      [415, { 'content-type': 'text/plain' }, initialize],
      [400, {}, '{'],
      [400, {}, '7'],
      [413, {}, `"${'x'.repeat(9 << 20)}"`],
    ]) {
      const answer = await post(headers, message);
      assert.equal(answer.status, status, `${JSON.stringify(headers)}: ${await answer.text()}`);
    }
    assert.equal((await fetch(url, { headers: { accept: 'text/event-stream' } })).status, 400);
    assert.equal((await fetch(url, { method: 'PUT' })).status, 405);
    assert.equal((await fetch(new URL('/other', url))).status, 404);
  },
  async 'a page that may is told so before it asks'() {
    const ask = (origin) =>
      fetch(url, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } });
    const good = await ask('http://localhost:3000');
    assert.equal(good.status, 204);
    assert.equal(good.headers.get('access-control-allow-origin'), 'http://localhost:3000');
    const evil = await ask('http://evil.example');
    assert.equal(evil.status, 403);
    assert.equal(evil.headers.get('access-control-allow-origin'), null);
  },
  async 'a key sees more, and its session is its own'() {
    const names = async (headers) => {
      const { result } = await (await post(headers, request('tools/list'))).json();
      return result.tools.map((tool) => tool.name);
    };
    assert.ok(!(await names({})).includes('secret__answer'));
    assert.ok((await names({ authorization: KEY })).includes('secret__answer'));
    const begun = await post({ authorization: KEY }, initialize);
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') };
    assert.equal((await post({ ...session, authorization: KEY }, request('ping'))).status, 200);
    assert.equal((await post(session, request('ping'))).status, 404);
  },
  async 'a stream that was cut is read on'() {
    const begun = await post({}, initialize);
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id'), 'mcp-protocol-version': '2025-11-25' };
    const abort = new AbortController();
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...session };
    const body = JSON.stringify({ ...request('tools/call', { name: 'good__late' }), id: 'cut' });
    const answer = await fetch(url, { method: 'POST', headers, body, signal: abort.signal });
    const { value } = await answer.body.getReader().read();
    const id = /^id: (.*)$/m.exec(new TextDecoder().decode(value))[1];
    abort.abort();
    const rest = await fetch(url, { headers: { accept: 'text/event-stream', 'last-event-id': id, ...session } });
    const told = await rest.text();
    assert.match(told, /"id":"cut".*too late/);
    const again = await fetch(url, { headers: { accept: 'text/event-stream', 'last-event-id': id, ...session } });
    assert.match(await again.text(), /"id":"cut".*too late/);
  },
  async 'a page of elsewhere is refused over WebSocket too'() {
    const ask = (headers) =>
      fetch(ws.replace('ws:', 'http:'), { headers: { ...headers, 'sec-websocket-version': '13' } }).then((r) => r.status);
    assert.equal(await ask({}), 426);
    const socket = new WebSocket(ws, 'json-rpc');
    await new Promise((done) => socket.addEventListener('error', done));
  },
  async 'a plain client calls over WebSocket without initialize'() {
    const socket = new WebSocket(ws);
    await new Promise((done) => socket.addEventListener('open', done));
    const answer = new Promise((done) => socket.addEventListener('message', (event) => done(JSON.parse(event.data))));
    socket.send(JSON.stringify(request('tools/call', { name: 'good__answer' })));
    assert.equal(text((await answer).result), 'well');
    socket.close();
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok: ${name}`);
}
process.exit(0);
