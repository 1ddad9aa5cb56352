/** The page for viewers of a shared session: its captions as they come, and those of before. */
import { part, socketUrl } from "./api.js";
import { themeSwitch, tool, typeControls } from "./appearance.js";
import { createCaptions } from "./captions.js";
import { connect } from "./connection.js";
import { copy, h } from "./dom.js";
import { toast } from "./toast.js";

const STATES = {
  connecting: "Connecting…",
  open: "Live",
  waiting: "Reconnecting…",
  full: "No room yet, trying again…",
  closed: "Ended",
  refused: "Not available",
};

const waiting = h(
  "div",
  { class: "empty welcome" },
  h("h2", {}, "Waiting for the first words"),
  h("p", {}, "They appear here as they are spoken."),
);
const captions = createCaptions({ label: "Live captions", placeholder: waiting });
const problem = h("div", { class: "problem-card", role: "alert", hidden: true });
const element = h("div", { class: "listen" });
const type = typeControls(element, captions);
const copying = tool("copy", "Copy the text", async () => {
  toast((await copy(captions.text)) ? "The text is copied." : "The browser did not allow the copy.");
});
element.append(
  h(
    "div",
    { class: "stage" },
    problem,
    captions.element,
    h("div", { class: "dock viewer-dock" }, h("div", { class: "dock-tools", role: "toolbar", "aria-label": "Captions" }, ...type.buttons, copying)),
  ),
);
document.getElementById("main").replaceChildren(element);
themeSwitch(document.getElementById("theme"));

const state = document.getElementById("state");
const warned = new Set(); // Another connection begins with the same messages.
const id = decodeURIComponent(location.pathname.split("/").pop());

connect({
  watches: true,
  address: () => socketUrl(`live/${part(id)}`),
  endsWith: (message) => Boolean(message.Done),
  onmessage(message) {
    for (const result of message.Transcript?.Results ?? []) captions.result(result);
    const warning = message.Warning?.Message;
    if (warning && !warned.has(warning)) {
      warned.add(warning);
      captions.remark(warning);
    }
    if (message.Done) captions.remark("The captions have ended.");
  },
  onstate(now, detail) {
    state.textContent = STATES[now];
    state.dataset.state = { open: "live", waiting: "away", refused: "away", full: "full" }[now] ?? "";
    if (now === "closed" || now === "refused") captions.end();
    if (now === "closed" && detail.message) captions.remark(detail.message);
    if (now !== "refused") return;
    problem.replaceChildren(h("div", {}, h("h2", {}, "These captions cannot be shown"), h("p", {}, detail.message)));
    problem.hidden = false;
    waiting.hidden = true;
  },
});
