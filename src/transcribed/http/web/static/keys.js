/** The access key of this browser tab: asked for when the server wants one, and kept in the session alone. */
import { h } from "./dom.js";

const NAME = "transcribed.key";
let held = null;
try {
  held = sessionStorage.getItem(NAME);
} catch {
  // Storage is denied: the key is kept until the page is left.
}
let asking = null;

/** Tells of changes: the event `change` follows each sign-in and sign-out. */
export const changes = new EventTarget();

/** The key's secret or a token, or null. */
export const key = () => held;

/** Forget the key. */
export function signOut() {
  keep(null);
}

function keep(secret) {
  held = secret;
  try {
    if (secret === null) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, secret);
  } catch {
    // As above.
  }
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

async function accepted(secret) {
  const answer = await fetch(new URL("streams", new URL("..", import.meta.url)), {
    headers: { Authorization: `Bearer ${secret}` },
  });
  if (answer.ok) return "";
  const body = await answer.json().catch(() => ({}));
  return body.detail || `The server answered ${answer.status}.`;
}

function ask(reason) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const field = h("input", {
      id: "key", class: "input", type: "password", required: true, autocomplete: "off",
      spellcheck: false, "aria-describedby": "key-problem key-note",
    });
    const problem = h("p", { id: "key-problem", class: "problem", role: "alert" });
    const submit = h("button", { class: "button primary", type: "submit" }, "Sign in");
    const dialog = h(
      "dialog",
      { class: "dialog narrow", "aria-labelledby": "key-title" },
      h(
        "form",
        {
          method: "dialog",
          onsubmit: async (event) => {
            event.preventDefault();
            const secret = field.value.trim();
            if (!secret) return;
            submit.disabled = true;
            problem.textContent = "";
            try {
              problem.textContent = await accepted(secret);
            } catch {
              problem.textContent = "The server does not answer. Try again in a moment.";
            }
            submit.disabled = false;
            if (!dialog.open) return;
            if (problem.textContent) {
              field.select();
              return;
            }
            keep(secret);
            dialog.close("accepted");
          },
        },
        h("h2", { id: "key-title" }, "Sign in"),
        reason && h("p", {}, reason),
        h("label", { for: "key" }, "Access key"),
        field,
        problem,
        h("p", { id: "key-note", class: "note" }, "The key stays in this tab, and is forgotten when the tab is closed."),
        h(
          "div",
          { class: "dialog-end" },
          h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Not now"),
          submit,
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
      resolve(dialog.returnValue === "accepted");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
