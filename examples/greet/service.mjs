// Answers `greet.sue` with `hello, sue`.
//
// $ node service.mjs        # NATS_URL says where NATS is
import { Svcm } from "@nats-io/services";
import { connect } from "@nats-io/transport-node";

const client = await connect({ servers: process.env.NATS_URL ?? "nats://localhost:4222" });
const service = await new Svcm(client).add({ name: "greet", version: "1.0.0" });

service.addEndpoint("greet", {
  subject: "greet.*",
  handler: (_error, request) => {
    const name = request.subject.slice("greet.".length);
    request.respond(`hello, ${name}`);
  },
});

console.log("answers greet.*");
