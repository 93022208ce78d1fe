// The official Graph client for JavaScript (@microsoft/microsoft-graph-client)
// against a running presenced:
//
//   PRESENCE_URL=http://localhost:8080 node --test
//
// Only the adapter is specific to presenced. Over plain http this client sends no token.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { BatchRequestContent, BatchResponseContent, Client, GraphError } from "@microsoft/microsoft-graph-client";

const URL = process.env.PRESENCE_URL ?? "http://localhost:8080";
const APP = "22553876-f5ab-4529-bffb-cfe50aa89f87";

// The adapter: the service's address, and a token.
const client = Client.initWithMiddleware({
  baseUrl: URL,
  defaultVersion: "v1.0",
  authProvider: { getAccessToken: async () => "a.b.c" },
});

const session = { sessionId: APP, availability: "Busy", activity: "InACall", expirationDuration: "PT1H" };

// Each path that leads to a presence, with a new user.
const roots = () => {
  const id = randomUUID();
  return [`/users/${id}/presence`, `/communications/presences/${id}`].map((path) => ({ id, path }));
};

async function refused(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof GraphError);
    assert.deepEqual([error.statusCode, error.code], [status, code]);
    assert.ok(error.message);
    assert.ok(error.requestId);
    return true;
  });
}

test("set, get and clear at every path and in both versions", async () => {
  for (const version of ["v1.0", "beta"]) {
    for (const { id, path } of roots()) {
      const api = (suffix) => client.api(path + suffix).version(version);
      await api("/setPresence").post(session);
      const presence = await api("").get();
      assert.deepEqual([presence.id, presence.availability, presence.activity], [id, "Busy", "InACall"]);
      assert.deepEqual(presence.outOfOfficeSettings, { message: null, isOutOfOffice: false });
      await api("/clearPresence").post({ sessionId: APP });
      assert.equal((await api("").get()).availability, "Offline");
      await refused(api("/clearPresence").post({ sessionId: APP }), 404, "NotFound");
      await refused(api("/clearPresence").post({}), 400, "InvalidArgument");
    }
  }
});

test("preferred presence", async () => {
  for (const { path } of roots()) {
    await client.api(`${path}/setPresence`).post(session);
    await client.api(`${path}/setUserPreferredPresence`).post({
      availability: "DoNotDisturb",
      activity: "DoNotDisturb",
      expirationDuration: "PT8H",
    });
    assert.equal((await client.api(path).get()).activity, "DoNotDisturb");
    await client.api(`${path}/clearUserPreferredPresence`).post({});
    await client.api(`${path}/clearUserPreferredPresence`).post();
    assert.equal((await client.api(path).get()).activity, "InACall");
    const bad = { availability: "Busy", activity: "InACall" };
    await refused(client.api(`${path}/setUserPreferredPresence`).post(bad), 400, "InvalidArgument");
  }
});

test("status message", async () => {
  for (const { path } of roots()) {
    const message = { content: "Hey I'm currently in a meeting.", contentType: "text" };
    const expiryDateTime = { dateTime: "2040-10-18T17:05:33.2079781", timeZone: "Pacific Standard Time" };
    await client.api(`${path}/setStatusMessage`).post({ statusMessage: { message, expiryDateTime } });
    assert.deepEqual((await client.api(path).get()).statusMessage, { message });
    const html = { statusMessage: { message: { content: "<b>", contentType: "html" } } };
    await refused(client.api(`${path}/setStatusMessage`).post(html), 400, "InvalidArgument");
    await client.api(`${path}/setStatusMessage`).post({ statusMessage: { message: { content: "" } } });
    assert.equal((await client.api(path).get()).statusMessage, null);
  }
});

test("work location", async () => {
  const placeId = "eb706f15-137e-4722-b4d1-b601481d9251";
  for (const version of ["v1.0", "beta"]) {
    for (const { path } of roots()) {
      const api = (suffix) => client.api(path + suffix).version(version);
      const location = async () => (await api("").get()).workLocation;
      await api("/setAutomaticLocation").post({ workLocationType: "remote" });
      await api("/setManualLocation").post({ workLocationType: "office", placeId });
      assert.deepEqual(await location(), { placeId, source: "manual", workLocationType: "office" });
      await api("/clearAutomaticLocation").post();
      await api("/clearLocation").post();
      assert.deepEqual(await location(), { placeId: null, source: "none", workLocationType: "unspecified" });
    }
  }
});

test("bulk read, $select, list and count", async () => {
  const [{ id, path }] = roots();
  await client.api(`${path}/setPresence`).post(session);
  const { value } = await client.api("/communications/getPresencesByUserId").post({ ids: [id, "another"] });
  assert.deepEqual(value.map(({ availability }) => availability), ["Busy", "Offline"]);
  const ids = Array.from({ length: 651 }, (_, number) => `${number}`);
  await refused(client.api("/communications/getPresencesByUserId").post({ ids }), 400, "InvalidArgument");

  const selected = await client.api(path).select(["availability", "activity"]).get();
  assert.deepEqual(Object.keys(selected).sort(), ["@odata.context", "activity", "availability"]);
  await refused(client.api(path).expand("x").get(), 400, "InvalidArgument");

  const found = [];
  // This client and its PageIterator follow absolute links only over https.
  for (let next = "/communications/presences?$top=1"; next; ) {
    const page = await client.api(next).get();
    found.push(...page.value.map((presence) => presence.id));
    next = page["@odata.nextLink"]?.replace(`${URL}/v1.0`, "");
  }
  assert.ok(found.includes(id));
  assert.equal(Number(await client.api("/communications/presences/$count").responseType("text").get()), found.length);
});

test("unsupported methods are 405, and /me without a user is 401", async () => {
  for (const { path } of roots()) {
    await refused(client.api(path).patch({}), 405, "MethodNotAllowed");
    await refused(client.api(path).delete(), 405, "MethodNotAllowed");
  }
  await refused(client.api("/communications/presences").post({}), 405, "MethodNotAllowed");
  await refused(client.api("/me/presence").get(), 401, "InvalidAuthenticationToken");
  await refused(client.api("/me/presence/setPresence").post(session), 401, "InvalidAuthenticationToken");
});

test("batch", async () => {
  const [{ path }] = roots();
  const headers = { "Content-Type": "application/json" };
  const post = (action, body) =>
    new Request(`${URL}/v1.0${path}/${action}`, { method: "POST", headers, body: JSON.stringify(body) });
  const content = new BatchRequestContent([
    { id: "1", request: post("setPresence", session) },
    { id: "2", request: new Request(`${URL}/v1.0${path}`), dependsOn: ["1"] },
    { id: "3", request: post("clearPresence", { sessionId: "another" }), dependsOn: ["2"] },
    { id: "4", request: new Request(`${URL}/v1.0${path}`), dependsOn: ["3"] },
  ]);
  const responses = new BatchResponseContent(await client.api("/$batch").post(await content.getContent()));
  const statuses = ["1", "2", "3", "4"].map((id) => responses.getResponseById(id).status);
  assert.deepEqual(statuses, [200, 200, 404, 424]);
  assert.equal((await responses.getResponseById("2").json()).activity, "InACall");
});
