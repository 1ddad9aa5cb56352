/** Short messages at the edge of the page, with one action at most, such as "Undo". */
import { h, icon } from "./dom.js";

/**
 * Show a message. `action` is `{ label, run }`; `seconds` is how long it stays, 0 for until it is closed;
 * `kind` is "info" or "error"; `onclose(acted)` is called once, after the action or the end of the time.
 * The time stands still while the pointer or the focus is on the message. Returns a function that closes it.
 */
export function toast(message, { action = null, seconds = 6, kind = "info", onclose = () => {} } = {}) {
  let timer = 0;
  let left = seconds * 1000;
  let since = 0;
  let open = true;
  const close = (acted = false) => {
    if (!open) return;
    open = false;
    clearTimeout(timer);
    element.remove();
    onclose(acted);
  };
  const run = () => {
    if (seconds === 0) return;
    since = performance.now();
    clearTimeout(timer);
    timer = setTimeout(close, left);
  };
  const hold = () => {
    if (since) left = Math.max(1500, left - (performance.now() - since));
    since = 0;
    clearTimeout(timer);
  };
  const element = h(
    "div",
    { class: `toast ${kind}`, onpointerenter: hold, onpointerleave: run, onfocusin: hold, onfocusout: run },
    h("p", { role: kind === "error" ? "alert" : null }, message),
    action && h("button", { class: "button small", type: "button", onclick: () => { close(true); action.run(); } }, action.label),
    h("button", { class: "button quiet icon small", type: "button", "aria-label": "Close the message", onclick: () => close() }, icon("close")),
  );
  const region = document.getElementById("toasts");
  region.append(element);
  // What can still be undone or tried again is not pushed out.
  if (region.children.length > 4) region.querySelector(".toast:not(:last-child, :has(.button:not(.quiet))) button")?.click();
  run();
  return close;
}
