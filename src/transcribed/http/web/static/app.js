/** The shell: shows the part of the page that the address names, the state of the server, and the theme. */
import { base, getJson } from "./api.js";
import { themeSwitch } from "./appearance.js";
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
const HEALTH_SECONDS = 10;

// --- The parts

/** What `#/transcript/ID?t=12` names: the route, its parameters and the query. */
function place(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  const route = Object.hasOwn(ROUTES, first) ? first : "listen";
  const parameters = { route, query: new URLSearchParams(search) };
  const { member } = ROUTES[route];
  if (member) parameters[member] = decoded(rest.join("/"));
  return parameters;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const main = document.getElementById("main");
let unmount = null;
let shown = 0;

async function show() {
  const parameters = place(location.hash);
  const { module, title, within } = ROUTES[parameters.route];
  const number = ++shown;
  const root = h("div", { class: "view" });
  await leave();
  if (number !== shown) return;
  for (const link of document.querySelectorAll("nav a[data-route]")) {
    const current = link.dataset.route === (within ?? parameters.route);
    link.toggleAttribute("data-current", current);
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.body.dataset.view = parameters.route;
  document.title = `${title} – transcribed`;
  main.replaceChildren(root);
  let mounted;
  try {
    mounted = await (await import(module)).mount(root, parameters);
  } catch (error) {
    console.warn(error);
    root.replaceChildren(
      h(
        "div",
        { class: "empty" },
        h("h1", {}, "This part of the page could not be shown"),
        h("p", {}, error.message),
        h("button", { class: "button primary", type: "button", onclick: () => location.reload() }, "Load the page again"),
      ),
    );
    return;
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

// The address keeps the part of the page that is shown.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

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

const state = document.getElementById("server-state");
const away = document.getElementById("away");
let checking = 0;

/** Screen readers say again what is written again. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

async function check() {
  clearTimeout(checking);
  try {
    const health = await getJson("health", { quiet: true, signal: AbortSignal.timeout(5000) });
    away.hidden = true;
    const words = {
      starting: "Starting…",
      stopping: "Stopping…",
      ready: health.places > 0 && health.streams >= health.places ? "Full" : "Ready",
    };
    const text = words[health.status] ?? health.status;
    write(state, text);
    state.dataset.state = text.replace("…", "").toLowerCase();
    state.title = `${health.streams} of ${health.places ?? "?"} places in use. Version ${health.version}.`;
  } catch {
    write(state, "Away");
    state.dataset.state = "away";
    state.removeAttribute("title");
    away.hidden = false;
    write(away, `The server at ${base.host} does not answer. Trying again every few seconds; nothing that is shown here is lost.`);
  }
  checking = setTimeout(check, HEALTH_SECONDS * (away.hidden ? 1000 : 300));
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(checking) : check()));

// --- The key

const signing = document.getElementById("sign-in");

function showKey() {
  signing.textContent = key() ? "Sign out" : "Sign in";
  if (key()) signing.hidden = false;
}

signing.addEventListener("click", () => {
  if (key()) {
    signOut();
    try {
      sessionStorage.removeItem("captions");
    } catch {
      // Storage is denied: nothing was kept.
    }
    location.reload();
  } else signIn();
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

themeSwitch(document.getElementById("theme"));
showKey();
show();
check();
askForKey();
