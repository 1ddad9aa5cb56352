/** Short messages at the edge of the page, with one action at most, such as "Undo". */
import { h, tool } from "./dom.js";

const region = h("div", { class: "toasts", role: "region", "aria-label": "Messages", "aria-live": "polite" });
document.body.append(region);

/**
 * Show a message. `action` is `{ label, run }`; `seconds` is how long it stays, 0 for until it is closed;
 * `kind` is "info" or "error"; `onclose(acted)` is called once, after the action or the end of the time.
 * The time begins anew after the pointer or the focus was on the message. Returns a function that closes it.
 */
export function toast(message, { action = null, seconds = 6, kind = "info", onclose = () => {} } = {}) {
  let timer = 0;
  const close = (acted = false) => {
    hold();
    if (!element.isConnected) return;
    element.remove();
    onclose(acted);
  };
  const hold = () => clearTimeout(timer);
  const wait = () => {
    hold();
    if (seconds) timer = setTimeout(close, 1000 * seconds);
  };
  const act = () => {
    close(true);
    action.run();
  };
  const element = h(
    "div",
    { class: `toast ${kind}`, onpointerenter: hold, onpointerleave: wait, onfocusin: hold, onfocusout: wait },
    h("p", { role: kind === "error" ? "alert" : null }, message),
    action && h("button", { class: "button small", type: "button", onclick: act }, action.label),
    tool("close", "Close the message", () => close()),
  );
  region.append(element);
  // What can still be undone or tried again is not pushed out.
  if (region.children.length > 4) region.querySelector(".toast:not(:last-child, :has(.button:not(.quiet))) button")?.click();
  wait();
  return close;
}
