// Receives change notifications, verifies and decrypts them: node receiver.mjs 8081
//
// A proxy in front of it speaks TLS. PRESENCE_TENANT, PRESENCE_APP, PRESENCE_CLIENT_STATE and
// PRESENCE_KEY_FILE are for Graph's notifications, PRESENCE_SIGNING_KEY is for those of the service.

import { constants, createDecipheriv, createHmac, createPublicKey, privateDecrypt, timingSafeEqual, verify } from "node:crypto";
import type { JsonWebKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

const env = process.env;
const url = env.PRESENCE_URL ?? "http://localhost:8080";
// The same in all of Graph's tokens: the application that sends notifications.
const PUBLISHER = "0bf30f3b-4a52-48df-9a82-234910c4a086";
const BODY_MAX = 1024 * 1024;

interface EncryptedContent { data: string; dataKey: string; dataSignature: string }
interface Item {
  subscriptionId: string;
  clientState?: string | null;
  lifecycleEvent?: string;
  resourceData: { id: string };
  encryptedContent?: EncryptedContent;
}
interface GraphMessage { value: Item[]; validationTokens?: string[] }
interface Presence { id: string; availability: string; activity: string }
interface ServiceMessage {
  type: string;
  data: {
    subscriptionId: string;
    generation: number;
    count: number;
    presences: { userId: string; availability: string; activity: string }[];
  };
}

let keys = new Map<string, JsonWebKey>();

// The public key with this id. The keys are read again for an unknown one.
async function publicKey(id: string) {
  if (!keys.has(id)) {
    const response = await fetch(`${url}/.well-known/jwks.json`);
    if (!response.ok) throw new Error(`the keys cannot be read: ${response.status}`);
    const set = (await response.json()) as { keys: (JsonWebKey & { kid: string })[] };
    keys = new Map(set.keys.map((key) => [key.kid, key]));
  }
  const key = keys.get(id);
  if (!key) throw new Error("the key of the token is unknown");
  return createPublicKey({ key, format: "jwk" });
}

// Throws unless the service made the token for this application.
async function verifyToken(token: string) {
  const [header, claims, signature] = token.split(".").map((part) => Buffer.from(part, "base64url"));
  const { alg, kid } = JSON.parse(String(header));
  if (alg !== "RS256" || !signature) throw new Error("the token has another algorithm");
  const signed = Buffer.from(token.slice(0, token.lastIndexOf(".")));
  if (!verify("sha256", signed, await publicKey(kid), signature)) throw new Error("the token is forged");
  const { exp, aud, iss, azp } = JSON.parse(String(claims));
  const valid = exp > Date.now() / 1000 && aud === env.PRESENCE_APP && azp === PUBLISHER;
  if (!valid || iss !== `https://sts.windows.net/${env.PRESENCE_TENANT}/`) throw new Error("the token is invalid");
}

// The presence in `encryptedContent`.
function decrypt(content: EncryptedContent): Presence {
  const bytes = (text: string) => Buffer.from(text, "base64");
  const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha1" };
  const key = privateDecrypt({ key: readFileSync(env.PRESENCE_KEY_FILE!), ...padding }, bytes(content.dataKey));
  const signature = createHmac("sha256", key).update(bytes(content.data)).digest();
  if (!equal(signature, bytes(content.dataSignature))) throw new Error("the signature of the content is wrong");
  const decipher = createDecipheriv("aes-256-cbc", key, key.subarray(0, 16));
  return JSON.parse(decipher.update(bytes(content.data), undefined, "utf8") + decipher.final("utf8"));
}

function equal(a: Buffer, b: Buffer) {
  return a.length === b.length && timingSafeEqual(a, b);
}

// Applies a notification in Graph's form.
async function readGraph(message: GraphMessage) {
  const state = Buffer.from(env.PRESENCE_CLIENT_STATE ?? "");
  const known = message.value.every((item) => equal(Buffer.from(item.clientState ?? ""), state));
  if (!known) throw new Error("the client state is wrong");
  const tokens = message.validationTokens ?? [];
  const encrypted = message.value.some((item) => item.encryptedContent);
  if (encrypted && tokens.length === 0) throw new Error("the validation tokens are missing");
  for (const token of tokens) await verifyToken(token);
  for (const item of message.value) {
    if (item.lifecycleEvent) {
      console.log(`-- ${item.lifecycleEvent} ${item.subscriptionId}`);
    } else if (item.encryptedContent) {
      const presence = decrypt(item.encryptedContent);
      console.log(presence.id, presence.availability, presence.activity);
    } else {
      console.log(item.resourceData.id, "changed");
    }
  }
}

// The newest notification of each subscription.
const newest = new Map<string, [number, number]>();

// Applies a notification in the form of the service, whose signature was verified.
function readService({ type, data }: ServiceMessage) {
  if (type !== "presence.changed") return console.log(`-- ${type} ${data.subscriptionId}`);
  const [generation, count] = newest.get(data.subscriptionId) ?? [0, 0];
  const newer = data.generation > generation || (data.generation === generation && data.count > count);
  if (!newer) return console.log("-- not newer");
  newest.set(data.subscriptionId, [data.generation, data.count]);
  for (const { userId, availability, activity } of data.presences) console.log(userId, availability, activity);
}

async function read(request: IncomingMessage) {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_MAX) throw new Error("the body is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

const server = createServer(async (request, response) => {
  const token = new URL(request.url ?? "", "http://receiver").searchParams.get("validationToken");
  // As plain text, so that no browser runs a script in it.
  if (token !== null) return response.writeHead(200, { "content-type": "text/plain" }).end(token);
  try {
    const body = await read(request);
    if (request.headers["webhook-signature"]) {
      const webhook = new Webhook(env.PRESENCE_SIGNING_KEY ?? "");
      readService(webhook.verify(body, request.headers as Record<string, string>) as ServiceMessage);
    } else {
      await readGraph(JSON.parse(body));
    }
    response.writeHead(202).end();
  } catch (error) {
    console.log(`-- refused: ${(error as Error).message}`);
    response.writeHead(400).end();
  }
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  console.log(`-- listening: ${(server.address() as AddressInfo).port}`);
});
