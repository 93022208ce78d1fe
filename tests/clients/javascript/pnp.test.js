// PnPjs (@pnp/graph) against a running presenced:
//
//   PRESENCE_URL=http://localhost:8080 node --test
//
// Everything that it offers on presences. Only the base URL is specific to presenced.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { DefaultHeaders, DefaultInit, graphfi } from "@pnp/graph";
import "@pnp/graph/batching.js";
import "@pnp/graph/cloud-communications/index.js";
import "@pnp/graph/users/index.js";
import { BrowserFetch, DefaultParse } from "@pnp/queryable";

const URL = process.env.PRESENCE_URL ?? "http://localhost:8080";

// What the service ignored of the requests so far.
const ignored = [];
const graph = graphfi().using(
  DefaultInit(`${URL}/v1.0`),
  DefaultHeaders(),
  BrowserFetch(),
  DefaultParse(),
  (instance) => {
    instance.on.parse.prepend(async (url, response, result) => {
      ignored.push(response.headers.get("presence-ignored"));
      return [url, response, result];
    });
    return instance;
  },
);

const session = { sessionId: "app", availability: "Busy", activity: "InACall", expirationDuration: "PT1H" };
const presence = (id, root = graph) => root.users.getById(id).presence;

const explain = async (id) => (await fetch(`${URL}/v1.0/users/${id}/presence/explain`)).json();

test("PnPjs sets, reads and clears a session", async () => {
  const id = randomUUID();
  await presence(id).setPresence(session);
  const [{ setDateTime, expireDateTime }] = (await explain(id)).sessions;
  assert.equal(Date.parse(expireDateTime) - Date.parse(setDateTime), 3_600_000);
  assert.equal((await presence(id)()).activity, "InACall");
  assert.deepEqual(Object.keys(await presence(id).select("activity")()), ["@odata.context", "activity"]);
  await presence(id).clearPresence("app");
  assert.equal((await presence(id)()).activity, "Offline");
});

test("PnPjs prefers a presence", async () => {
  const id = randomUUID();
  await presence(id).setPresence(session);
  const preferred = { availability: "DoNotDisturb", activity: "DoNotDisturb", expirationDuration: "PT8H" };
  await presence(id).setPreferredPresence(preferred);
  assert.equal((await presence(id)()).activity, "DoNotDisturb");
  await presence(id).clearPreferredPresence();
  assert.equal((await presence(id)()).activity, "InACall");
});

test("PnPjs sets a status message and its end", async () => {
  const id = randomUUID();
  const message = { content: "Hi", contentType: "text" };
  const expiryDateTime = { dateTime: "2036-10-18T17:05:33.2079781", timeZone: "Pacific Standard Time" };
  await presence(id).setStatusMessage({ message, expiryDateTime });
  const { statusMessage } = (await explain(id)).presence;
  assert.deepEqual(statusMessage.message, message);
  assert.equal(statusMessage.expiryDateTime.dateTime, "2036-10-19T00:05:33.2070000");
});

test("PnPjs reads many presences, and a batch", async () => {
  const [id, other] = [randomUUID(), randomUUID()];
  const presences = await graph.communications.getPresencesByUserId([id, other]);
  assert.deepEqual(presences.map((presence) => presence.id), [id, other]);
  const [batched, execute] = graph.batched();
  const set = presence(id, batched).setPresence(session);
  const read = presence(other, batched)();
  await execute();
  await set;
  assert.equal((await read).id, other);
  assert.equal((await presence(id)()).activity, "InACall");
});

test("PnPjs sends nothing that the service ignores, but what its caller adds", async () => {
  assert.ok(ignored.length > 10);
  assert.deepEqual(new Set(ignored), new Set([null]));
  await presence(randomUUID()).setPresence({ ...session, duration: "PT1H" });
  assert.equal(ignored.at(-1), "duration");
});
