// Finds teas. The gateway has checked the parameters, and they come with their types.
//
// $ node service.mjs        # NATS_URL says where NATS is
import { Svcm } from "@nats-io/services";
import { connect } from "@nats-io/transport-node";

const TEAS = [
  { name: "assam", kind: "black", price: 4 },
  { name: "darjeeling", kind: "black", price: 7.5 },
  { name: "gyokuro", kind: "green", price: 12 },
  { name: "sencha", kind: "green", price: 5 },
  { name: "silver needle", kind: "white", price: 9 },
];

function search({ q = "", kind, max_price = Infinity, sort, limit }) {
  return TEAS.filter((tea) => tea.name.includes(q) && (kind ?? [tea.kind]).includes(tea.kind) && tea.price <= max_price)
    .sort((one, other) => (one[sort] < other[sort] ? -1 : 1))
    .slice(0, limit);
}

const client = await connect({ servers: process.env.NATS_URL ?? "nats://localhost:4222" });
const service = await new Svcm(client).add({ name: "teas", version: "1.0.0" });

service.addEndpoint("search", {
  subject: "teas.search",
  handler: (_error, request) => request.respond(JSON.stringify(search(request.json()))),
});

console.log("answers teas.search");
