// A stock-keeping service on NATS, written by the client's own README: it knows nothing of HTTP or of a gateway.
//
//   NATS_URL=nats://127.0.0.1:4222 node service.js
const { Svcm, ServiceError } = require("@nats-io/services");
const { connect, headers } = require("@nats-io/transport-node");

async function main() {
  const nc = await connect({ servers: process.env.NATS_URL });
  const service = await new Svcm(nc).add({
    name: "stock",
    version: "1.0.0",
    description: "What is in store",
    queue: "stock",
  });
  const items = new Map([["7", { id: 7, name: "hammer", count: 3 }]]);
  const stock = service.addGroup("stock");

  stock.addEndpoint("get", {
    subject: "items.*.get",
    handler: (_err, msg) => {
      const item = items.get(msg.subject.split(".")[2]);
      if (!item) return msg.respondError(404, "no such item");
      msg.respond(JSON.stringify(item));
    },
  });

  stock.addEndpoint("create", {
    subject: "items.create",
    handler: (_err, msg) => {
      const item = { id: items.size + 7, ...msg.json() };
      items.set(`${item.id}`, item);
      const h = headers();
      h.set("Http-Status", "201");
      h.set("Location", `/items/${item.id}`);
      h.set("ETag", `"${item.id}"`);
      h.append("Set-Cookie", "a=1; Path=/");
      h.append("Set-Cookie", "b=2");
      h.set("X-Internal", "not for callers");
      msg.respond(JSON.stringify(item), { headers: h });
    },
  });

  stock.addEndpoint("search", {
    subject: "items.search",
    handler: (_err, msg) => {
      const asked = msg.json();
      const kinds = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, typeof value]));
      msg.respond(JSON.stringify({ asked, kinds }));
    },
  });

  stock.addEndpoint("echo", { handler: (_err, msg) => msg.respond(msg.data) });

  stock.addEndpoint("seen", {
    handler: (_err, msg) => {
      const seen = {};
      for (const [name, values] of msg.headers ?? []) seen[name] = values;
      msg.respond(JSON.stringify(seen));
    },
  });

  stock.addEndpoint("reserve", {
    subject: "items.*.reserve",
    handler: (_err, msg) => {
      switch (msg.subject.split(".")[2]) {
        case "gone":
          return msg.respondError(404, "品切れ: gone");
        case "sold":
          return msg.respondError(17, "it is sold out");
        case "odd":
          return msg.respondError(99, "a code that nobody knows");
        case "many":
          return msg.respondError(409, "not enough", JSON.stringify({ left: 3 }));
        case "broken":
          throw new Error("password=hunter2");
        case "refused":
          throw new ServiceError(403, "not yours");
        case "silent":
          return;
      }
      msg.respond("reserved");
    },
  });

  process.on("SIGTERM", async () => {
    await nc.drain();
    process.exit(0);
  });
  await nc.flush();
  console.log("ready");
}

main();
