/** The page for viewers of a shared session: its captions as they come, and those of before. */
import { socketUrl } from "./api.js";
import { createCaptions } from "./captions.js";
import { connect } from "./connection.js";
import { h } from "./dom.js";

const STATES = {
  connecting: ["", "Connecting…"],
  open: ["live", "Live"],
  speakerAway: ["away", "The speaker is away, waiting…"],
  waiting: ["away", "Reconnecting…"],
  full: ["full", "No room yet, trying again…"],
  closed: ["", "Ended"],
  refused: ["away", "Not available"],
};

const welcome = h(
  "div",
  { class: "empty welcome" },
  h("h2", {}, "Waiting for the first words"),
  h("p", {}, "They appear here as they are spoken."),
);
const captions = createCaptions({ label: "Live captions", placeholder: welcome });
const problem = h("div", { class: "problem-card", role: "alert", hidden: true });
const tools = h("div", { class: "dock" }, h("div", { class: "dock-tools", role: "toolbar", "aria-label": "Captions" }, ...captions.tools));
document.getElementById("main").replaceChildren(h("div", { class: "listen" }, h("div", { class: "stage" }, problem, captions.element, tools)));

const state = document.getElementById("state");
const warned = new Set(); // Another connection begins with the same messages.

function show([kind, text]) {
  state.dataset.state = kind;
  state.textContent = text;
}

connect({
  watches: true,
  address: () => socketUrl(`live/${location.pathname.split("/").pop()}`),
  endsWith: (message) => Boolean(message.Done),
  onmessage(message) {
    for (const result of message.Transcript?.Results ?? []) captions.result(result);
    const warning = message.Warning?.Message;
    if (warning && !warned.has(warning)) captions.remark(warning);
    warned.add(warning);
    if (message.Away) show(STATES.speakerAway);
    if (message.Back) show(STATES.open);
    if (message.Done) captions.remark("The captions have ended.");
  },
  onstate(now, { message }) {
    show(STATES[now]);
    if (now !== "closed" && now !== "refused") return;
    captions.end();
    if (now === "closed" && message) captions.remark(message);
    if (now === "closed") return;
    problem.append(h("div", {}, h("h2", {}, "These captions cannot be shown"), h("p", {}, message)));
    problem.hidden = false;
    welcome.hidden = true;
  },
});
