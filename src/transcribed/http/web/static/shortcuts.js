/** Keys as transcript editors have them, and the dialog that explains them. */
import { h, icon } from "./dom.js";

const SECONDS = 5;
const KEYS = [
  ["Everywhere", [
    ["Esc", "Play or pause"],
    ["F1 / F2", `Back or forward ${SECONDS} seconds`],
    ["F3 / F4", "Slower or faster"],
  ]],
  ["In text", [
    ["Alt + K", "Play or pause"],
    ["Alt + J / L", `Back or forward ${SECONDS} seconds`],
    ["Ctrl + Enter", "Save, and go on to the next segment"],
  ]],
  ["Outside text", [
    ["Space", "Play or pause"],
    ["← / →", `Back or forward ${SECONDS} seconds`],
    ["Shift + ← / →", "The word before or after"],
    ["↑ / ↓", "The segment before or after"],
    ["Enter", "Play from the segment"],
    ["E", "Correct the segment"],
    ["L", "Loop the segment, or end the loop"],
    ["+ / −", "Zoom the waveform"],
    ["/", "Search the library"],
    ["Ctrl + Z", "Undo a deletion"],
    ["?", "This help"],
  ]],
];

const TEXT = "textarea, select, [contenteditable], input:not([type=range]):not([type=checkbox]):not([type=radio]):not([type=button])";
// Enter plays from a segment's time; Space plays and pauses there as elsewhere.
const OWN_SPACE = `button:not(.segment-time), a[href], summary, input, [role=button], [role=tab], [role=menuitem], ${TEXT}`;
const OWN_ARROWS = "[role=slider], [role=tab], [role=menuitem], input, select, audio, video";

function action(event) {
  const { target, key, altKey, ctrlKey, metaKey, shiftKey } = event;
  const inText = target.closest?.(TEXT);
  if (ctrlKey || metaKey) return null;
  if (altKey) return { KeyJ: "back", KeyK: "toggle", KeyL: "forward" }[event.code] ?? null;
  const everywhere = { Escape: "toggle", F1: "back", F2: "forward", F3: "slower", F4: "faster" }[key];
  // Escape empties a search field, and closes a list of a menu.
  if (key === "Escape" && target.closest?.("input[type=search], select")) return null;
  if (everywhere && !shiftKey) return everywhere;
  if (inText) return null;
  if (key === " ") return shiftKey || target.closest?.(OWN_SPACE) ? null : "toggle";
  if (key === "ArrowLeft" || key === "ArrowRight") {
    if (target.closest?.(OWN_ARROWS)) return null;
    if (shiftKey) return key === "ArrowLeft" ? "previousWord" : "nextWord";
    return key === "ArrowLeft" ? "back" : "forward";
  }
  if ((key === "ArrowUp" || key === "ArrowDown") && !shiftKey && !target.closest?.(OWN_ARROWS)) {
    return key === "ArrowUp" ? "previousSegment" : "nextSegment";
  }
  return { "?": "help", "/": "search", "+": "zoomIn", "-": "zoomOut", e: "edit", l: "loop" }[key] ?? null;
}

/**
 * Call `actions[name]()` for keys, where `name` is one of `toggle`, `back`, `forward`, `slower`, `faster`,
 * `previousWord`, `nextWord`, `previousSegment`, `nextSegment`, `edit`, `loop`, `zoomIn`, `zoomOut`, `search`;
 * `back(SECONDS)` and `forward(SECONDS)` are told how far. An action that returns `false` has not used the key.
 * Returns what ends that. `?` shows the help wherever keys are installed.
 */
export function installShortcuts(actions) {
  const all = { help: showHelp, ...actions };
  const pressed = (event) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    const name = action(event);
    if (!name || !all[name] || all[name](SECONDS) === false) return;
    event.preventDefault();
  };
  document.addEventListener("keydown", pressed);
  return () => document.removeEventListener("keydown", pressed);
}

/** The dialog with all keys. */
export function showHelp() {
  const keys = (text) => text.split(/( [+/] )/).map((part, index) => (index % 2 ? part : h("kbd", {}, part)));
  const dialog = h(
    "dialog",
    { class: "dialog shortcuts", "aria-labelledby": "shortcuts-title", onclose: () => dialog.remove() },
    h("div", { class: "page-head" },
      h("h2", { id: "shortcuts-title" }, "Keys"),
      h("button", { class: "button quiet icon spread", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    h("div", { class: "shortcuts-groups" }, KEYS.map(([title, rows]) =>
      h("section", {}, h("h3", {}, title),
        h("dl", {}, rows.map(([key, what]) => h("div", {}, h("dt", {}, keys(key)), h("dd", {}, what))))))),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
