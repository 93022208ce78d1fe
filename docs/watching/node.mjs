// Follows the presence of users: node node.mjs ada bob

import { readFile } from "node:fs/promises";
import { watch } from "./watch.mjs";

const { PRESENCE_URL, PRESENCE_TOKEN_FILE, PRESENCE_HEARTBEAT } = process.env;
const presences = new Map();
const events = watch({
  url: PRESENCE_URL ?? "http://localhost:8080",
  ids: process.argv.slice(2),
  token: PRESENCE_TOKEN_FILE && (async () => (await readFile(PRESENCE_TOKEN_FILE, "utf8")).trim()),
  heartbeat: 1_000 * (PRESENCE_HEARTBEAT ?? 15),
});
for await (const { event, data } of events) {
  if (event === "presence") {
    presences.set(data.id, data);
    console.log(`${data.id} ${data.availability}/${data.activity}`);
  } else if (event === "snapshotComplete") {
    console.log(`-- snapshot complete: ${presences.size} users`);
  } else if (event === "lost") {
    console.log(`-- lost: ${data.message}`);
  }
}
