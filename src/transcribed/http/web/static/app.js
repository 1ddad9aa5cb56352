/** The shell: shows the part of the page that the address names, the state of the server, and the sign-in. */
import { base, getJson } from "./api.js";
import { h } from "./dom.js";
import { changes, key, signIn, signOut } from "./keys.js";
import { toast } from "./toast.js";
import "./drop.js";

const ROUTES = {
  listen: { module: "./listen.js", title: "Listen" },
  library: { module: "./library.js", title: "Library" },
  transcript: { module: "./transcript.js", title: "Transcript", member: "id", within: "library" },
  recording: { module: "./transcript.js", title: "Recording", member: "name", within: "library" },
};
const HEALTH_MS = 10_000;
const AWAY_MS = 3000;

const main = document.getElementById("main");
const state = document.getElementById("server-state");
const away = document.getElementById("away");
const signing = document.getElementById("sign-in");

// --- The parts

let unmount = null;
let shown = 0;

/** Show what an address such as `#/transcript/ID?t=12` names. */
async function show() {
  const number = ++shown;
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  const name = Object.hasOwn(ROUTES, first) ? first : "listen";
  const { module, title, member, within = name } = ROUTES[name];
  const root = h("div", { class: "view" });
  await leave();
  if (number !== shown) return;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${within}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.body.dataset.view = name;
  document.title = `${title} – transcribed`;
  main.replaceChildren(root);
  let mounted;
  try {
    const parameters = { query: new URLSearchParams(query) };
    if (member) parameters[member] = decodeURIComponent(rest.join("/"));
    mounted = await (await import(module)).mount(root, parameters);
  } catch (error) {
    console.warn(error);
    return root.replaceChildren(h("p", { class: "empty", role: "alert" }, `This part of the page could not be shown: ${error.message}. Load the page again.`));
  }
  if (number === shown) unmount = mounted;
  else await mounted?.();
}

async function leave() {
  const leaving = unmount;
  unmount = null;
  try {
    await leaving?.();
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
}

addEventListener("hashchange", () => {
  main.focus({ preventScroll: true });
  show();
});

// Parts with keys of their own have handled it before it comes here.
addEventListener("keydown", async (event) => {
  if (event.key !== "?" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, textarea, select")) return;
  (await import("./shortcuts.js")).showHelp();
});

// --- The server

let checking = 0;

/** Screen readers say again what is written again. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

async function check() {
  clearTimeout(checking);
  let now = "away";
  let title = "";
  try {
    const { status, streams, places, version } = await getJson("health", { quiet: true, signal: AbortSignal.timeout(5000) });
    now = status === "ready" && places > 0 && streams >= places ? "full" : status;
    title = `${streams} of ${places ?? "?"} places in use. Version ${version}.`;
    away.hidden = true;
  } catch {
    away.hidden = false;
    write(away, `The server at ${base.host} does not answer. Trying again every few seconds; nothing that is shown here is lost.`);
  }
  write(state, now[0].toUpperCase() + now.slice(1));
  state.dataset.state = now;
  state.title = title;
  checking = setTimeout(check, now === "away" ? AWAY_MS : HEALTH_MS);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(checking) : check()));

// --- The key

function showKey() {
  signing.textContent = key() ? "Sign out" : "Sign in";
  if (key()) signing.hidden = false;
}

signing.addEventListener("click", () => {
  if (!key()) return signIn();
  signOut();
  location.reload();
});
changes.addEventListener("change", showKey);

async function askForKey() {
  try {
    await getJson("streams", { quiet: true });
  } catch (error) {
    if (error.status !== 401) return;
    signing.hidden = false;
    signIn("This server asks for an access key.");
  }
}

showKey();
show();
check();
askForKey();
