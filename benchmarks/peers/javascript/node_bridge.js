// The least that does the job of `greet`, `echo` and `nobody` with node:http, without any of the gateway's guards.
const http = require("node:http");
const { connect, greet, echo, findNobody } = require("./ask.js");

async function main() {
  const nc = await connect();
  const server = http.createServer(async (request, response) => {
    const [status, type, body] = await route(nc, request);
    response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  });
  server.listen(Number(process.env.PORT), "127.0.0.1");
}

async function route(nc, request) {
  const path = request.url;
  if (path.startsWith("/greet/")) return greet(nc, path.slice("/greet/".length));
  if (path === "/echo") return echo(nc, await read(request));
  if (path.startsWith("/nobody/")) return findNobody(nc, path.slice("/nobody/".length));
  return [404, "text/plain", ""];
}

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
}

main();
