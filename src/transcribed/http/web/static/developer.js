/** The panel for developers: messages as they arrive, how late they are, and programs to start from. */
import { base, socketUrl } from "./api.js";
import { copy, h, icon, tool } from "./dom.js";
import { key } from "./keys.js";
import { SNIPPETS } from "./snippets.js";
import { toast } from "./toast.js";

const MOST_MESSAGES = 200;
const MOST_SAMPLES = 500;

/** Keeps the last samples, in seconds. Returns a function from a share to the value below which that share of them lies. */
function sampler() {
  const samples = [];
  const below = (share) => `${Math.round(1000 * samples.toSorted((a, b) => a - b)[Math.floor(share * samples.length)])} ms`;
  return (value) => {
    samples.push(value);
    if (samples.length > MOST_SAMPLES) samples.shift();
    return below;
  };
}

/** What a message is, in a few words: `[kind, text]`. */
function summary(message) {
  const [[kind, content]] = Object.entries(message);
  if (kind !== "Transcript") return [kind, content.Message ?? content.Live ?? content.SessionId ?? ""];
  const [result] = content.Results;
  return [result.IsPartial ? "Partial" : "Final", result.Alternatives[0].Transcript];
}

/** Make the panel. `onclose()` is called by its button. */
export function createDeveloper({ onclose }) {
  // --- Messages

  let paused = false;
  let count = 0;
  let known = ""; // The segment whose words were seen last, and how many they were.
  let seen = 0;
  const onScreen = sampler();
  const words = sampler();

  const figures = {};
  const figure = (name, title) => h("div", { title }, h("dt", {}, name), (figures[name] = h("dd", { class: "numbers" }, "–")));
  const list = h("ol", { class: "messages", tabIndex: 0, "aria-label": "Messages of the server, the newest first" });
  const pause = h("button", { class: "button small", type: "button", "aria-pressed": "false", onclick() {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
  } }, "Pause");
  const messages = h(
    "div",
    { class: "side-part" },
    h(
      "dl",
      { class: "figures" },
      figure("Lag", "Seconds of sound that no result covers yet"),
      figure("Words after", "From the end of a word until its first result, in the median and at the 95th percentile"),
      figure("On screen after", "From the arrival of a message until the frame that shows it, at the 95th percentile"),
      figure("Messages"),
    ),
    h("div", { class: "toolbar" }, pause, h("a", { class: "spread", href: `${base}docs` }, "API documentation")),
    list,
  );

  function measure(message, event, { heard, offset }) {
    figures.Messages.textContent = count += 1;
    // A hidden tab gets no frames.
    if (!document.hidden) requestAnimationFrame(() => {
      figures["On screen after"].textContent = onScreen((performance.now() - event.timeStamp) / 1000)(0.95);
    });
    if (!message.Transcript) return;
    const [{ ResultId, EndTime, Alternatives: [{ Items = [] }] }] = message.Transcript.Results;
    const late = (time) => Math.max(0, heard - offset - time);
    figures.Lag.textContent = `${late(EndTime).toFixed(2)} s`;
    if (ResultId !== known) [known, seen] = [ResultId, 0];
    const spoken = Items.filter(({ Type }) => Type === "pronunciation");
    for (const item of spoken.slice(seen)) {
      const below = words(late(item.EndTime));
      figures["Words after"].textContent = `${below(0.5)} (95 %: ${below(0.95)})`;
    }
    seen = Math.max(seen, spoken.length);
  }

  function row(message, event, { heard }) {
    const [kind, text] = summary(message);
    const title = h("summary", {}, h("span", { class: "at" }, heard.toFixed(2)), h("span", { class: "badge" }, kind), h("span", { class: "message-text" }, text));
    // Few are opened.
    const fill = () => title.nextSibling ?? title.after(h("pre", { tabIndex: 0 }, JSON.stringify(message, null, 2)));
    return h("li", {}, h("details", { ontoggle: fill }, title));
  }

  // --- Programs

  const query = h("input", { class: "input", value: "format=json&encoding=auto", spellcheck: false, oninput: () => write() });
  const which = h("select", { class: "select", "aria-label": "Program", onchange: () => write() }, Object.keys(SNIPPETS).map((title) => h("option", {}, title)));
  const reveal = h("input", { type: "checkbox", onchange: () => write() });
  const revealing = h("label", { class: "note" }, reveal, " Show my key");
  const code = h("pre", { class: "snippet", tabIndex: 0, "aria-label": "The program" });
  const copying = h("button", { class: "button small spread", type: "button", async onclick() {
    toast((await copy(snippet(key()))) ? `Copied${key() ? ", with your key" : ""}.` : "The browser did not allow the copy.");
  } }, icon("copy"), "Copy");
  const parameters = h("label", { class: "field" }, "Parameters of /stream", query);
  const programs = h(
    "div",
    { class: "side-part", hidden: true },
    which,
    parameters,
    h("div", { class: "toolbar" }, revealing, copying),
    code,
  );

  function snippet(secret) {
    const places = { HTTP: base.href.replace(/\/$/, ""), STREAM: `${socketUrl("stream")}?${query.value.trim()}`, KEY: secret };
    return SNIPPETS[which.value]
      .replace(/«(.*?)\|(.*?)»/g, secret ? "$1" : "$2")
      .replace(/%(HTTP|STREAM|KEY)%/g, (_, name) => places[name]);
  }

  function write() {
    revealing.hidden = !key();
    parameters.hidden = !SNIPPETS[which.value].includes("%STREAM%");
    code.textContent = snippet(key() && !reveal.checked ? "YOUR_KEY" : key());
  }

  // --- The panel

  const part = (name, panel) =>
    h("button", { type: "button", "aria-pressed": String(panel === messages), onclick({ currentTarget }) {
      messages.hidden = panel !== messages;
      programs.hidden = panel !== programs;
      for (const button of currentTarget.parentElement.children) button.setAttribute("aria-pressed", button === currentTarget);
    } }, name);
  const heading = h("h2", { id: "developer-title", tabIndex: -1 }, "For developers");

  return {
    element: h(
      "section",
      { class: "developer", "aria-labelledby": "developer-title" },
      h("div", { class: "toolbar" }, heading, h("span", { class: "spread" }, tool("close", "Close the panel", onclose))),
      h("div", { class: "segmented", role: "group", "aria-label": "Parts of the panel" }, part("Messages", messages), part("Programs", programs)),
      messages,
      programs,
    ),
    /** Show a message. `times` has `heard`, seconds of sound so far, and `offset`, where the session began. */
    message(message, event, times) {
      measure(message, event, times);
      if (paused) return;
      list.prepend(row(message, event, times));
      if (list.childElementCount > MOST_MESSAGES) list.lastElementChild.remove();
    },
    shown() {
      write();
      heading.focus();
    },
  };
}
