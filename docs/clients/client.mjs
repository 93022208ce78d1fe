// Sets and reads a presence until Enter is pressed: node client.mjs ADDRESS,ADDRESS
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const SERVICE_CONFIG = readFileSync(new URL("service-config.json", import.meta.url), "utf8");
// A copy of proto/ beside this file.
const definition = loadSync("presence/v1/presence_service.proto", { includeDirs: ["proto"] });
const { PresenceService } = grpc.loadPackageDefinition(definition).presence.v1;

// A client of all replicas. With DNS, the target is "dns:///presence.example.com:50051". For TLS, use
// grpc.credentials.createSsl().
function connect(addresses) {
  return new PresenceService(`ipv4:${addresses}`, grpc.credentials.createInsecure(), {
    "grpc.service_config": SERVICE_CONFIG,
    "grpc.default_authority": "presence",
    // Otherwise all clients of the same target share one connection.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.max_reconnect_backoff_ms": 5_000,
  });
}

const client = connect(process.argv[2]);
const [set, get] = [client.setPresence, client.getPresence].map((method) => promisify(method).bind(client));

// Sets and reads a presence.
async function call() {
  const deadline = () => ({ deadline: Date.now() + 10_000 });
  const session = {
    userId: "ada",
    sessionId: "desk:call-1",
    availability: "AVAILABILITY_BUSY",
    activity: "ACTIVITY_IN_A_CALL",
  };
  await set(session, new grpc.Metadata(), deadline());
  await get({ userId: "ada" }, new grpc.Metadata(), deadline());
}

let ended = false;
process.stdin.once("data", () => (ended = true));
let [calls, failed] = [0, 0];
while (!ended) {
  try {
    await call();
  } catch (error) {
    failed += 1;
    console.log(`-- failed: ${error.message}`);
  }
  calls += 1;
  if (calls % 100 === 0) console.log(`-- calls: ${calls}`);
  await sleep(5);
}
console.log(`-- ended: ${calls} calls, ${failed} failed`);
process.exit();
