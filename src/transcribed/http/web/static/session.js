/** A session of listening: sound goes to the server, results come back, over as many connections as it takes. */
import { socketUrl } from "./api.js";
import { capture } from "./capture.js";
import { connect } from "./connection.js";

const LONGEST_KEPT = 120; // Seconds of sound that are kept while there is no connection.
const LAST_WORDS_MS = 30_000; // The wait for news after the end of the sound.
const SHORTEST_GAP = 0.5; // Seconds: a shorter one is not worth a remark.
const END = new ArrayBuffer(0);

/**
 * Make a session. The sound since the last settled words is kept, and sent again over a new connection: its results
 * continue where those of the lost one ended. `sharing()` returns null, or the sharing that the view knows, whose
 * `token` lets viewers stay. The session tells the view:
 *
 * - `onstate(state, detail)`: "connecting", "listening", "waiting", "full" (as `connect` does), "finishing" with
 *   `detail.away`, and at the end "closed" or "refused" with `detail.unsent` seconds of sound
 * - `onopened(offset)`: the time at which the sound of a new connection begins
 * - `ongap(seconds, offset)`: how much before that was never sent
 * - `onresult(result, offset)`, `onmessage(message, event, { heard, offset })`, `onlost()`, `onlevel(level)`
 * - `onended()`: the source has ended by itself
 */
export function createSession({ sharing, onstate, onopened, ongap, onresult, onmessage, onlost, onlevel, onended }) {
  let capturing = null;
  let link = null;
  let chunks = []; // [bytes, begin, end] in seconds since the start, from the last settled words on.
  let heard = 0; // Seconds of sound captured.
  let sent = 0; // Of these, those that a server has taken.
  let offset = 0; // The time at which the current connection's sound begins.
  let shareBase = null; // The time at which what viewers see begins.
  let state = "starting";
  // The connection: "away", "asked" with an address that promises with which sound it begins, "open", "taken".
  let phase = "away";
  let stopping = false;
  let ended = false; // Whether no more sound comes.
  let waiting = 0; // The timer that ends the wait for the last words.

  const set = (now, detail = {}) => onstate((state = now), detail);
  const isOpen = () => phase === "open" || phase === "taken";
  const begins = () => chunks[0]?.[1] ?? heard;

  function forget(until) {
    while (chunks.length > 0 && chunks[0][2] <= until) chunks.shift();
  }

  function address() {
    const query = { format: "json", ...capturing.query };
    const share = sharing();
    if (share) query.share = share.token ?? "true";
    if (share?.token && shareBase !== null) query.share_from = (begins() - shareBase).toFixed(3);
    phase = "asked";
    return socketUrl("stream", query);
  }

  function opened() {
    capturing.begin();
    offset = begins();
    for (const [bytes] of chunks) link.send(bytes);
    if (ended) link.send(END);
    phase = "open";
  }

  function captured(bytes, seconds) {
    if (ended) return;
    // A container's chunks are of no use without its beginning.
    if (!capturing.isContainer) chunks.push([bytes, heard, heard + seconds]);
    heard += seconds;
    if (phase !== "asked") forget(heard - LONGEST_KEPT);
    if (!isOpen() || !link.send(bytes)) return;
    if (phase === "taken") sent = heard;
    if (link.stalled) link.drop();
  }

  function received(message, event) {
    if (!message.Error) expectNews();
    if (message.Started) shareBase = offset - message.Started.From;
    onmessage(message, event, { heard, offset });
    for (const result of message.Transcript?.Results ?? []) {
      onresult(result, offset);
      if (!result.IsPartial) forget(result.EndTime + offset);
    }
    if (message.Done && ended) link.close();
  }

  function changed(now, detail) {
    if (now === "open") {
      phase = "taken";
      onopened(offset);
      if (offset - sent > SHORTEST_GAP) ongap(offset - sent, offset);
      sent = heard;
      expectNews();
      return set(stopping ? "finishing" : "listening");
    }
    phase = "away";
    onlost();
    if (now === "closed" || now === "refused") {
      ended = true;
      clearTimeout(waiting);
      capturing.stop();
      return set(now, { ...detail, unsent: heard - sent });
    }
    if (!stopping) return set(now === "connecting" && state !== "starting" ? "waiting" : now, detail);
    if (ended && chunks.length === 0) return link.close();
    return set("finishing", { away: true });
  }

  /** Once stopped, the session ends unless there is news in time. */
  function expectNews() {
    clearTimeout(waiting);
    if (stopping) waiting = setTimeout(link.close, LAST_WORDS_MS);
  }

  return {
    async start(stream) {
      capturing = await capture(stream, { onchunk: captured, onlevel, onend: onended });
      link = connect({ address, onopen: opened, onmessage: received, onstate: changed });
    },
    /** Take another source. */
    use: (stream) => capturing.use(stream),
    /** No more sound; the last words are waited for. */
    async stop() {
      if (!link || stopping) return;
      stopping = true;
      expectNews();
      set("finishing", { away: !isOpen() });
      await capturing.stop();
      ended = true;
      if (isOpen()) link.send(END);
      else if (chunks.length === 0) link.close();
    },
    /** The sharing has begun or ended: another connection begins with what is not settled yet. */
    reshare() {
      shareBase = null;
      if (!link || stopping) return;
      // Else the viewers would wait for a speaker whose connection is lost.
      link.send(END);
      link.restart();
    },
    get heard() {
      return heard;
    },
    /** What happens to the sound while there is no connection. */
    get kept() {
      if (capturing.isContainer) return "";
      return begins() > sent ? "What was said in the last two minutes is kept." : "What is said meanwhile is kept.";
    },
  };
}
