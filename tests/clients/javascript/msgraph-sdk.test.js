// The official Graph SDK for JavaScript (@microsoft/msgraph-sdk) against a
// running presenced:
//
//   PRESENCE_URL=http://localhost:8080 node --test
//
// Every operation that it offers on presences. Only the adapter is specific to presenced.
// The SDK has no package for paths below /communications.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import {
  AllowedHostsValidator,
  BaseBearerTokenAuthenticationProvider,
} from "@microsoft/kiota-abstractions";
import { createGraphServiceClient, GraphRequestAdapter } from "@microsoft/msgraph-sdk";
import "@microsoft/msgraph-sdk-users";

const URL = process.env.PRESENCE_URL ?? "http://localhost:8080";
const sessionId = "22553876-f5ab-4529-bffb-cfe50aa89f87";

// The adapter: the service's address, and the hosts that receive the token.
const adapter = new GraphRequestAdapter(
  new BaseBearerTokenAuthenticationProvider({
    getAuthorizationToken: async () => "a.b.c",
    getAllowedHostsValidator: () => new AllowedHostsValidator(),
  }),
);
adapter.baseUrl = `${URL}/v1.0`;
const client = createGraphServiceClient(adapter);

const session = { sessionId, availability: "Busy", activity: "InACall" };
const of = (id) => client.users.byUserId(id).presence;

async function refused(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.deepEqual([error.responseStatusCode, error.errorEscaped?.code], [status, code], error.message);
    assert.ok(error.errorEscaped.message);
    assert.ok(error.errorEscaped.innerError.requestId);
    return true;
  });
}

test("set, get and clear", async () => {
  const presence = of(randomUUID());
  await presence.setPresence.post(session);
  const read = await presence.get();
  assert.deepEqual([read.availability, read.activity], ["Busy", "InACall"]);
  assert.equal(read.outOfOfficeSettings.isOutOfOffice, false);
  assert.match(read.sequenceNumber, /^A\d+$/);
  await presence.clearPresence.post({ sessionId });
  assert.equal((await presence.get()).availability, "Offline");
  await refused(presence.clearPresence.post({ sessionId }), 404, "NotFound");
});

test("preferred presence", async () => {
  const presence = of(randomUUID());
  await presence.setPresence.post(session);
  await presence.setUserPreferredPresence.post({ availability: "Away", activity: "Away" });
  assert.equal((await presence.get()).activity, "Away");
  await presence.clearUserPreferredPresence.post();
  assert.equal((await presence.get()).activity, "InACall");
  const bad = { availability: "Busy", activity: "InACall" };
  await refused(presence.setUserPreferredPresence.post(bad), 400, "InvalidArgument");
});

test("status message", async () => {
  const presence = of(randomUUID());
  const message = { content: "Hey I am available now", contentType: "text" };
  const expiryDateTime = { dateTime: "2040-10-18T17:05:33", timeZone: "Europe/Berlin" };
  await presence.setStatusMessage.post({ statusMessage: { message, expiryDateTime } });
  const read = (await presence.get()).statusMessage;
  assert.deepEqual([read.message.content, read.message.contentType], [message.content, "text"]);
  const html = { statusMessage: { message: { content: "<b>", contentType: "html" } } };
  await refused(presence.setStatusMessage.post(html), 400, "InvalidArgument");
});

test("work location", async () => {
  const presence = of(randomUUID());
  const placeId = "eb706f15-137e-4722-b4d1-b601481d9251";
  await presence.setAutomaticLocation.post({ workLocationType: "remote" });
  await presence.setManualLocation.post({ workLocationType: "office", placeId });
  const read = (await presence.get()).workLocation;
  assert.deepEqual([read.placeId, read.source, read.workLocationType], [placeId, "manual", "office"]);
  await presence.clearAutomaticLocation.post();
  await presence.clearLocation.post();
  assert.equal((await presence.get()).workLocation.source, "none");
});

test("select", async () => {
  const presence = of(randomUUID());
  const read = await presence.get({ queryParameters: { select: ["activity"] } });
  assert.deepEqual([read.availability, read.activity], [undefined, "Offline"]);
});

test("unsupported methods are 405", async () => {
  const presence = of(randomUUID());
  await refused(presence.patch({ availability: "Busy" }), 405, "MethodNotAllowed");
  await refused(presence.delete(), 405, "MethodNotAllowed");
});

test("/me without a user is 401", async () => {
  await refused(client.me.presence.get(), 401, "InvalidAuthenticationToken");
  await refused(client.me.presence.setPresence.post(session), 401, "InvalidAuthenticationToken");
});
