/** Requests to this server: with the key of the session, and with errors that say what to do. */
import { key, signIn } from "./keys.js";

const TOKEN_SECONDS = 3600;

/** The address under which the server is reached, with a slash at its end. */
export const base = new URL("..", import.meta.url);

/** A request that failed. `status` is 0 if the server did not answer at all. */
export class ApiError extends Error {
  name = "ApiError";

  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The address of a path such as `audio/talk.wav`, whose parts are already encoded. */
export function url(path, query = {}) {
  const address = new URL(path.replace(/^\//, ""), base);
  for (const [name, value] of Object.entries(query)) {
    // The owner of what was made without keys has an empty name.
    if ((value ?? "") !== "" || (name === "owner" && value === "")) address.searchParams.set(name, value);
  }
  return address;
}

/** A part of a path, encoded. */
export const part = encodeURIComponent;

const authorization = () => (key() ? { Authorization: `Bearer ${key()}` } : {});

/**
 * Send a request. `json` is sent as JSON; `query` becomes parameters; the rest is for `fetch`. A server that
 * wants a key has it asked for, once, unless `quiet`. Resolves to the Response; rejects with an ApiError.
 */
export async function request(path, { query, json, quiet = false, headers = {}, ...rest } = {}) {
  const content = json === undefined ? {} : { body: JSON.stringify(json) };
  const type = json === undefined ? {} : { "Content-Type": "application/json" };
  const send = async () => {
    try {
      return await fetch(url(path, query), { ...rest, ...content, headers: { ...authorization(), ...type, ...headers } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer. Is it running, and are you connected?");
    }
  };
  const answer = quiet ? await send() : await withKey(send);
  if (!answer.ok) throw problem(answer.status, await answer.text());
  return answer;
}

/** Send, and once more if a key was missing and has been given. */
async function withKey(send) {
  const answer = await send();
  return answer.status === 401 && (await signIn("This server asks for an access key.")) ? send() : answer;
}

/** The error that a response's body tells. */
function problem(status, body) {
  let detail = null;
  try {
    ({ detail } = JSON.parse(body));
  } catch {
    // A proxy answered, and not with JSON.
  }
  return new ApiError(detail ?? `The server answered ${status}.`, status);
}

/** The JSON of a GET request. */
export const getJson = async (path, options) => (await request(path, options)).json();

/**
 * Upload a recording. `onprogress(fraction)` is called as it goes; `signal` cancels it. Resolves to the name
 * under which it is stored; rejects with an ApiError, or with an AbortError.
 */
export async function upload(file, { name = file.name, onprogress = () => {}, signal } = {}) {
  const send = () =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      // fetch does not tell how much of a body has been sent.
      const sending = new XMLHttpRequest();
      sending.open("POST", url("audio"));
      for (const [header, value] of Object.entries(authorization())) sending.setRequestHeader(header, value);
      sending.upload.onprogress = (event) => event.lengthComputable && onprogress(event.loaded / event.total);
      sending.onload = () => resolve(sending);
      sending.onerror = () => reject(new ApiError("The upload was cut off. Is the server running, and are you connected?"));
      sending.onabort = () => reject(new DOMException("The upload was cancelled.", "AbortError"));
      signal?.addEventListener("abort", () => sending.abort());
      const form = new FormData();
      form.append("file", file, name);
      sending.send(form);
    });
  const done = await withKey(send);
  if (done.status !== 200) throw problem(done.status, done.responseText);
  return JSON.parse(done.responseText);
}

/** The address of a WebSocket. The key is not in it: see `protocols`. */
export function socketUrl(path, query = {}) {
  const address = url(path, query);
  address.protocol = address.protocol.replace("http", "ws");
  return address;
}

/** The subprotocols with which a WebSocket carries the key. */
export const protocols = () => (key() ? ["transcribed", `transcribed.bearer.${key()}`] : []);

let token = null; // The last one that was made: `{ of, until, text }`.
const copies = new Map(); // From an address to that of a copy in this browser.

/**
 * An address that `<audio>`, `<a download>` and other elements without headers can use. Where the server
 * uses keys it contains a token that only reads, for an hour. What such a token does not open is fetched first.
 */
export async function readableUrl(path, query = {}) {
  const address = url(path, query);
  if (!key()) return address.href;
  if (token?.of !== key() || token.until < Date.now()) await makeToken();
  if (!token.text || (query.owner ?? token.owner) !== token.owner) return copied(address.href, await request(path, { query }));
  address.searchParams.set("access_token", token.text);
  return address.href;
}

async function makeToken() {
  const of = key();
  let text;
  try {
    const answer = await request("tokens", { method: "POST", json: { seconds: TOKEN_SECONDS, role: "read" } });
    text = (await answer.json()).token;
  } catch (error) {
    if (error.status !== 403) throw error;
    // Who signed in with a token cannot make another one, and addresses are not for those that do more than read.
    text = claims(of).role === "read" ? of : null;
  }
  token = { of, text, owner: text && claims(text).sub, until: Date.now() + 800 * TOKEN_SECONDS };
}

/** What a token says of its bearer: the owner `sub`, and the `role`. */
function claims(text) {
  try {
    const bytes = atob(text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0))));
  } catch {
    return {};
  }
}

async function copied(href, answer) {
  URL.revokeObjectURL(copies.get(href));
  copies.set(href, URL.createObjectURL(await answer.blob()));
  return copies.get(href);
}

/** The owner to whom belongs what is made with the key; empty without a key. */
export async function ownOwner() {
  return key() ? (claims(key())?.sub ?? claims(await readingToken())?.sub) : "";
}
