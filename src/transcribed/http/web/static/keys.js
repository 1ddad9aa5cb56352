/** The access key of this browser tab: asked for when the server wants one, and kept in the session alone. */
import { request } from "./api.js";
import { h } from "./dom.js";
import { keep, kept } from "./tab.js";

const NAME = "transcribed.key";
let held = kept(NAME);
let asking = null;

/** Tells of changes: the event `change` follows each sign-in and sign-out. */
export const changes = new EventTarget();

/** The key's secret or a token, or null. */
export const key = () => held;

/** Forget the key. */
export const signOut = () => hold(null);

function hold(secret) {
  held = secret;
  keep(NAME, secret);
  changes.dispatchEvent(new Event("change"));
}

/**
 * Ask for a key in a dialog, which says the reason. One dialog serves all that ask meanwhile. Resolves to
 * true once there is a key that the server accepts, to false if the reader closes the dialog.
 */
export function signIn(reason = "") {
  asking ??= ask(reason).finally(() => (asking = null));
  return asking;
}

function ask(reason) {
  const field = h("input", {
    id: "key", class: "input", type: "password", required: true, autocomplete: "off", "aria-describedby": "key-problem key-note",
    pattern: "\\s*[\\x21-\\x7e]+\\s*", title: "A key has letters, digits and signs, and no spaces.",
  });
  const problem = h("p", { id: "key-problem", class: "problem", role: "alert" });
  const submit = h("button", { class: "button primary", type: "submit" }, "Sign in");
  const dialog = h(
    "dialog",
    { class: "dialog narrow", "aria-labelledby": "key-title" },
    h(
      "form",
      { onsubmit: check },
      h("h2", { id: "key-title" }, "Sign in"),
      h("p", {}, reason),
      h("label", { for: "key" }, "Secret of your access key"),
      field,
      problem,
      h("p", { id: "key-note", class: "note" }, "The key stays in this tab, and is forgotten when the tab is closed."),
      h("div", { class: "dialog-end" }, h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Not now"), submit),
    ),
  );

  async function check(event) {
    event.preventDefault();
    const secret = field.value.trim();
    submit.disabled = true;
    problem.textContent = "";
    try {
      await request("streams", { quiet: true, headers: { Authorization: `Bearer ${secret}` } });
      // Who closed the dialog meanwhile does not want it.
      if (!dialog.open) return;
      hold(secret);
      dialog.close("accepted");
    } catch (error) {
      problem.textContent = error.message;
      field.select();
    } finally {
      submit.disabled = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      dialog.remove();
      resolve(dialog.returnValue === "accepted");
    };
  });
}
