/** A WebSocket to this server that comes back by itself, and says what it is waiting for. */
import { protocols } from "./api.js";
import { signIn } from "./keys.js";

const SHORTEST_WAIT = 500;
const LONGEST_WAIT = 8000;
const STEADY = 5000;
const OPENING_TIME = 15_000;
const STALLED_TIME = 15_000;
const MOST_WAITING = 24_000_000; // Bytes: some minutes of sound at any rate.
const NEEDS_KEY = new Set(["MissingAuthenticationTokenException", "UnrecognizedClientException"]);
const FINAL = new Set(["BadRequestException", "AccessDeniedException", "NotFoundException", "ConflictException"]);

/**
 * Tells whether a connection has stalled. The function that it returns is asked at each sending, with the bytes
 * given to the connection so far, those of them that wait, and the time in milliseconds. A slow connection that
 * goes on sending has not stalled.
 */
export function stalling(now) {
  let sent = 0;
  let since = now;
  return (given, waiting, at) => {
    if (waiting === 0 || given - waiting > sent) [sent, since] = [given - waiting, at];
    return at - since > STALLED_TIME || waiting > MOST_WAITING;
  };
}

/**
 * Keep a connection to `address()`, a URL that is asked for anew each time.
 *
 * `onopen()` follows each success. `onmessage(message, event)` gets each message, parsed. `onstate(state,
 * detail)` tells of changes:
 * - "connecting", "open"
 * - "waiting": the connection was lost, or there was none; `detail.seconds` until the next try
 * - "full": the server has no room; `detail.seconds` until the next try, `detail.message`
 * - "refused": trying again would not help; `detail.message`
 * - "closed": the server ended the connection as agreed, or `close` did; `detail.message` if what was
 *   watched broke off
 *
 * `endsWith(message)` says whether after this message the end of the connection is the agreed one. `watches`
 * says that the server closes the connection itself after an error, with code 1000 if what is watched is over.
 */
export function connect({ address, onopen = () => {}, onmessage, onstate, endsWith = () => false, watches = false }) {
  let socket = null;
  let attempts = 0;
  let timer = 0;
  let closed = false;
  let ending = false;
  let openedAt = 0;
  let asking = false; // For a key.
  let given = 0;
  let isStalled = () => false;

  function open() {
    clearTimeout(timer);
    if (closed) return;
    onstate("connecting", {});
    const own = (socket = new WebSocket(address(), protocols()));
    own.binaryType = "arraybuffer";
    let trouble = null;
    // A server that accepts the connection and then hangs would be waited for without end.
    const opening = setTimeout(() => own.close(), OPENING_TIME);
    own.onopen = () => {
      clearTimeout(opening);
      if (own !== socket) return;
      openedAt = performance.now();
      given = 0;
      isStalled = stalling(openedAt);
      onstate("open", {});
      onopen();
    };
    own.onmessage = (event) => {
      if (own !== socket) return;
      const message = JSON.parse(event.data);
      if (message.Error) trouble = message.Error;
      if (endsWith(message)) ending = true;
      onmessage(message, event);
      // The server discards what follows an error, so that only a new connection helps.
      if (trouble && !watches) own.close();
    };
    own.onclose = (event) => {
      clearTimeout(opening);
      if (own !== socket) return;
      socket = null;
      after(trouble, event);
    };
  }

  async function after(trouble, event) {
    if (closed) return;
    if (ending && !trouble) return stop("closed", {});
    if (watches && event.code === 1000) return stop("closed", { message: trouble?.Message });
    const wasSteady = openedAt && performance.now() - openedAt > STEADY;
    openedAt = 0;
    if (trouble && NEEDS_KEY.has(trouble.Code)) {
      onstate("waiting", { seconds: 0, message: trouble.Message });
      asking = true;
      const signed = await signIn(trouble.Message);
      asking = false;
      if (closed) return;
      if (signed) return open();
      return stop("refused", { message: trouble.Message });
    }
    const isTimeOut = trouble && /timed out/.test(trouble.Message);
    if (trouble && FINAL.has(trouble.Code) && !isTimeOut) return stop("refused", { message: trouble.Message });
    attempts = wasSteady ? 0 : attempts + 1;
    const backoff = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** Math.max(0, attempts - 1)) * (0.8 + 0.4 * Math.random());
    const isFull = trouble?.Code === "LimitExceededException" || event.code === 1013;
    const wait = isFull ? Math.max(backoff, 1000 * (trouble?.RetryAfter ?? 1)) : backoff;
    timer = setTimeout(open, wait);
    onstate(isFull ? "full" : "waiting", { seconds: wait / 1000, message: trouble?.Message });
  }

  function stop(state, detail) {
    closed = true;
    clearTimeout(timer);
    removeEventListener("online", again);
    const own = socket;
    socket = null;
    own?.close(1000);
    onstate(state, detail);
  }

  function again() {
    if (!socket && !closed && !asking) open();
  }

  addEventListener("online", again);
  open();
  return {
    /** Send text or bytes; returns whether there was a connection. */
    send(data) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(data);
      given += data.byteLength ?? data.length;
      return true;
    },
    /** Whether the connection takes no more of what is sent. */
    get stalled() {
      return socket !== null && isStalled(given, socket.bufferedAmount, performance.now());
    },
    /** Give this connection up as one that is lost: another one follows after the usual wait. */
    drop() {
      const own = socket;
      if (!own) return;
      socket = null;
      own.close();
      after(null, { code: 1006 });
    },
    /** Leave this connection, and open another one at once. */
    restart() {
      const own = socket;
      socket = null;
      own?.close();
      if (!asking) open();
    },
    /** End it for good. */
    close() {
      if (!closed) stop("closed", {});
    },
  };
}
