// What the bridges in JavaScript share: the three routes, and the official client. An answer is [status, type, body].
const { connect, errors } = require("@nats-io/transport-node");

const JSON_TYPE = "application/json";
const BYTES_TYPE = "application/octet-stream";

// The client otherwise makes an Error for each request, for a stack that nobody reads.
exports.connect = () => connect({ servers: process.env.NATS_URL, maxReconnectAttempts: -1, noAsyncTraces: true });

exports.greet = (nc, name) =>
  ask(nc, `greet.${name}`, undefined, JSON_TYPE, (reply) => JSON.stringify({ message: reply.string() }));

exports.echo = (nc, body) => ask(nc, "echo", body, BYTES_TYPE, (reply) => reply.data);

exports.findNobody = (nc, name) => ask(nc, `nobody.${name}`, undefined, BYTES_TYPE, (reply) => reply.data);

async function ask(nc, subject, payload, type, read) {
  try {
    return [200, type, read(await nc.request(subject, payload, { timeout: 2000 }))];
  } catch (error) {
    return [chooseStatus(error), BYTES_TYPE, ""];
  }
}

function chooseStatus(error) {
  if (error instanceof errors.RequestError && error.isNoResponders()) return 503;
  return error instanceof errors.TimeoutError ? 504 : 502;
}
