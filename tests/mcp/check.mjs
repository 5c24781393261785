// The official client for JavaScript through the gateway: node check.mjs URL, http:// or ws://. A line per check; fails with the first
// wrong answer. Run from the folder that holds node_modules.
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { WebSocketClientTransport } from '@modelcontextprotocol/sdk/client/websocket.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

const url = new URL(process.argv[2]);
const isHttp = url.protocol === 'http:';

async function connect() {
  const capabilities = { sampling: {}, elicitation: {}, roots: {} };
  const client = new Client({ name: 'check.mjs', version: '1' }, { capabilities });
  client.setRequestHandler(CreateMessageRequestSchema, async (request) => ({
    role: 'assistant',
    model: 'none',
    content: { type: 'text', text: `asked for ${request.params.maxTokens}` },
  }));
  client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'decline' }));
  client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [{ uri: 'file:///tmp', name: 'tmp' }] }));
  const transport = isHttp ? new StreamableHTTPClientTransport(url) : new WebSocketClientTransport(url);
  await client.connect(transport);
  return { client, transport };
}

const text = (result) => result.content.map((part) => part.text).join('\n');

const checks = {
  async 'lists the tools of all servers under their prefixes'({ client }) {
    const expected = [
      'everything__echo',
      'memory__create_entities',
      'files__read_text_file',
      'time__get_current_time',
      'remote__echo',
    ];
    // The first session starts them, and each is listed once it is up.
    const by = Date.now() + 60_000;
    let names;
    do {
      names = (await client.listTools()).tools.map((tool) => tool.name);
    } while (!expected.every((name) => names.includes(name)) && Date.now() < by);
    for (const name of expected) {
      assert.ok(names.includes(name), `${name} is not among ${names.join(', ')}`);
    }
    assert.equal(new Set(names).size, names.length);
  },
  async 'calls tools of five servers'({ client }) {
    const call = async (name, args) => text(await client.callTool({ name, arguments: args }));
    assert.equal(await call('everything__echo', { message: 'hällo' }), 'Echo: hällo');
    assert.equal(await call('remote__echo', { message: 'far' }), 'Echo: far');
    const entity = { name: `e${process.pid}${isHttp}`, entityType: 'test', observations: ['seen'] };
    await call('memory__create_entities', { entities: [entity] });
    assert.match(await call('memory__read_graph', {}), new RegExp(entity.name));
    assert.match(await call('files__list_allowed_directories', {}), /files/);
    assert.match(await call('time__get_current_time', { timezone: 'Europe/Berlin' }), /Europe\/Berlin/);
  },
  async 'calls the own tools of the gateway'({ client }) {
    const call = (name, args) => client.callTool({ name, arguments: args });
    const { result } = (await call('list_instruments', {})).structuredContent;
    const { instrument_name: name } = result.find((one) => one.instrument_name === 'BTC-PERPETUAL');
    const price = await call('last_price', { instrument_name: name });
    assert.equal(price.structuredContent.instrument_name, name);
    assert.deepEqual(JSON.parse(text(price)), price.structuredContent);
    const refused = await call('cancel_order', { order_id: '1' });
    assert.equal(refused.isError, true);
    assert.equal(refused.structuredContent.message, 'unauthorized');
  },
  async 'an unknown tool is refused'({ client }) {
    await assert.rejects(client.callTool({ name: 'nobody__has_this' }), (error) => error.code === -32602);
  },
  async 'progress comes to who asked for it'({ client }) {
    for (const server of ['everything', 'remote']) {
      const seen = [];
      const name = `${server}__trigger-long-running-operation`;
      const onprogress = (progress) => seen.push(progress.progress);
      const result = await client.callTool({ name, arguments: { duration: 0.3, steps: 3 } }, undefined, { onprogress });
      assert.match(text(result), /completed/i);
      assert.ok(seen.length >= 2, `${server}: ${seen}`);
    }
  },
  async 'a server asks the client and hears its answer'({ client }) {
    for (const server of ['everything', 'remote']) {
      const name = `${server}__trigger-sampling-request`;
      const result = await client.callTool({ name, arguments: { prompt: 'x', maxTokens: 77 } });
      assert.match(text(result), /asked for 77/);
    }
  },
  async 'what is cancelled ends'({ client }) {
    const abort = new AbortController();
    const name = 'everything__trigger-long-running-operation';
    const call = client.callTool({ name, arguments: { duration: 60, steps: 60 } }, undefined, {
      signal: abort.signal,
      onprogress: () => abort.abort('enough'),
    });
    await assert.rejects(call);
    await client.ping();
  },
  async 'resources and prompts are there'({ client }) {
    const { resources } = await client.listResources();
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.ok(resources.length > 0 && resourceTemplates.length > 0);
    const read = await client.readResource({ uri: resources[0].uri });
    assert.equal(read.contents[0].uri, resources[0].uri);
    const { prompts } = await client.listPrompts();
    const simple = prompts.find((prompt) => prompt.name.startsWith('everything__') && !prompt.arguments?.length);
    assert.ok((await client.getPrompt({ name: simple.name })).messages.length > 0);
  },
  async 'the level of the log is taken'({ client }) {
    await client.setLoggingLevel('warning');
  },
  async 'many calls at a time each have their own answer'({ client }) {
    const calls = Array.from({ length: 40 }, (_, n) =>
      client.callTool({ name: 'everything__echo', arguments: { message: `n${n}` } }),
    );
    (await Promise.all(calls)).forEach((result, n) => assert.equal(text(result), `Echo: n${n}`));
  },
  async 'a session that was ended is unknown'({ client, transport }) {
    if (!isHttp) return;
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': transport.sessionId,
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
    const ping = async () => (await fetch(url, { method: 'POST', headers, body })).status;
    assert.equal(await ping(), 200);
    await transport.terminateSession();
    assert.equal(await ping(), 404);
  },
};

const connected = await connect();
for (const [name, check] of Object.entries(checks)) {
  await check(connected);
  console.log(`ok: ${name}`);
}
await connected.client.close();
process.exit(0);
