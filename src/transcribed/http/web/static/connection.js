/** A WebSocket to this server that comes back by itself, and says what it is waiting for. */
import { protocols } from "./api.js";
import { signIn } from "./keys.js";

const SHORTEST_WAIT = 500;
const LONGEST_WAIT = 8000;
const STEADY = 5000;
const OPENING_TIME = 15_000;
const NEEDS_KEY = new Set(["MissingAuthenticationTokenException", "UnrecognizedClientException"]);
const FINAL = new Set(["BadRequestException", "AccessDeniedException", "NotFoundException", "ConflictException"]);

/**
 * Keep a connection to `address()`, a URL that is asked for anew each time.
 *
 * `onopen()` follows each success. `onmessage(message, event)` gets each message, parsed. `onstate(state,
 * detail)` tells of changes:
 * - "connecting", "open"
 * - "waiting": the connection was lost, or there was none; `detail.seconds` until the next try
 * - "full": the server has no room; `detail.seconds` until the next try, `detail.message`
 * - "refused": trying again would not help; `detail.message`
 * - "closed": the server ended the connection as agreed, or `close` did
 *
 * `endsWith(message)` says whether after this message the end of the connection is the agreed one.
 */
export function connect({ address, onopen = () => {}, onmessage, onstate, endsWith = () => false }) {
  let socket = null;
  let attempts = 0;
  let timer = 0;
  let closed = false;
  let ending = false;
  let openedAt = 0;

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
      if (trouble) own.close();
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
    const wasSteady = openedAt && performance.now() - openedAt > STEADY;
    openedAt = 0;
    if (trouble && NEEDS_KEY.has(trouble.Code)) {
      onstate("waiting", { seconds: 0, message: trouble.Message });
      if (await signIn(trouble.Message)) return open();
      return stop("refused", { message: trouble.Message });
    }
    const isTimeOut = trouble && /timed out/.test(trouble.Message);
    if (trouble && FINAL.has(trouble.Code) && !isTimeOut) return stop("refused", { message: trouble.Message });
    if (!trouble && event.code === 1008) {
      return stop("refused", { message: event.reason || "The server refused the connection." });
    }
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
    if (!socket && !closed) open();
  }

  addEventListener("online", again);
  open();
  return {
    /** Send text or bytes; returns whether there was a connection. */
    send(data) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(data);
      return true;
    },
    /** Bytes that wait to be sent. */
    get waiting() {
      return socket?.bufferedAmount ?? 0;
    },
    /** Leave this connection, and open another one at once. */
    restart() {
      const own = socket;
      socket = null;
      own?.close();
      open();
    },
    /** Try now rather than after the wait. */
    again,
    /** End it for good. */
    close() {
      if (!closed) stop("closed", {});
    },
  };
}
