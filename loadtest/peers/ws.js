// A broadcast server on Node's `ws` in its best form: what is published is framed once for all subscribers, and what was
// published in one turn of the event loop leaves by one write a subscriber. The library has no call for a frame made before;
// this is how socket.io does it over the same library.
// Texts: `sub TOPIC`, `pub TOPIC DATA`; anything else comes back.
// First argument: the folder in which `ws` is installed.

const { createServer } = require("node:http");
const { Sender, WebSocketServer } = require(`${process.argv[2]}/node_modules/ws`);

const BACKLOG = 65535;

/** By topic, who subscribes and the frames of this turn. */
const topics = new Map();
const dirty = new Set();

function topicOf(name) {
  let topic = topics.get(name);
  if (!topic) topics.set(name, (topic = { subscribers: new Set(), frames: [] }));
  return topic;
}

function publish(topic, data) {
  const options = { fin: true, opcode: 1, mask: false, readOnly: true, rsv1: false };
  topic.frames.push(...Sender.frame(data, options));
  if (dirty.size === 0) setImmediate(flush);
  dirty.add(topic);
}

function flush() {
  for (const topic of dirty) {
    const frames = [Buffer.concat(topic.frames)];
    topic.frames = [];
    for (const subscriber of topic.subscribers) subscriber._sender.sendFrame(frames);
  }
  dirty.clear();
}

function converse(socket) {
  const subscribed = new Set();
  // Bytes as they came: no text is made of what is only handed on.
  socket.on("message", (message) => {
    const word = message.latin1Slice(0, 4);
    if (word === "pub ") {
      const end = message.indexOf(32, 4);
      const topic = topics.get(message.utf8Slice(4, end));
      if (topic) publish(topic, message.subarray(end + 1));
    } else if (word === "sub ") {
      const topic = topicOf(message.utf8Slice(4));
      topic.subscribers.add(socket);
      subscribed.add(topic);
      socket.send("subscribed");
    } else {
      socket.send(message, { binary: false });
    }
  });
  socket.on("close", () => subscribed.forEach((topic) => topic.subscribers.delete(socket)));
  // The connection ends by itself; the server has nothing to add.
  socket.on("error", () => {});
}

const http = createServer();
http.on("connection", (socket) => socket.setNoDelay(true));
new WebSocketServer({ server: http, perMessageDeflate: false, clientTracking: false }).on("connection", converse);
http.listen({ host: "127.0.0.1", port: 0, backlog: BACKLOG }, () => {
  console.log(`ws://127.0.0.1:${http.address().port}/`);
});
process.on("SIGTERM", () => process.exit(0));
