// A broadcast server on uWebSockets.js: its native topics, by which a publish is encoded once and corked a connection.
// Texts: `sub TOPIC`, `pub TOPIC DATA`; anything else comes back.
// First argument: the folder in which the npm package `uwebsockets` is installed, which holds its prebuilt binaries.

const uws = require(`${process.argv[2]}/node_modules/uwebsockets`);

// A subscriber that is further behind loses messages; the default of 64 KiB is a few milliseconds of a burst.
const BACKPRESSURE_BYTES_MAX = 16 * 1024 * 1024;

const app = uws.App().ws("/*", {
  compression: uws.DISABLED,
  maxBackpressure: BACKPRESSURE_BYTES_MAX,
  message(socket, message, isBinary) {
    const bytes = Buffer.from(message);
    const word = bytes.latin1Slice(0, 4);
    if (word === "pub ") {
      const end = bytes.indexOf(32, 4);
      app.publish(bytes.utf8Slice(4, end), bytes.subarray(end + 1), false);
    } else if (word === "sub ") {
      socket.subscribe(bytes.utf8Slice(4));
      socket.send("subscribed");
    } else {
      socket.send(message, isBinary);
    }
  },
});

app.listen("127.0.0.1", 0, (listener) => {
  if (!listener) process.exit(1);
  console.log(`ws://127.0.0.1:${uws.us_socket_local_port(listener)}/`);
});
process.on("SIGTERM", () => process.exit(0));
