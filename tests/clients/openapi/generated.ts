// Calls the service with the client that openapi-generator made of its document (generator
// typescript-fetch). Prints "passed" at the end. PRESENCE_URL, PRESENCE_USER, and the tokens of the user
// and of an application are in the environment.

import assert from "node:assert";
import {
  BatchApi,
  CommunicationsApi,
  Configuration,
  MeApi,
  ModelErrorFromJSON,
  ResponseError,
  UsersApi,
} from "./client";

const variable = (name: string): string => {
  const value = process.env[name];
  assert(value, name);
  return value;
};
const id = variable("PRESENCE_USER");
const sessionId = variable("PRESENCE_APP");
const configuration = (token: string) =>
  new Configuration({ basePath: `${variable("PRESENCE_URL")}/v1.0`, accessToken: variable(token) });

async function refused(call: Promise<unknown>, status: number, code: string) {
  const failure = await call.then(
    () => assert.fail(`no error ${status}`),
    (error: unknown) => error,
  );
  assert(failure instanceof ResponseError);
  const { error } = ModelErrorFromJSON(await failure.response.json());
  assert.deepStrictEqual([failure.response.status, error.code], [status, code]);
  return error;
}

async function main() {
  const application = configuration("PRESENCE_APP_TOKEN");
  const user = configuration("PRESENCE_TOKEN");
  const users = new UsersApi(application);
  const communications = new CommunicationsApi(application);
  const me = new MeApi(user);

  // A session.
  const observedDateTime = new Date(Date.now() - 1000);
  const session = { sessionId, expirationDuration: "PT1H", observedDateTime };
  const setPresenceRequest = { ...session, availability: "DoNotDisturb", activity: "Presenting" } as const;
  await users.setPresence({ id, setPresenceRequest });
  const many = await communications.batchGetPresences({ getPresencesByUserIdRequest: { ids: [id] } });
  const page = await communications.listPresences({ $top: 10 });
  for (const presence of [
    await users.getPresence({ id }),
    await communications.getPresenceById({ id }),
    await me.getPresenceOfMe(),
    many.value[0],
    page.value[0],
  ]) {
    const shown = [presence?.id, presence?.availability, presence?.activity];
    assert.deepStrictEqual(shown, [id, "DoNotDisturb", "Presenting"]);
    assert.strictEqual(presence?.workLocation?.source, "none");
  }
  assert.strictEqual(await communications.countPresences(), "1");

  // A pair that is not allowed.
  const wrong = { sessionId, availability: "Available", activity: "InACall" } as const;
  const error = await refused(users.setPresence({ id, setPresenceRequest: wrong }), 400, "InvalidArgument");
  assert(error.details?.length && error.innerError.requestId);

  // The user.
  const described = await me.getMe();
  assert.deepStrictEqual([described.id, described.displayName, described.mail], [id, "Megan Bowen", null]);
  const dateTime = new Date(Date.now() + 3_600_000).toISOString().slice(0, 19);
  const statusMessage = {
    message: { content: "In the workshop", contentType: "text" },
    expiryDateTime: { dateTime, timeZone: "UTC" },
  };
  await me.setStatusMessageOfMe({ setStatusMessageRequest: { statusMessage } });
  const message = (await me.getPresenceOfMe()).statusMessage;
  assert.strictEqual(message?.message.content, "In the workshop");
  assert(message.expiryDateTime?.dateTime.startsWith(dateTime));
  const setUserPreferredPresenceRequest = { availability: "Offline", activity: "OffWork" } as const;
  await me.setUserPreferredPresenceOfMe({ setUserPreferredPresenceRequest });
  assert.strictEqual((await me.getPresenceOfMe()).activity, "OffWork");
  await me.clearUserPreferredPresenceOfMe();

  // A batch, and the extensions.
  const requests = [
    { id: "1", method: "GET", url: "/me" },
    { id: "2", method: "POST", url: "/me/presence/clearPresence", body: { sessionId: "undefined" } },
  ];
  const { responses } = await new BatchApi(user).batch({ batchRequest: { requests } });
  assert.deepStrictEqual(responses.map(({ status }) => status), [200, 400]);
  assert.strictEqual((await users.explainPresence({ id })).sessions[0]?.sessionId, sessionId);
  assert((await users.listPresenceHistory({ id })).value.length >= 2);

  const clearPresenceRequest = { sessionId };
  await users.clearPresence({ id, clearPresenceRequest });
  await refused(users.clearPresence({ id, clearPresenceRequest }), 404, "NotFound");
  assert.strictEqual((await users.getPresence({ id })).availability, "Offline");
  console.log("passed");
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
