/** Captions: finals in lines with their times, and the words of the open segment below them. */
import { clock, h, icon } from "./dom.js";

const AT_THE_END = 48;
const ANNOUNCE_MS = 1500;
const COVERED = 0.3;
const SETTLED_AFTER = 1;

/**
 * Tells the words of a segment that are settled from those that may still change. Where the server promises
 * it (`Stable`), that counts; otherwise a word is settled once it and all before it have stayed the same
 * for a second of speech. Returns a function from a result to `[settled, unsettled]`.
 */
export function settling() {
  let words = []; // Of each word its content, and the time since which it has been there.
  return (result) => {
    const [{ Transcript: text, Items: items = [] }] = result.Alternatives;
    if (!result.IsPartial) return [text, ""];
    const now = result.EndTime;
    let same = true;
    words = items.map(({ Content: content }, index) => {
      same &&= words[index]?.content === content;
      return same ? words[index] : { content, since: now };
    });
    const promised = items.some((item) => "Stable" in item);
    let settled = "";
    for (const [index, item] of items.entries()) {
      const stays = promised ? item.Stable : index < items.length - 1 && now - words[index].since >= SETTLED_AFTER;
      if (!stays) break;
      settled += (settled && item.Type === "pronunciation" ? " " : "") + item.Content;
    }
    return text.startsWith(settled) ? [settled, text.slice(settled.length)] : ["", text];
  };
}

/** The time of the first word of a result, in seconds. */
const begins = (result) => result.Alternatives[0].Items?.[0]?.StartTime ?? result.StartTime;

/**
 * Make captions. `label` names them to screen readers. `placeholder` is shown while there are none.
 * Results that come twice, as after a reconnection, are shown once.
 */
export function createCaptions({ label = "Captions", placeholder = null } = {}) {
  const lines = h("div", { class: "lines" });
  // Screen readers are told finals only, and several at once where they come fast.
  const announcer = h("div", { class: "visually-hidden", role: "log", "aria-live": "polite", "aria-label": `${label}, as they are settled` });
  const scroller = h("div", { class: "scroller", tabIndex: 0, role: "region", "aria-label": label }, placeholder, lines);
  const latest = h(
    "button",
    { class: "button latest", type: "button", hidden: true, onclick: () => follow(true) },
    icon("down"),
    "Latest words",
  );
  const element = h("section", { class: "captions" }, scroller, latest, announcer);

  const finals = new Map(); // From the id of a result to its line.
  const texts = []; // [seconds, text] of each final, in the order of the lines.
  let open = null; // The line of the segment that is being spoken.
  let stale = null; // The line of a segment whose session was lost: shown until its speech has been heard again.
  let following = true;
  let lastTop = 0;
  let scheduled = false;
  let toAnnounce = [];
  let announcing = 0;

  function follow(now) {
    following = now;
    latest.hidden = now;
    if (now) stick();
  }

  function stick() {
    if (!following || scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      if (!following) return;
      scroller.scrollTop = scroller.scrollHeight;
      lastTop = scroller.scrollTop;
    });
  }

  scroller.addEventListener("scroll", () => {
    const toEnd = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
    if (toEnd < AT_THE_END) follow(true);
    else if (scroller.scrollTop < lastTop) follow(false);
    lastTop = scroller.scrollTop;
  }, { passive: true });
  new ResizeObserver(stick).observe(scroller);

  function line(seconds) {
    const time = h("time", { class: "at" }, clock(seconds));
    const settled = h("span", { class: "settled" });
    const unsettled = h("span", { class: "unsettled" });
    const row = h("p", { class: "line open" }, time, h("span", { class: "said" }, settled, unsettled));
    return { row, time, settled, unsettled, seconds, end: 0, parts: settling() };
  }

  function write(entry, [settled, unsettled]) {
    if (entry.settled.textContent !== settled) entry.settled.textContent = settled;
    if (entry.unsettled.textContent !== unsettled) entry.unsettled.textContent = unsettled;
  }

  function announce(text) {
    toAnnounce.push(text);
    announcing ||= setTimeout(() => {
      announcing = 0;
      announcer.append(h("p", {}, toAnnounce.join(" ")));
      toAnnounce = [];
      while (announcer.children.length > 3) announcer.firstElementChild.remove();
    }, ANNOUNCE_MS);
  }

  function place(entry) {
    if (stale) lines.insertBefore(entry.row, stale.row);
    else lines.append(entry.row);
    if (placeholder) placeholder.hidden = true;
  }

  function dropCovered(end) {
    if (!stale || end < stale.end - COVERED) return;
    stale.row.remove();
    stale = null;
  }

  function settle(entry, text) {
    write(entry, [text, ""]);
    entry.row.classList.remove("open", "stale");
    texts.push([entry.seconds, text]);
  }

  const api = {
    element,
    scroller,
    /** Show a result, whose times begin `offset` seconds after those of the captions. */
    result(result, offset = 0) {
      const id = result.ResultId;
      const known = finals.get(id);
      const text = result.Alternatives[0].Transcript;
      if (known) {
        if (!result.IsPartial) write(known, [text, ""]);
        return;
      }
      if (!open || open.id !== id) {
        if (open && text) api.interrupted();
        if (!open) {
          open = line(begins(result) + offset);
          open.id = id;
        }
      }
      open.end = result.EndTime + offset;
      if (text) {
        open.seconds = begins(result) + offset;
        const at = clock(open.seconds);
        if (open.time.textContent !== at) open.time.textContent = at;
        if (!open.row.isConnected) place(open);
      }
      if (result.IsPartial) write(open, open.parts(result));
      else {
        if (text) {
          settle(open, text);
          finals.set(id, open);
          announce(text);
        } else open.row.remove();
        open = null;
      }
      dropCovered(result.EndTime + offset);
      stick();
    },
    /** Another session begins with the sound at `seconds`: lost words of before that are not heard again. */
    resumed(seconds) {
      if (!stale || seconds <= stale.seconds + COVERED) return;
      settle(stale, stale.row.querySelector(".said").textContent);
      stale = null;
    },
    /** The session of the open segment is lost. Its words stay until the same speech is heard again. */
    interrupted() {
      if (!open) return;
      const entry = open;
      open = null;
      if (!entry.row.isConnected) return;
      if (stale) settle(stale, stale.row.querySelector(".said").textContent);
      stale = entry;
      entry.row.classList.add("stale");
    },
    /** Nothing more comes: what is shown stays as it is. */
    end() {
      api.interrupted();
      if (stale) settle(stale, stale.row.querySelector(".said").textContent);
      stale = null;
    },
    /** A remark between the lines, such as a warning of the server. */
    remark(text) {
      const row = h("p", { class: "remark" }, text);
      const before = stale?.row ?? (open?.row.isConnected ? open.row : null);
      lines.insertBefore(row, before);
      if (placeholder) placeholder.hidden = true;
      stick();
    },
    /** Show finals of before: `[[seconds, text], …]`. */
    restore(saved) {
      for (const [seconds, text] of saved) {
        const entry = line(seconds);
        place(entry);
        settle(entry, text);
      }
      stick();
    },
    /** Remove everything. */
    clear() {
      lines.replaceChildren();
      finals.clear();
      texts.length = 0;
      open = stale = null;
      if (placeholder) placeholder.hidden = false;
      follow(true);
    },
    /** The finals: `[[seconds, text], …]`. */
    get finals() {
      return texts;
    },
    /** All that is shown, as lines of text. */
    get text() {
      return [...lines.querySelectorAll(".said")].map((said) => said.textContent).filter(Boolean).join("\n");
    },
    /** Whether nothing is shown. */
    get isEmpty() {
      return lines.childElementCount === 0;
    },
    follow: () => follow(true),
  };
  return api;
}
