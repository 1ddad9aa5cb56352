/** Recordings on their way to text: uploads, and their recognition over /stream, whichever part of the page is shown. */
import { getJson, part, socketUrl, upload } from "./api.js";
import { connect } from "./connection.js";

/** Errors that a new connection may not have, or that ask for a key. */
const PASSING = new Set([
  "LimitExceededException", "ServiceUnavailableException", "MissingAuthenticationTokenException", "UnrecognizedClientException",
]);

/** Tells of changes: the event `change` follows when an upload or a recognition begins, goes on or ends. */
export const changes = new EventTarget();
const changed = () => changes.dispatchEvent(new Event("change"));

/** The number of a result's segment, and the id of its transcript. */
export function identity({ ResultId }) {
  const dash = ResultId.lastIndexOf("-");
  return { number: Number(ResultId.slice(dash + 1)), transcript: ResultId.slice(0, dash) };
}

/**
 * The recognition of one recording. If the connection is lost it begins again; what was heard before remains
 * until the new results reach it. Events: `result`, with the result as `detail`, and `state`.
 */
class Recognition extends EventTarget {
  /** `waiting` (for the server), `running`, `done` or `failed`. */
  state = "waiting";
  message = "";
  transcript = null;
  /** How far it has come, in seconds of the recording. */
  reached = 0;
  #results = new Map();

  constructor(name) {
    super();
    this.name = name;
    this.connection = connect({
      address: () => socketUrl("stream", { format: "json" }),
      onopen: () => this.connection.send(name),
      onmessage: (message) => this.#heard(message),
      onstate: (state, { message = "The connection to the server was lost." }) => {
        if (state === "waiting" || state === "full") this.#become("waiting", `${message} Trying again.`);
        else if (state === "refused") this.#become("failed", message);
      },
    });
  }

  /** The results so far, in order. */
  get results() { return [...this.#results.values()]; }
  get ended() { return this.state === "done" || this.state === "failed"; }

  stop() { this.#end("failed", "It was stopped."); }

  #heard({ Transcript, Done, Warning, Error }) {
    if (Done) {
      for (const [number, result] of this.#results) if (identity(result).transcript !== this.transcript) this.#results.delete(number);
      this.#end("done", this.message);
    } else if (Error && !PASSING.has(Error.Code)) this.#end("failed", Error.Message);
    else if (Warning) this.#become(this.state, Warning.Message);
    else if (Transcript && this.state !== "running") this.#become("running", "");
    for (const result of Transcript?.Results ?? []) {
      const { number, transcript } = identity(result);
      this.transcript = transcript;
      this.#results.set(number, result);
      this.reached = Math.max(this.reached, result.EndTime);
      this.dispatchEvent(new CustomEvent("result", { detail: result }));
    }
  }

  #end(state, message) {
    this.#become(state, message);
    this.connection.close();
  }

  #become(state, message) {
    Object.assign(this, { state, message });
    this.dispatchEvent(new Event("state"));
    changed();
  }
}

const recognitions = new Map();

/** The recognition of a recording that this tab has begun last, or undefined. */
export const recognitionOf = (name) => recognitions.get(name);

/** Begin to recognise a recording, unless that is going on. */
export function recognise(name) {
  for (const ended of recognitions.keys()) forget(ended);
  if (!recognitions.has(name)) recognitions.set(name, new Recognition(name));
  changed();
  return recognitions.get(name);
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
function acceptable(name) {
  const plain = name.normalize("NFC").replace(/[/\\:*?"<>|\p{Cc}\p{Bidi_Control}\u200b\ufeff⁄∕∖／＼﹨]/gu, "_");
  let kept = plain.replace(/^[\s.]+|[\s.]+$/g, "") || "recording";
  while (new TextEncoder().encode(kept).length > 240) kept = kept.replace(/.(\.[^.]*)?$/su, "$1");
  return kept;
}

/** The name, or if it is taken the name with a number: `talk (2).wav`. */
function free(name, taken) {
  const [, stem, suffix = ""] = /^(.+?)(\.[^.]*)?$/s.exec(name);
  let found = name;
  for (let number = 2; taken.has(found); number++) found = `${stem} (${number})${suffix}`;
  return found;
}

/**
 * Upload files, one after the other, and recognise each when it is stored. An existing recording is not
 * replaced: the new one gets another name. One file is shown as soon as its words come; of several the
 * library shows how far they are.
 */
export function uploadAll(files) {
  const entries = [...files].map((file) => ({ file, name: acceptable(file.name), shows: files.length === 1 }));
  if (!entries.length) return;
  uploads.push(...entries);
  if (!location.hash.startsWith("#/library")) location.hash = "#/library";
  for (const entry of entries) retryUpload(entry);
}

/** Begin an upload, or begin it again. */
export function retryUpload(entry) {
  Object.assign(entry, { state: "waiting", fraction: 0, message: "", aborter: new AbortController() });
  working ??= work().finally(() => { working = null; });
  changed();
}

export function cancelUpload(entry) {
  entry.aborter.abort();
  if (entry.state === "transcribing") recognitions.get(entry.name)?.stop();
  remove(entry);
}

function remove(entry) {
  const place = uploads.indexOf(entry);
  if (place >= 0) uploads.splice(place, 1);
  changed();
}

async function work() {
  for (let entry; (entry = uploads.find(({ state }) => state === "waiting")); ) {
    try {
      await store(entry);
      entry.state = "transcribing";
      const recognition = recognise(entry.name);
      // Whoever has gone elsewhere meanwhile stays there.
      if (entry.shows && location.hash.startsWith("#/library")) location.hash = recordingHash(entry.name);
      await new Promise((done) => {
        const look = () => recognition.ended && done();
        recognition.addEventListener("state", look);
        look();
      });
      if (recognition.state === "failed") throw new Error(recognition.message);
      remove(entry);
    } catch (error) {
      if (error.name !== "AbortError") Object.assign(entry, { state: "failed", message: error.message });
      changed();
    }
  }
}

async function store(entry) {
  const { file, aborter: { signal } } = entry;
  entry.state = "uploading";
  changed();
  const stored = new Map((await getJson("audio", { signal })).map(({ name, size }) => [name, size]));
  // What was sent before, under a name that was free, is there even if the server's answer was lost.
  if (entry.sent && stored.get(entry.sent) === file.size) entry.name = entry.sent;
  else {
    entry.sent = free(entry.name, stored);
    const onprogress = (fraction) => {
      entry.fraction = fraction;
      changed();
    };
    entry.name = entry.sent = await upload(file, { name: entry.sent, signal, onprogress });
  }
}

addEventListener("beforeunload", (event) => {
  if (uploads.some(({ state }) => state === "uploading" || state === "waiting")) event.preventDefault();
});

/** The address of a recording's part of the page. */
export const recordingHash = (name) => `#/recording/${part(name)}`;
