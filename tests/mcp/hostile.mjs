// A server over stdio that does what none should, by the name of the tool that is called.
import { createInterface } from 'node:readline';

const tools = ['answer', 'hang', 'crash', 'twice', 'garbage', 'half', 'huge', 'late', 'deep', 'endless'];
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const result = (id, text) => ({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } });

const deeds = {
  answer: (id) => say(result(id, 'well')),
  hang: () => {},
  crash: () => process.exit(3),
  twice: (id) => [1, 2].forEach((n) => say(result(id, `answer ${n}`))),
  garbage: (id) => {
    process.stdout.write('this is no message\n');
    say(result(id, 'after garbage'));
  },
  half: (id) => process.stdout.write(`{"jsonrpc":"2.0","id":${id},\n`),
  huge: (id) => say(result(id, 'x'.repeat(10 << 20))),
  late: (id) => setTimeout(() => say(result(id, 'too late')), 1500),
  deep: (id) => process.stdout.write(`{"jsonrpc":"2.0","id":${id},"result":${'['.repeat(99)}${']'.repeat(99)}}\n`),
  endless: () => process.stdout.write('x'.repeat(12 << 20)),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (method === 'initialize') {
    const serverInfo = { name: 'hostile', version: '0' };
    say({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo } });
  } else if (method === 'tools/list') {
    say({ jsonrpc: '2.0', id, result: { tools: tools.map((name) => ({ name, inputSchema: { type: 'object' } })) } });
  } else if (method === 'tools/call') {
    deeds[params.name](id);
  }
}
