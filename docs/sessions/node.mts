// Shows a user as in a call until Enter is pressed:
//
// node node.mjs refresh ada desk:call-1   sets the session, and refreshes it every two minutes
// node node.mjs hold ada desk:call-1      holds the session by an open response

import { readFile } from "node:fs/promises";
import { clear, hold, PresenceError, set, sleep, type Pair, type Session } from "./session.mjs";

const { PRESENCE_URL, PRESENCE_TOKEN_FILE, PRESENCE_REFRESH } = process.env;
const [command, user, id] = process.argv.slice(2);
if (!user || !id) throw new Error("usage: node node.mjs refresh|hold USER SESSION");
const session: Session = {
  url: PRESENCE_URL ?? "http://localhost:8080",
  user,
  session: id,
  onRetry: (error) => console.log(`-- lost: ${describe(error)}`),
};
if (PRESENCE_TOKEN_FILE) session.token = async () => (await readFile(PRESENCE_TOKEN_FILE, "utf8")).trim();
// When the call began. With it, a refresh or a new response cannot undo what was observed later.
const pair: Pair = { availability: "Busy", activity: "InACall", observedDateTime: new Date().toISOString() };

const control = new AbortController();
process.stdin.once("data", () => control.abort());

function describe(error: unknown): string {
  if (error instanceof PresenceError) return `${error.code}: ${error.message} ${error.fields}`;
  return String(error);
}

try {
  if (command === "hold") {
    for await (const { expiryDateTime } of hold(session, pair, control.signal)) {
      console.log(`-- held until ${expiryDateTime}`);
    }
  } else {
    while (!control.signal.aborted) {
      await set(session, pair, control.signal);
      if (!control.signal.aborted) console.log("-- set");
      await sleep(1_000 * Number(PRESENCE_REFRESH ?? 120), control.signal);
    }
    await clear(session);
  }
  console.log("-- cleared");
} catch (error) {
  console.log(`-- failed: ${describe(error)}`);
  process.exitCode = 1;
}
process.stdin.destroy();
