// The official Graph client for JavaScript over TLS, with an application's token. Only over
// https does it send tokens and follow links to the next page.
//
//   PRESENCE_URL=https://localhost:8080 PRESENCE_APP_TOKEN=... node --test secure.js
//
// NODE_EXTRA_CA_CERTS names the certificate authority.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, PageIterator } from "@microsoft/microsoft-graph-client";

const URL = process.env.PRESENCE_URL;
const APP = "22553876-f5ab-4529-bffb-cfe50aa89f87";

const withToken = (token) =>
  Client.initWithMiddleware({
    baseUrl: URL,
    defaultVersion: "v1.0",
    authProvider: { getAccessToken: async () => token },
    customHosts: new Set(["localhost"]),
  });
const client = withToken(process.env.PRESENCE_APP_TOKEN);

test("the page iterator follows links through all pages", async () => {
  const ids = ["ada", "bob", "cyd"];
  for (const id of ids) {
    const session = { sessionId: APP, availability: "Busy", activity: "InACall" };
    await client.api(`/users/${id}/presence/setPresence`).post(session);
  }
  const found = [];
  const first = await client.api("/communications/presences?$top=1").get();
  await new PageIterator(client, first, (presence) => found.push(presence.id) > 0).iterate();
  assert.deepEqual(found.filter((id) => ids.includes(id)), ids);
});

test("clearing a session of another application is 403", async () => {
  const clear = client.api("/users/ada/presence/clearPresence").post({ sessionId: "another" });
  await assert.rejects(clear, (error) => error.statusCode === 403 && error.code === "Forbidden");
});

test("an application has no /me, and an invalid token is refused", async () => {
  await assert.rejects(client.api("/me/presence").get(), (error) => error.statusCode === 400);
  const get = withToken("a.b.c").api("/users/ada/presence").get();
  await assert.rejects(get, (error) => error.statusCode === 401 && error.code === "InvalidAuthenticationToken");
});
