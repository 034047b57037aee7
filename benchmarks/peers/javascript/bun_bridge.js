// The least that does the job of `greet`, `echo` and `nobody` with Bun.serve, without any of the gateway's guards.
const { connect, greet, echo, findNobody } = require("./ask.js");

async function main() {
  const nc = await connect();
  Bun.serve({
    hostname: "127.0.0.1",
    port: Number(process.env.PORT),
    routes: {
      "/greet/:name": async (request) => respond(await greet(nc, request.params.name)),
      "/echo": async (request) => respond(await echo(nc, await request.bytes())),
      "/nobody/:name": async (request) => respond(await findNobody(nc, request.params.name)),
    },
    fetch: () => new Response("", { status: 404 }),
  });
}

function respond([status, type, body]) {
  return new Response(body, { status, headers: { "Content-Type": type } });
}

main();
