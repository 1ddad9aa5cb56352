/** A WebSocket to this server that comes back by itself, and says what it is waiting for. */
import { protocols } from "./api.js";
import { signIn } from "./keys.js";

const SHORTEST_WAIT = 500;
const LONGEST_WAIT = 8000;
const STEADY = 5000;
const ACCEPTED = 500; // A server that is full takes a connection, and refuses its sound at once.
const OPENING_TIME = 15_000; // A server may take a connection and then hang.
const STALLED_TIME = 15_000;
const MOST_WAITING = 24_000_000; // Bytes: some minutes of sound at any rate.
const NEEDS_KEY = new Set(["MissingAuthenticationTokenException", "UnrecognizedClientException"]);
const FINAL = new Set(["BadRequestException", "AccessDeniedException", "NotFoundException", "ConflictException"]);

/**
 * Tells whether a connection has stalled; a slow one that goes on sending has not. The function that it returns is asked
 * at each sending, with the bytes given to the connection so far, those of them that wait, and the time in milliseconds.
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
 * - "waiting": the connection was lost, or there was none
 * - "full": the server has no room; `detail.seconds` until the next try, `detail.message`. It lasts until the server
 *   has taken what is sent
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
  let timer = 0; // Of the next try, or of what the current one waits for.
  let closed = false;
  let ending = false;
  let accepted = false;
  let full = false;
  let openedAt = Infinity;
  let asking = false; // For a key.
  let given = 0;
  let isStalled;

  function open() {
    if (closed) return;
    if (!full) onstate("connecting", {});
    const own = (socket = new WebSocket(address(), protocols()));
    own.binaryType = "arraybuffer";
    let trouble = null;
    accepted = false;
    clearTimeout(timer);
    timer = setTimeout(() => own.close(), OPENING_TIME);
    own.onopen = () => {
      if (own !== socket) return;
      clearTimeout(timer);
      timer = setTimeout(accept, ACCEPTED);
      openedAt = performance.now();
      given = 0;
      isStalled = stalling(openedAt);
      onopen();
    };
    own.onmessage = (event) => {
      if (own !== socket) return;
      const message = JSON.parse(event.data);
      if (message.Error) trouble = message.Error;
      else accept();
      if (endsWith(message)) ending = true;
      onmessage(message, event);
      // The server discards what follows an error, so that only a new connection helps.
      if (trouble && !watches) own.close();
    };
    own.onclose = (event) => {
      if (own === socket) lost(trouble, event.code);
    };
  }

  function accept() {
    if (accepted) return;
    accepted = true;
    full = false;
    clearTimeout(timer);
    onstate("open", {});
  }

  async function lost(trouble, code) {
    socket = null;
    clearTimeout(timer);
    if (ending && !trouble) return stop("closed", {});
    if (watches && code === 1000) return stop("closed", { message: trouble?.Message });
    const isSteady = performance.now() - openedAt > STEADY;
    openedAt = Infinity;
    if (NEEDS_KEY.has(trouble?.Code)) {
      onstate("waiting", {});
      asking = true;
      const isSigned = await signIn(trouble.Message);
      asking = false;
      return isSigned ? open() : stop("refused", { message: trouble.Message });
    }
    if (FINAL.has(trouble?.Code) && !/timed out/.test(trouble.Message)) return stop("refused", { message: trouble.Message });
    attempts = isSteady ? 0 : attempts + 1;
    full = trouble?.Code === "LimitExceededException" || code === 1013;
    const backoff = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** Math.max(0, attempts - 1)) * (0.8 + 0.4 * Math.random());
    const wait = full ? Math.max(backoff, 1000 * (trouble?.RetryAfter ?? 1)) : backoff;
    timer = setTimeout(open, wait);
    onstate(full ? "full" : "waiting", { seconds: wait / 1000, message: trouble?.Message });
  }

  function stop(state, detail) {
    if (closed) return;
    closed = true;
    clearTimeout(timer);
    removeEventListener("online", again);
    const own = socket;
    socket = null;
    own?.close(1000);
    onstate(state, detail);
  }

  function again() {
    if (!socket && !asking) open();
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
      socket.close();
      lost(null, 1006);
    },
    /** Leave this connection, and open another one at once. */
    restart() {
      socket?.close();
      open();
    },
    /** End it for good. */
    close: () => stop("closed", {}),
  };
}
