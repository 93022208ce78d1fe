// Sets, refreshes, holds and clears sessions over HTTP, in pages and in Node 20 or later.

// The service gives up after 2.8 s and says why. A shorter deadline only hides the reason.
const DEADLINE = 3_000;
// The service extends a session every 7.5 s with the default grace. A quieter response is broken.
const SILENCE = 15_000;
const PAUSE_MIN = 1_000;
const PAUSE_MAX = 30_000;

export interface Session {
  /** The service, such as `http://localhost:8080`. */
  url: string;
  user: string;
  /** The application's id, a colon, and a suffix for each tab, device or call. */
  session: string;
  /** Returns an access token. It is called before each request: the last token may have expired. */
  token?: () => Promise<string>;
  /** Is called before each retry. */
  onRetry?: (error: unknown) => void;
}

export interface Pair {
  availability: "Available" | "Busy" | "Away" | "DoNotDisturb";
  activity: "Available" | "InACall" | "InAConferenceCall" | "Away" | "Presenting";
  /** When it was observed, as in `new Date().toISOString()`. */
  observedDateTime?: string;
}

/** An event of a held session. */
export interface Held {
  event: "sessionSet" | "sessionExtended";
  expiryDateTime: string;
}

interface ErrorBody {
  error: { code: string; message: string; details?: { target: string; message: string }[] };
}

/** An error of the service. */
export class PresenceError extends Error {
  readonly code: string;
  /** The names of the invalid fields. */
  readonly fields: string[];
  /** The delay before a retry that the service named, in milliseconds. */
  readonly delay?: number;

  constructor({ error }: ErrorBody, readonly status: number, retryAfter: string | null = null) {
    super(error.message);
    this.code = error.code;
    this.fields = error.details?.map(({ target }) => target) ?? [];
    if (retryAfter !== null) this.delay = 1_000 * Number(retryAfter);
  }

  /** Whether a retry fails again. 429 passes only if the service names a delay. */
  get fatal(): boolean {
    const codes = ["InvalidArgument", "BadRequest", "Forbidden", "NotFound", "PreconditionFailed"];
    if (codes.includes(this.code) || [405, 413, 415].includes(this.status)) return true;
    return this.code === "TooManyRequests" && this.delay === undefined;
  }
}

export async function set(session: Session, pair: Pair, ended?: AbortSignal): Promise<void> {
  await call(session, "setPresence", pair, ended);
}

export async function clear(session: Session): Promise<void> {
  try {
    await call(session, "clearPresence", {});
  } catch (error) {
    // The session has ended already, for example by the first try of this call.
    if (!(error instanceof PresenceError && error.status === 404)) throw error;
  }
}

/** Holds the session until `ended`, then clears it. Another response replaces a broken one within the grace of 15 s. */
export async function* hold(session: Session, pair: Pair, ended: AbortSignal): AsyncGenerator<Held> {
  for (let pause = new Pause(); !ended.aborted; ) {
    try {
      for await (const held of oneResponse(session, pair, ended)) {
        pause = new Pause();
        yield held;
      }
    } catch (error) {
      if (ended.aborted) break;
      await pause.wait(session, error, ended);
    }
  }
  // The end of the response leaves the session for the grace.
  await clear(session);
}

async function* oneResponse(session: Session, pair: Pair, ended: AbortSignal): AsyncGenerator<Held> {
  const control = new AbortController();
  const stop = () => control.abort(ended.reason);
  ended.addEventListener("abort", stop);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const restartTimer = () => {
    clearTimeout(timer);
    timer = setTimeout(() => control.abort(new Error("silence")), SILENCE);
  };
  try {
    restartTimer();
    const response = await post(session, "holdPresence", pair, control.signal);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the connection ended");
      restartTimer();
      const messages = (text + value).split("\n\n");
      text = messages.pop()!;
      for (const message of messages) {
        const fields = Object.fromEntries(message.split("\n").map((line) => line.split(/: ?(.*)/, 2)));
        const data = JSON.parse(fields.data ?? "{}");
        if (fields.event === "error") throw new PresenceError(data, response.status);
        if (fields.event) yield { event: fields.event, ...data };
      }
    }
  } finally {
    clearTimeout(timer);
    ended.removeEventListener("abort", stop);
    control.abort();
  }
}

// Calls until the service responds. Every write is safe to retry.
async function call(session: Session, action: string, body: object, ended?: AbortSignal): Promise<void> {
  for (const pause = new Pause(); !ended?.aborted; ) {
    try {
      await post(session, action, body, AbortSignal.timeout(DEADLINE));
      return;
    } catch (error) {
      await pause.wait(session, error, ended);
    }
  }
}

async function post(session: Session, action: string, body: object, signal: AbortSignal): Promise<Response> {
  const { url, user, session: sessionId, token } = session;
  const headers = new Headers({ "content-type": "application/json", prefer: "handling=strict" });
  if (token) headers.set("authorization", `Bearer ${await token()}`);
  const response = await fetch(`${url}/v1.0/users/${encodeURIComponent(user)}/presence/${action}`, {
    method: "POST",
    headers,
    body: JSON.stringify({ sessionId, ...body }),
    signal,
  });
  if (response.ok) return response;
  const text = await response.text();
  // A proxy may respond without a JSON body.
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const error = isJson ? JSON.parse(text) : { error: { code: String(response.status), message: text } };
  throw new PresenceError(error, response.status, response.headers.get("retry-after"));
}

// The pause before a retry: the service's delay, or else longer each time.
class Pause {
  private next = PAUSE_MIN;

  // Throws the error if a retry cannot help.
  async wait(session: Session, error: unknown, ended?: AbortSignal): Promise<void> {
    if (error instanceof PresenceError && error.fatal) throw error;
    session.onRetry?.(error);
    const pause = (error instanceof PresenceError && error.delay) || this.next;
    this.next = Math.min(2 * this.next, PAUSE_MAX);
    // A random addition, so that clients do not return all at once.
    await sleep(pause * (1 + Math.random() / 2), ended);
  }
}

/** Waits for the time, or until `ended`. */
export function sleep(millis: number, ended?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (ended?.aborted) return resolve();
    const timer = setTimeout(resolve, millis);
    ended?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
