// Follows the presence of users over Server-Sent Events, in browsers and Node 20 or later.
// It uses `fetch`, because `EventSource` cannot send a token and does not notice a silent
// connection.

const PAUSE_MIN = 1_000;
const PAUSE_MAX = 30_000;

// Yields { event, data }: "presence", "snapshotComplete" and "heartbeat" as the service
// sends them, and "lost" with an error before it opens another stream. Throws when a retry
// cannot help. To stop, leave the loop, or call `return()`, which takes effect at the next
// message, a heartbeat at the latest.
//
// `token`, if given, returns an access token; it is called before each stream, because the
// last token may have expired. `heartbeat` is the service's, in milliseconds.
export async function* watch({ url, ids, token, heartbeat = 15_000 }) {
  let pause = PAUSE_MIN;
  for (;;) {
    try {
      for await (const message of oneStream({ url, ids, token, heartbeat })) {
        if (message.event === "snapshotComplete") pause = PAUSE_MIN;
        yield message;
      }
    } catch (error) {
      if (error.fatal) throw error;
      yield { event: "lost", data: error };
    }
    // A random pause, so that clients do not return all at once.
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    pause = Math.min(2 * pause, PAUSE_MAX);
  }
}

async function* oneStream({ url, ids, token, heartbeat }) {
  const control = new AbortController();
  let timer;
  const restartTimer = () => {
    clearTimeout(timer);
    timer = setTimeout(() => control.abort(new Error("silence")), 3 * heartbeat);
  };
  try {
    restartTimer();
    const bearer = await token?.();
    // A single value would be split at its commas.
    const each = ids.length === 1 ? [ids[0], ids[0]] : ids;
    const users = new URLSearchParams(each.map((id) => ["ids", id]));
    const response = await fetch(`${url}/v1.0/communications/watchPresences?${users}`, {
      headers: bearer ? { authorization: `Bearer ${bearer}` } : {},
      signal: control.signal,
    });
    if (!response.ok) {
      const fatal = [400, 403, 431].includes(response.status);
      throw Object.assign(new Error(`${response.status}: ${await response.text()}`), { fatal });
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the connection ended");
      restartTimer();
      const messages = (text + value).split("\n\n");
      text = messages.pop();
      for (const { event, data } of messages.map(parse)) {
        if (event === "error") throw new Error(`${data.error.code}: ${data.error.message}`);
        if (event) yield { event, data };
      }
    }
  } finally {
    clearTimeout(timer);
    control.abort();
  }
}

// Parses a message: a line `event`, and a line `data` with JSON.
function parse(message) {
  const fields = Object.fromEntries(message.split("\n").map((line) => line.split(/: ?(.*)/, 2)));
  return { event: fields.event, data: JSON.parse(fields.data ?? "null") };
}
