// Calls a gateway by what @hey-api/openapi-ts makes of its document.
import { client } from "./hey/client.gen";
import { notesCreate, notesRead } from "./hey/sdk.gen";
import type { Note, Problem } from "./hey/types.gen";

declare const process: { env: { GATEWAY: string } };

client.setConfig({ baseUrl: process.env.GATEWAY });

async function main(): Promise<void> {
  const made = await notesCreate({ body: { title: "Shopping" }, throwOnError: true });
  const note: Note = made.data;
  const read = await notesRead({ path: { id: note.id } });
  const same: Note | undefined = read.data;
  const missing = await notesRead({ path: { id: "0".repeat(20) } });
  const problem: Problem | undefined = missing.error;
  console.log(JSON.stringify({ note, same, status: missing.response?.status, problem }));
}

void main();
