/** Keys as transcript editors have them, and the dialog that explains them. */
import { h, icon } from "./dom.js";

const SECONDS = 5;
const KEYS = {
  Everywhere: {
    "Esc": "Play or pause",
    "F1 / F2": `Back or forward ${SECONDS} seconds`,
    "F3 / F4": "Slower or faster",
  },
  "In text": {
    "Alt + K": "Play or pause",
    "Alt + J / L": `Back or forward ${SECONDS} seconds`,
    "Ctrl + Enter": "Save, and go on to the next segment",
  },
  "Outside text": {
    "Space": "Play or pause",
    "← / →": `Back or forward ${SECONDS} seconds`,
    "↑ / ↓": "The segment before or after",
    "Enter": "Play from the segment",
    "E": "Correct the segment",
    "L": "Loop the segment, or end the loop",
    "+ / −": "Zoom the waveform",
    "Ctrl + Z": "Undo a deletion",
    "?": "This help",
  },
};

const EVERYWHERE = { Escape: "toggle", F1: "back", F2: "forward", F3: "slower", F4: "faster" };
const WITH_ALT = { KeyJ: "back", KeyK: "toggle", KeyL: "forward" };
const OUTSIDE_TEXT = {
  " ": "toggle", ArrowLeft: "back", ArrowRight: "forward", ArrowUp: "previousSegment", ArrowDown: "nextSegment",
  "?": "help", "+": "zoomIn", "-": "zoomOut", e: "edit", l: "loop",
};

const TEXT = "textarea, select, input:not([type=range], [type=checkbox], [type=radio])";
// Keys that an element uses itself. Enter plays from a segment's time; Space plays and pauses there as elsewhere.
const OWN = {
  " ": "button:not(.segment-time), a[href], summary, input",
  ArrowLeft: "[type=radio]", ArrowRight: "[type=radio]", ArrowUp: "input", ArrowDown: "input", Escape: "[type=search], select",
};

function action({ target, key, code, altKey, ctrlKey, metaKey, shiftKey }) {
  if (ctrlKey || metaKey) return null;
  if (altKey) return WITH_ALT[code];
  if (OWN[key] && target.closest(OWN[key])) return null;
  if (shiftKey && key.length > 1) return null;
  return EVERYWHERE[key] ?? (target.closest(TEXT) ? null : OUTSIDE_TEXT[key]);
}

/**
 * Call `actions[name]()` for keys, where `name` is one of those above; `back(SECONDS)` and `forward(SECONDS)` are
 * told how far. An action that returns `false` has not used the key. Returns what ends that. `?` shows the help
 * wherever keys are installed.
 */
export function installShortcuts(actions) {
  const all = { help: showHelp, ...actions };
  const pressed = (event) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open], :popover-open")) return;
    const act = all[action(event)];
    if (act && act(SECONDS) !== false) event.preventDefault();
  };
  document.addEventListener("keydown", pressed);
  return () => document.removeEventListener("keydown", pressed);
}

/** The dialog with all keys. */
export function showHelp() {
  const keys = (text) => text.split(/( [+/] )/).map((part, index) => (index % 2 ? part : h("kbd", {}, part)));
  const dialog = h("dialog", { class: "dialog shortcuts", closedBy: "any", "aria-labelledby": "shortcuts-title", onclose: () => dialog.remove() },
    h("div", { class: "page-head" },
      h("h2", { id: "shortcuts-title" }, "Keyboard shortcuts"),
      h("button", { class: "button quiet icon spread", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    h("div", { class: "shortcuts-groups" }, Object.entries(KEYS).map(([title, rows]) => h("section", {},
      h("h3", {}, title),
      h("dl", {}, Object.entries(rows).map(([key, what]) => h("div", {}, h("dt", {}, keys(key)), h("dd", {}, what))))))));
  document.body.append(dialog);
  dialog.showModal();
}
