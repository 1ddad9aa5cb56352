/** Recordings on their way to text: uploads, and their recognition over /stream, whichever part of the page is shown. */
import { getJson, part, protocols, socketUrl, upload } from "./api.js";
import { signIn } from "./keys.js";

const LONGEST_WAIT = 30; // seconds
/** Errors after which the same request may succeed. */
const PASSING = new Set(["LimitExceededException", "ServiceUnavailableException"]);
const KEY = new Set(["MissingAuthenticationTokenException", "UnrecognizedClientException"]);

/** Tells of changes: the event `change` follows when an upload or a recognition begins, goes on or ends. */
export const changes = new EventTarget();
const changed = () => changes.dispatchEvent(new Event("change"));

/** The number of a result's segment, and the id of its transcript. */
export function identity(result) {
  const dash = result.ResultId.lastIndexOf("-");
  return { number: Number(result.ResultId.slice(dash + 1)), transcript: result.ResultId.slice(0, dash) };
}

/**
 * The recognition of one recording. If the connection is lost it begins again; what was heard before remains
 * until the new results reach it. Events: `result`, with the result as `detail`, and `state`.
 */
class Recognition extends EventTarget {
  #socket = null;
  #failures = 0;
  #timer = 0;
  #results = new Map();
  #before = [];
  #own = 0;

  constructor(name) {
    super();
    this.name = name;
    /** `waiting` (for the server), `running`, `done` or `failed`. */
    this.state = "waiting";
    this.message = "";
    this.transcript = null;
    this.open();
  }

  /** The results so far, in order. */
  get results() {
    const own = [...this.#results.values()];
    return [...own, ...this.#before.filter((result) => result.StartTime >= this.#own)];
  }

  /** How far it has come, in seconds of the recording. */
  get reached() { return Math.max(this.#own, this.#before.at(-1)?.EndTime ?? 0); }
  get ended() { return this.state === "done" || this.state === "failed"; }

  open() {
    clearTimeout(this.#timer);
    const socket = (this.#socket = new WebSocket(socketUrl("stream", { format: "json" }), protocols()));
    socket.onopen = () => socket.send(this.name);
    socket.onmessage = ({ data }) => socket === this.#socket && this.#heard(JSON.parse(data));
    socket.onclose = () => socket === this.#socket && !this.ended && this.#again("The connection to the server was lost.");
  }

  stop() {
    this.#end("failed", "Stopped.");
  }

  #heard(message) {
    if (message.Transcript) {
      this.#failures = 0;
      if (this.state !== "running") this.#become("running");
      for (const result of message.Transcript.Results) {
        const { number, transcript } = identity(result);
        if (this.transcript !== transcript) {
          this.#before = this.results;
          this.#results.clear();
          this.#own = 0;
          this.transcript = transcript;
        }
        this.#results.set(number, result);
        this.#own = Math.max(this.#own, result.EndTime);
        this.dispatchEvent(new CustomEvent("result", { detail: result }));
      }
    } else if (message.Done) {
      this.#before = [];
      if (!this.#results.size) this.transcript = null;
      this.#end("done", "");
    } else if (message.Warning) {
      this.message = message.Warning.Message;
      this.#become(this.state);
    } else if (message.Error) this.#refused(message.Error);
  }

  async #refused({ Code, Message, RetryAfter }) {
    if (PASSING.has(Code)) this.#again(Message, RetryAfter);
    else if (KEY.has(Code)) {
      this.#close();
      const signed = await signIn(Message);
      if (this.ended) return; // It was stopped meanwhile.
      if (signed) this.open();
      else this.#end("failed", Message);
    } else this.#end("failed", Message);
  }

  #again(message, seconds = Math.min(LONGEST_WAIT, 2 ** this.#failures++)) {
    this.#close();
    this.message = `${message} Trying again.`;
    this.#become("waiting");
    this.#timer = setTimeout(() => this.open(), seconds * 1000);
  }

  #close() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #end(state, message) {
    clearTimeout(this.#timer);
    if (message) this.message = message;
    this.#become(state);
    this.#close();
  }

  #become(state) {
    if (state === "running") this.message = "";
    this.state = state;
    this.dispatchEvent(new Event("state"));
    changed();
  }
}

const recognitions = new Map();
const KEPT = 4; // recognitions that have ended, whose results are kept until somebody looks at them

/** The recognition of a recording that this tab has begun last, or undefined. */
export const recognitionOf = (name) => recognitions.get(name);

/** Begin to recognise a recording, unless that is going on. */
export function recognise(name) {
  const known = recognitions.get(name);
  if (known && !known.ended) return known;
  recognitions.delete(name);
  const ended = [...recognitions.values()].filter((one) => one.ended);
  for (const old of ended.slice(0, -KEPT)) recognitions.delete(old.name);
  const begun = new Recognition(name);
  recognitions.set(name, begun);
  changed();
  return begun;
}

/** Forget a recognition that has ended: its transcript is in the store. */
export function forget(name) {
  if (recognitions.get(name)?.ended) recognitions.delete(name);
}

// --- Uploads

/** The uploads of this tab, oldest first: `{file, name, state, fraction, message}`. */
export const uploads = [];
let working = null;

/** A name that the server accepts, as like the file's as possible. */
export function acceptable(name) {
  const plain = name.normalize("NFC").replace(/[/\\:*?"<>|\u0000-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069\ufeff⁄∕∖／＼﹨]/g, "_");
  let kept = plain.replace(/^[\s.]+|[\s.]+$/g, "") || "recording";
  while (new TextEncoder().encode(kept).length > 240) kept = kept.replace(/.(\.[^.]*)?$/su, "$1");
  return kept;
}

/** The name, or if it is taken the name with a number: `talk (2).wav`. */
export function free(name, taken) {
  const [, stem, suffix] = /^(.+?)(\.[^.]*)?$/s.exec(name);
  let found = name;
  for (let number = 2; taken.has(found); number++) found = `${stem} (${number})${suffix ?? ""}`;
  return found;
}

/**
 * Upload files, one after the other, and recognise each when it is stored. An existing recording is not
 * replaced: the new one gets another name. One file is shown as soon as its words come; of several the
 * library shows how far they are.
 */
export function uploadAll(files) {
  const added = [...files].map((file) => ({
    file, name: acceptable(file.name), state: "waiting", fraction: 0, message: "", aborter: new AbortController(),
    stored: false, shows: files.length === 1,
  }));
  if (!added.length) return;
  uploads.push(...added);
  if (!location.hash.startsWith("#/library")) location.hash = "#/library";
  working ??= work().finally(() => (working = null));
  changed();
}

export function cancelUpload(entry) {
  entry.aborter.abort();
  if (entry.state === "transcribing") recognitions.get(entry.name)?.stop();
  remove(entry);
  changed();
}

function remove(entry) {
  const place = uploads.indexOf(entry);
  if (place >= 0) uploads.splice(place, 1);
}

export function retryUpload(entry) {
  Object.assign(entry, { state: "waiting", fraction: 0, message: "", aborter: new AbortController() });
  working ??= work().finally(() => (working = null));
  changed();
}

async function work() {
  for (let entry; (entry = uploads.find(({ state }) => state === "waiting")); ) {
    try {
      entry.state = "uploading";
      changed();
      const { signal } = entry.aborter;
      const taken = new Set((await getJson("audio", { signal })).map(({ name }) => name));
      // What was stored before its recognition failed is not stored once more.
      if (!entry.stored || !taken.has(entry.name)) {
        entry.name = await upload(entry.file, {
          name: free(entry.name, taken),
          signal,
          onprogress: (fraction) => {
            entry.fraction = fraction;
            changed();
          },
        });
        entry.stored = true;
      }
      entry.state = "transcribing";
      const recognition = recognise(entry.name);
      // Whoever has gone elsewhere meanwhile stays there.
      if (entry.shows && location.hash.startsWith("#/library")) location.hash = recordingHash(entry.name);
      await ended(recognition);
      if (recognition.state === "failed") throw new Error(recognition.message);
      remove(entry);
    } catch (error) {
      if (error.name !== "AbortError") Object.assign(entry, { state: "failed", message: error.message });
    }
    changed();
  }
}

const ended = (recognition) =>
  new Promise((resolve) => {
    const look = () => recognition.ended && resolve();
    recognition.addEventListener("state", look);
    look();
  });

addEventListener("beforeunload", (event) => {
  if (uploads.some(({ state }) => state === "uploading" || state === "waiting")) event.preventDefault();
});

/** The address of a recording's part of the page. */
export const recordingHash = (name) => `#/recording/${part(name)}`;
