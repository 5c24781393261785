// A broadcast server on Bun's own WebSocket: its native topics, by which a publish is encoded and sent by the runtime.
// Texts: `sub TOPIC`, `pub TOPIC DATA`; anything else comes back.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("a WebSocket is expected", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    message(socket, text) {
      if (text.startsWith("pub ")) {
        const end = text.indexOf(" ", 4);
        server.publish(text.slice(4, end), text.slice(end + 1));
      } else if (text.startsWith("sub ")) {
        socket.subscribe(text.slice(4));
        socket.send("subscribed");
      } else {
        socket.send(text);
      }
    },
  },
});

process.on("SIGTERM", () => process.exit(0));
console.log(`ws://127.0.0.1:${server.port}/`);
