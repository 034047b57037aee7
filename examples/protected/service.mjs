// Keeps orders. It never sees a token or a key: the gateway writes the name of the caller into `X-User`.
//
// $ node service.mjs        # NATS_URL says where NATS is
import { ServiceError, Svcm } from "@nats-io/services";
import { connect } from "@nats-io/transport-node";

const orders = [];

function findUser(request) {
  const user = request.headers?.get("X-User");
  if (!user) throw new ServiceError(403, "the token names no user"); // a token without `sub`
  return user;
}

function listOrders(request) {
  const user = findUser(request);
  return orders.filter((order) => order.user === user);
}

function makeOrder(request) {
  const order = { user: findUser(request), item: request.json().item };
  orders.push(order);
  return order;
}

function listPrices() {
  return { tea: 3 };
}

const client = await connect({ servers: process.env.NATS_URL ?? "nats://localhost:4222" });
const service = await new Svcm(client).add({ name: "orders", version: "1.0.0" });

for (const [name, answer] of Object.entries({ list: listOrders, make: makeOrder, prices: listPrices })) {
  service.addEndpoint(name, {
    subject: `orders.${name}`,
    handler: (_error, request) => request.respond(JSON.stringify(answer(request))),
  });
}

console.log("answers orders.*");
