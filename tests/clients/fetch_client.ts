// Calls a gateway by what openapi-typescript makes of its document.
import createClient from "openapi-fetch";
import type { components, paths } from "./paths";

type Note = components["schemas"]["Note"];
type Problem = components["schemas"]["Problem"];

declare const process: { env: { GATEWAY: string } };

const client = createClient<paths>({ baseUrl: process.env.GATEWAY });

async function main(): Promise<void> {
  const made = await client.POST("/notes", { body: { title: "Shopping" } });
  if (made.data === undefined) throw new Error(JSON.stringify(made.error));
  const note: Note = made.data;
  const read = await client.GET("/notes/{id}", { params: { path: { id: note.id } } });
  const same: Note | undefined = read.data;
  const missing = await client.GET("/notes/{id}", { params: { path: { id: "0".repeat(20) } } });
  const problem: Problem | undefined = missing.error;
  console.log(JSON.stringify({ note, same, status: missing.response.status, problem }));
}

void main();
