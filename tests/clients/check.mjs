// What the gateway owes to Node's `ws`: CLIENT_MODULES=FOLDER node check.mjs ws://127.0.0.1:PORT/ws
// Written apart from check.py, so that both would have to be wrong in the same way. Waits for events, never for time.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import process from 'node:process';

const { WebSocket } = createRequire(`${process.env.CLIENT_MODULES}/`)('ws');

const URL = process.argv[2];
const DEADLINE_MS = 20_000;
const INSTRUMENT = 'ETH-PERPETUAL';
const RUN = `js${process.pid}`;
// Whether clients offer permessage-deflate, which the server then agrees to.
const DEFLATE = process.env.CLIENT_ENCODING === 'deflate';

function withDeadline(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Values that were pushed, for whoever takes them. */
class Inbox {
  values = [];
  takers = [];

  push(value) {
    const taker = this.takers.shift();
    if (taker) taker(value);
    else this.values.push(value);
  }

  async take(what) {
    const value = this.values.length > 0
      ? this.values.shift()
      : await withDeadline(new Promise((resolve) => this.takers.push(resolve)), what);
    if (value instanceof Error) throw value;
    return value;
  }
}

class Client {
  static async open() {
    const client = new Client();
    client.socket = new WebSocket(URL, { perMessageDeflate: DEFLATE && { threshold: 0 } });
    client.socket.on('message', (bytes, isBinary) => client.receive(bytes.toString('utf8'), isBinary));
    client.closed = new Promise((resolve) => client.socket.on('close', resolve));
    client.socket.on('close', (code) => client.notes.push(new Error(`closed with ${code}`)));
    const opened = new Promise((resolve, reject) => {
      client.socket.on('open', resolve);
      client.socket.on('error', reject);
    });
    await withDeadline(opened, 'upgrade');
    assert.equal(client.socket.extensions, DEFLATE ? 'permessage-deflate' : '');
    return client;
  }

  notes = new Inbox();
  replies = new Inbox(); // without an id of ours: batches and errors
  pending = new Map();
  lastId = 0;

  receive(text, isBinary) {
    assert.equal(isBinary, false);
    const message = JSON.parse(text);
    if (message.method === 'subscription') this.notes.push({ ...message.params, text });
    else if (this.pending.has(message.id)) {
      this.pending.get(message.id)(message);
      this.pending.delete(message.id);
    } else this.replies.push(message);
  }

  send(text) {
    this.socket.send(text);
  }

  request(method, paramsText) {
    const id = ++this.lastId;
    const reply = new Promise((resolve) => this.pending.set(id, resolve));
    const params = paramsText === undefined ? '' : `,"params":${paramsText}`;
    this.send(`{"jsonrpc":"2.0","id":${id},"method":"${method}"${params}}`);
    return withDeadline(reply, `reply to ${method}`);
  }

  async call(method, params) {
    const reply = await this.request(method, params && JSON.stringify(params));
    assert.equal(reply.error, undefined, JSON.stringify(reply));
    return reply.result;
  }

  async errorOf(method, params) {
    const reply = await this.request(method, params && JSON.stringify(params));
    assert.ok(reply.error, JSON.stringify(reply));
    return reply.error.code;
  }

  async publish(topic, rawData) {
    const reply = await this.request('topic/publish', `{"topic":"${topic}","data":${rawData}}`);
    assert.equal(reply.error, undefined, JSON.stringify(reply));
  }

  /** No close frame: the socket is destroyed, and what arrives late is ignored. */
  cut() {
    this.socket.removeAllListeners('message');
    this.socket.terminate();
  }

  async close() {
    this.socket.close(1000);
    assert.equal(await withDeadline(this.closed, 'close'), 1000);
  }
}

/** Each channel's notifications must follow each other by one. */
class Sequences {
  last = new Map();

  follow({ channel, epoch, seq }) {
    const before = this.last.get(channel);
    if (before) assert.deepEqual({ epoch, seq }, { epoch: before.epoch, seq: before.seq + 1 }, channel);
    this.last.set(channel, { epoch, seq });
  }
}

async function greetsAndTellsTheTime() {
  const client = await Client.open();
  const hello = await client.call('public/hello', { client_name: 'check.mjs', client_version: '1' });
  assert.equal(typeof hello.version, 'string');
  assert.equal((await client.call('public/test')).version, hello.version);
  assert.ok(Math.abs((await client.call('public/get_time')) - Date.now()) < 10_000);
  const pong = new Promise((resolve) => client.socket.on('pong', resolve));
  client.socket.ping('beat');
  assert.equal((await withDeadline(pong, 'pong')).toString(), 'beat');
  await client.close();
}

async function answersErrorsAndBatches() {
  const client = await Client.open();
  assert.equal(await client.errorOf('no/such/method', {}), -32601);
  assert.equal(await client.errorOf('public/ticker', {}), -32602);
  assert.equal(await client.errorOf('public/subscribe', { channels: [1] }), -32602);
  client.send('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]');
  let stray = await client.replies.take('parse error');
  assert.deepEqual([stray.id, stray.error.code], [null, -32700]);
  client.send('[1,2,3]');
  stray = await client.replies.take('batch of errors');
  assert.deepEqual(stray.map((each) => [each.id, each.error.code]), Array(3).fill([null, -32600]));
  client.send('[{"jsonrpc":"2.0","method":"public/get_time","id":"t"},{"jsonrpc":"2.0","method":"public/get_time"}]');
  stray = await client.replies.take('batch');
  assert.deepEqual(stray.map((each) => [each.id, typeof each.result]), [['t', 'number']]);
  await client.close();
}

async function marketDataComesInOrder() {
  const channels = ['ticker.*.raw', `quote.${INSTRUMENT}`, 'trades.*.raw'];
  const client = await Client.open();
  await client.call('public/subscribe', { channels, class: 'lossless' });
  const sequences = new Sequences();
  for (let count = 0; count < 500; count++) sequences.follow(await client.notes.take('notification'));
  assert.ok(sequences.last.has(`quote.${INSTRUMENT}`), 'no quote among 500 notifications');
  assert.ok(sequences.last.size > 6, `${[...sequences.last.keys()]}`);
  await client.call('public/unsubscribe', { channels });
  // The reply to unsubscribe is a border: nothing comes behind it.
  client.notes.values.length = 0;
  for (let count = 0; count < 20; count++) await client.call('public/test');
  assert.deepEqual(client.notes.values, []);
  await client.close();
}

function applyDeltas(book, { data }) {
  if (data.type === 'snapshot') {
    book.bids = new Map();
    book.asks = new Map();
  } else assert.equal(data.prev_change_id, book.changeId);
  for (const side of ['bids', 'asks']) {
    for (const [action, price, amount] of data[side]) {
      assert.equal(book[side].has(price), action !== 'new', `${action} ${price}`);
      if (action === 'delete') book[side].delete(price);
      else book[side].set(price, amount);
    }
  }
  book.changeId = data.change_id;
  book.past.set(book.changeId, {
    bids: [...book.bids].sort((a, b) => b[0] - a[0]),
    asks: [...book.asks].sort((a, b) => a[0] - b[0]),
  });
}

async function aBookOfDeltasIsTheServersBook() {
  const client = await Client.open();
  await client.call('public/subscribe', { channels: [`book.${INSTRUMENT}.raw`] });
  const book = { past: new Map() };
  const sequences = new Sequences();
  const advance = async () => {
    const note = await client.notes.take('book');
    sequences.follow(note);
    applyDeltas(book, note);
  };
  for (let round = 0; round < 5; round++) {
    for (let count = 0; count < 20; count++) await advance();
    const whole = await client.call('public/get_order_book', { instrument_name: INSTRUMENT, depth: 1000 });
    while (book.changeId < whole.change_id) await advance();
    assert.deepEqual(book.past.get(whole.change_id), { bids: whole.bids, asks: whole.asks });
  }
  await client.close();
}

async function everySubscriberGetsEveryMessageInOneOrder() {
  const topic = `${RUN}fan`;
  const readers = await Promise.all(Array.from({ length: 12 }, () => Client.open()));
  for (const reader of readers) await reader.call('public/subscribe', { channels: [`topic.${topic}`] });
  const writers = await Promise.all(Array.from({ length: 3 }, () => Client.open()));
  const raws = writers.map((_, w) => Array.from({ length: 60 }, (_, n) => `{"w": ${w},\n"n":${n}.0, "t":"\\u20ac{}"}`));
  const sending = Promise.all(writers.map((writer, w) => Promise.all(raws[w].map((raw) => writer.publish(topic, raw)))));
  const orders = await Promise.all(readers.map(async (reader) => {
    const sequences = new Sequences();
    const order = [];
    while (order.length < 180) {
      const note = await reader.notes.take('message');
      sequences.follow(note);
      // Newlines and `n.0` would not survive a parser: the bytes are the publisher's.
      const raw = raws[note.data.w][note.data.n];
      assert.ok(note.text.includes(`"data":${raw}`), note.text);
      order.push(`${note.epoch}/${note.seq}: ${note.data.w} ${note.data.n}`);
    }
    return order;
  }));
  await sending;
  for (const order of orders) assert.deepEqual(order, orders[0]);
  for (const client of [...readers, ...writers]) await client.close();
}

async function resumesAfterACut() {
  const channel = `topic.${RUN}cut`;
  const writer = await Client.open();
  let reader = await Client.open();
  await reader.call('public/subscribe', { channels: [channel] });
  const sequences = new Sequences();
  const received = [];
  let sent = 0;
  const publish = async (count) => {
    for (let each = 0; each < count; each++) await writer.publish(`${RUN}cut`, `{"n":${++sent}}`);
  };
  const take = async (count) => {
    for (let each = 0; each < count; each++) {
      const note = await reader.notes.take('message');
      sequences.follow(note);
      received.push(note.data.n);
    }
  };
  for (let cut = 0; cut < 6; cut++) {
    await publish(10);
    await take(7);
    reader.cut();
    await publish(10);
    const storm = publish(10);
    reader = await Client.open();
    const resume = JSON.stringify({ channels: [channel], resume: { [channel]: sequences.last.get(channel) } });
    const reply = await reader.request('public/subscribe', resume);
    assert.deepEqual(reply.resumed, { [channel]: { recovered: true } }, JSON.stringify(reply));
    await storm;
  }
  await take(sent - received.length);
  assert.deepEqual(received, Array.from({ length: sent }, (_, index) => index + 1));
  await writer.close();
  await reader.close();
}

const CHECKS = [
  greetsAndTellsTheTime,
  answersErrorsAndBatches,
  marketDataComesInOrder,
  aBookOfDeltasIsTheServersBook,
  everySubscriberGetsEveryMessageInOneOrder,
  resumesAfterACut,
];

let failed = 0;
for (const check of CHECKS) {
  try {
    await check();
    console.log(`node ${check.name} ... ok`);
  } catch (error) {
    failed += 1;
    console.log(`node ${check.name} ... FAILED`);
    console.error(error);
  }
}
console.log(`node: ${CHECKS.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
