/** Captions: finals in lines with their times, and the words of the open segment below them. */
import { clock, copy, h, icon, tool } from "./dom.js";
import { toast } from "./toast.js";

const AT_THE_END = 48; // Pixels.
const ANNOUNCE_MS = 1500;
const COVERED = 0.3;
const SETTLED_AFTER = 1;

/**
 * Tells the words of a segment that are settled from those that may still change: a word is settled once it and
 * all before it have stayed the same for a second of speech. Returns a function from a result to `[settled, unsettled]`.
 */
function settling() {
  let words = []; // Of each word its content, and the time since which it has been there.
  return ({ IsPartial, EndTime: now, Alternatives: [{ Transcript: text, Items: items = [] }] }) => {
    if (!IsPartial) return [text, ""];
    let same = true;
    words = items.map(({ Content: content }, index) => {
      same &&= words[index]?.content === content;
      return same ? words[index] : { content, since: now };
    });
    let settled = "";
    for (const [index, { Type, Content }] of items.slice(0, -1).entries()) {
      if (now - words[index].since < SETTLED_AFTER) break;
      settled += (settled && Type === "pronunciation" ? " " : "") + Content;
    }
    return text.startsWith(settled) ? [settled, text.slice(settled.length)] : ["", text];
  };
}

/**
 * Make captions. `label` names them to screen readers. `placeholder` is shown while there are none.
 * Results that come twice, as after a reconnection, are shown once.
 */
export function createCaptions({ label = "Captions", placeholder = null } = {}) {
  const lines = h("div", { class: "lines" });
  // Screen readers are told finals only, and several at once where they come fast.
  const announcer = h("div", { class: "visually-hidden", role: "log", "aria-label": `${label}, as they are settled` });
  const scroller = h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": label }, placeholder, lines);
  const latest = h("button", { class: "button latest", type: "button", hidden: true, onclick: () => follow(true) }, icon("down"), "Latest words");
  const element = h("section", { class: "captions" }, scroller, latest, announcer);

  // --- The end stays in view

  let following = true;
  let lastTop = 0;

  function follow(now) {
    following = now;
    latest.hidden = now;
    if (now) scroller.scrollTop = scroller.scrollHeight;
  }

  scroller.addEventListener("scroll", () => {
    const toEnd = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
    if (toEnd < AT_THE_END) follow(true);
    else if (scroller.scrollTop < lastTop) follow(false);
    lastTop = scroller.scrollTop;
  }, { passive: true });
  const sizes = new ResizeObserver(() => following && follow(true));
  sizes.observe(scroller);
  sizes.observe(lines);

  // --- Lines

  const finals = []; // [seconds, text] of each, in the order of the lines.
  const ended = new Set(); // The ids of their results.
  let open = null; // The line of the segment that is being spoken.
  let stale = null; // The line of a segment whose session was lost: shown until its speech has been heard again.
  let toAnnounce = [];

  function line(seconds) {
    const time = h("time", { class: "at" });
    const [settled, unsettled] = [h("span", { class: "settled" }), h("span", { class: "unsettled" })];
    const row = h("p", { class: "line open" }, time, h("span", { class: "said" }, settled, unsettled));
    const entry = { row, time, settled, unsettled, end: 0, parts: settling() };
    begin(entry, seconds);
    return entry;
  }

  function begin(entry, seconds) {
    entry.seconds = seconds;
    write(entry.time, clock(seconds));
  }

  // What is written again is laid out again.
  function write(part, text) {
    if (part.textContent !== text) part.textContent = text;
  }

  function say(entry, [settled, unsettled]) {
    write(entry.settled, settled);
    write(entry.unsettled, unsettled);
  }

  function put(row) {
    lines.insertBefore(row, (open?.row.isConnected ? open.row : stale?.row) ?? null);
  }

  function settle(entry, text = entry.settled.textContent + entry.unsettled.textContent) {
    say(entry, [text, ""]);
    entry.row.classList.remove("open");
    finals.push([entry.seconds, text]);
  }

  function settleStale() {
    if (stale) settle(stale);
    stale = null;
  }

  function announce(text) {
    if (toAnnounce.push(text) > 1) return;
    setTimeout(() => {
      announcer.append(h("p", {}, toAnnounce.join(" ")));
      toAnnounce = [];
      if (announcer.children.length > 3) announcer.firstElementChild.remove();
    }, ANNOUNCE_MS);
  }

  /** The session of the open segment is lost. Its words stay until the same speech is heard again. */
  function interrupted() {
    if (open?.row.isConnected) {
      settleStale();
      stale = open;
    }
    open = null;
  }

  // --- What can be done with them

  const text = () => [...lines.querySelectorAll(".said")].map((said) => said.textContent).join("\n");

  const enlarge = () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
  const large = document.fullscreenEnabled && tool("large", "Large type, for a room", enlarge);
  const copying = tool("copy", "Copy the text", async () => {
    toast((await copy(text())) ? "The text is copied." : "The browser did not allow the copy.");
  });

  return {
    element,
    /** Buttons for a toolbar. */
    tools: [large, copying],
    interrupted,
    follow: () => follow(true),
    /** Show a result, whose times begin `offset` seconds after those of the captions. */
    result(result, offset = 0) {
      const { ResultId: id, IsPartial, Alternatives: [{ Transcript: text, Items: [first] = [] }] } = result;
      const seconds = offset + (first?.StartTime ?? result.StartTime);
      const end = offset + result.EndTime;
      if (ended.has(id)) return;
      if (open && open.id !== id) interrupted();
      open ??= line(seconds);
      Object.assign(open, { id, end });
      if (text) {
        begin(open, seconds);
        if (!open.row.isConnected) put(open.row);
      }
      if (IsPartial) say(open, open.parts(result));
      else {
        if (text) {
          settle(open, text);
          ended.add(id);
          announce(text);
        } else open.row.remove();
        open = null;
      }
      if (stale && end >= stale.end - COVERED) {
        stale.row.remove();
        stale = null;
      }
    },
    /** Another session begins with the sound at `seconds`: lost words of before that are not heard again. */
    resumed(seconds) {
      if (stale && seconds > stale.seconds + COVERED) settleStale();
    },
    /** Nothing more comes: what is shown stays as it is. */
    end() {
      interrupted();
      settleStale();
    },
    /** A remark between the lines, such as a warning of the server. */
    remark(text) {
      put(h("p", { class: "remark" }, text));
    },
    /** Show finals of before: `[[seconds, text], …]`. */
    restore(saved) {
      for (const [seconds, text] of saved) {
        const entry = line(seconds);
        put(entry.row);
        settle(entry, text);
      }
    },
    clear() {
      lines.replaceChildren();
      finals.length = 0;
      open = stale = null;
      follow(true);
    },
    /** The finals: `[[seconds, text], …]`. */
    finals,
    /** All that is shown, as lines of text. */
    get text() {
      return text();
    },
    get isEmpty() {
      return lines.childElementCount === 0;
    },
  };
}
