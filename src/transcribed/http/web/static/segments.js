/** A transcript's segments as lines, whose words can be heard, marked and corrected. */
import { clock, h, icon } from "./dom.js";
import { identity } from "./recognition.js";
import { spokenClock } from "./waveform.js";

const UNSURE = 0.6; // the confidence below which a word is marked
const BLOCK = 25; // lines that are laid out together, and only where they are in view
const SLICE_MS = 12; // how long lines are made before the browser may do something else
const PAUSE = 0.3; // seconds after a word in which it still counts as being played

/** Corrections that are not in the store, by the ids of their results, whichever transcript is shown. */
const unsaved = new Map();
addEventListener("beforeunload", (event) => unsaved.size && event.preventDefault());

/** What a result says, with which words, who says it, and what was recognised if that was corrected. */
function spoken({ Alternatives: [now, before], ChannelId }) {
  const words = [];
  for (const { Type, Content, StartTime, EndTime, Confidence } of now?.Items ?? []) {
    if (Type === "pronunciation" || !words.length) words.push({ text: Content, start: StartTime, end: EndTime, confidence: Confidence });
    else words.at(-1).text += Content;
  }
  const speaker = now?.Items?.[0]?.Speaker;
  const voice = ChannelId ?? (speaker === undefined ? null : `spk_${speaker}`);
  return { text: now?.Transcript ?? "", words, voice, recognised: before?.Transcript ?? null };
}

/** The index of the last of ordered lines or words that does not start after `time`, or -1. */
const lastBefore = (ordered, time) => ordered.findLastIndex(({ start }) => start <= time + 0.001);

const wordsOf = (line) => line.body.querySelectorAll(".word");

/**
 * The lines in `list`, an element with the role of a list.
 *
 * `onPlay(seconds)` is called when a word or a time is chosen; `onLoop(line)` and `onLink(seconds)` by a line's
 * buttons; `onEdit(line)` when a correction begins. `save(line, text | null)` corrects a segment, and resolves to its
 * new result; `onSaved(state)` tells `saving`, `saved` or `unsaved`, and `onMessage(text)` why.
 */
export class Segments {
  #list; #does; #lines = []; #byNumber = new Map(); #tools; #restore; #at = null; #playing = {}; #editing = null; #closed = false;

  constructor(list, does) {
    this.#list = list;
    this.#does = does;
    const button = (name, label, run) =>
      h("button", { class: "button quiet icon small", title: label, "aria-label": label, onclick: () => run(this.#at) }, icon(name));
    this.#restore = button("undo", "Restore the recognised text", (line) => this.#save(line, line.recognised));
    this.#tools = h("div", { class: "segment-tools", role: "toolbar", "aria-label": "This segment" },
      button("loop", "Loop this segment (L)", does.onLoop), button("edit", "Correct this segment (E)", (line) => this.edit(line)),
      button("link", "Copy a link to this place", (line) => does.onLink(line.start)), this.#restore);
    const on = (name, run) => list.addEventListener(name, (event) => {
      const line = this.#lineOf(event.target);
      if (line) run(line, event);
    });
    on("pointerover", (line) => this.#choose(line));
    on("focusin", (line) => this.#choose(line));
    on("focusout", (_, { target }) => target.matches("textarea") && this.leave());
    on("click", (line, event) => this.#clicked(line, event));
    on("dblclick", (line, event) => this.#doubleClicked(line, event));
    on("keydown", (line, event) => this.#pressed(line, event));
  }

  destroy() {
    this.#closed = true;
    this.leave();
  }

  get count() { return this.#lines.length; }
  /** The text of all segments, a line each. */
  get text() {
    return this.#lines.filter(({ text }) => text).map(({ voice, text }) => (voice ? `${voice}: ${text}` : text)).join("\n");
  }

  /** Show the results of a whole transcript, a slice at a time so that the page stays responsive. */
  async fill(results) {
    let end = 0;
    for (const result of results.toSorted((a, b) => a.StartTime - b.StartTime)) {
      if (performance.now() > end) {
        await new Promise((done) => setTimeout(done));
        if (this.#closed) return;
        end = performance.now() + SLICE_MS;
      }
      this.put(result);
    }
  }

  /** Show the state of one segment: a new one, or a known one that has changed. */
  put(result) {
    const { number, transcript } = identity(result);
    const { ResultId: id, EndTime: end, IsPartial: partial } = result;
    const said = spoken(result);
    const start = said.words[0]?.start ?? result.StartTime; // As among captions: silence may precede the words.
    const known = this.#byNumber.get(number);
    // What could not be saved when the transcript was left is saved when it is opened again.
    const line = known ?? { id, number, draft: unsaved.get(id) ?? null, failed: false, saving: false };
    if (line.id !== id) {
      // A recognition that began anew does not know what was corrected before.
      line.draft ??= line.recognised === null ? null : line.text;
      if (unsaved.delete(line.id)) unsaved.set(id, line.draft);
    }
    Object.assign(line, said, { id, transcript, start, end, partial });
    if (!known) this.#add(line);
    this.#show(line);
    if (line.draft !== null && !partial) this.#save(line, line.draft);
    return line;
  }

  /** Take away lines of an earlier, interrupted recognition that a new one has reached. */
  keepOnly(results) {
    const kept = new Set(results.map((result) => identity(result).number));
    for (const { number, element } of this.#lines) {
      if (kept.has(number)) continue;
      element.remove();
      this.#byNumber.delete(number);
    }
    this.#lines = this.#lines.filter(({ number }) => kept.has(number));
    if (!this.#lines.includes(this.#at)) this.#at = null;
  }

  #add(line) {
    line.time = h("button", { class: "segment-time numbers", tabIndex: this.#lines.length ? -1 : 0 });
    line.body = h("p", { class: "segment-text" });
    line.element = h("div", { class: "segment", role: "listitem" }, line.time, line.body);
    line.element.line = line;
    const place = lastBefore(this.#lines, line.start) + 1;
    const next = this.#lines[place]?.element;
    let block = (next ?? this.#lines.at(-1)?.element)?.parentElement;
    if (!block || (!next && block.children.length >= BLOCK)) this.#list.append(block = h("div", { class: "segment-block" }));
    block.insertBefore(line.element, next ?? null);
    this.#lines.splice(place, 0, line);
    this.#byNumber.set(line.number, line);
  }

  #show(line) {
    const { element, time, body, start, partial, voice, text, words, recognised, draft } = line;
    time.textContent = clock(start);
    element.classList.toggle("partial", partial);
    if (this.#at === line) this.#restore.hidden = recognised === null;
    if (this.#editing?.line === line) return;
    body.replaceChildren();
    if (voice) body.append(h("span", { class: "segment-voice" }, voice), " ");
    if (draft !== null) {
      body.append(draft);
      if (line.failed) body.append(" ", h("span", { class: "badge warn" }, "not saved"));
      return;
    }
    if (!text && recognised !== null) body.append(h("s", { title: "Hidden by a correction" }, recognised));
    words.forEach((word, index) => {
      const unsure = word.confidence < UNSURE;
      body.append(index ? " " : "", h("span", {
        class: unsure ? "word unsure" : "word", title: unsure && `Unsure: ${Math.round(word.confidence * 100)} %`,
      }, word.text));
    });
    if (recognised !== null) body.append(" ", h("span", { class: "badge", title: `Recognised: ${recognised}` }, "corrected"));
  }

  #lineOf(target) { return target?.closest?.(".segment")?.line; }

  // One set of buttons is moved from line to line, so that three hours of lines stay light.
  #choose(line) {
    // Whoever goes through the buttons with the keyboard keeps them, wherever the pointer rests.
    if (this.#at === line || line.partial || this.#tools.querySelector(":focus-visible")) return;
    if (this.#at) this.#at.time.tabIndex = -1;
    this.#at = line;
    line.time.tabIndex = 0;
    this.#restore.hidden = line.recognised === null;
    line.element.append(this.#tools);
  }

  #clicked(line, { target }) {
    this.#choose(line);
    if (target === line.time) this.#does.onPlay(line.start);
    // The end of a selection is no click.
    const word = getSelection().isCollapsed ? line.words[[...wordsOf(line)].indexOf(target)] : null;
    if (word) this.#does.onPlay(word.start);
  }

  #doubleClicked(line, { target }) {
    if (!line.body.contains(target)) return;
    getSelection().removeAllRanges();
    const before = line.words.slice(0, Math.max(0, [...wordsOf(line)].indexOf(target)));
    this.edit(line, before.reduce((sum, { text }) => sum + text.length + 1, 0));
  }

  #pressed(line, event) {
    if (!this.#editing || event.key !== "Enter" || event.shiftKey || event.altKey || event.isComposing) return;
    event.preventDefault();
    const next = event.ctrlKey || event.metaKey ? this.#next(line, 1) : null;
    if (next) return this.edit(next);
    this.leave();
    return line.time.focus();
  }

  #next(line, step) {
    let index = this.#lines.indexOf(line);
    do index += step; while (this.#lines[index]?.partial);
    return this.#lines[index];
  }

  // --- Moving

  /** The line with the focus, or the one that plays, or the first in view. */
  get current() {
    const inView = () => document.elementFromPoint(this.#list.getBoundingClientRect().left + 20, 90);
    return this.#lineOf(document.activeElement) ?? this.#playing.line ?? this.#lineOf(inView()) ?? this.#lines[0];
  }

  /** Move the focus by whole lines. */
  move(step) {
    const now = this.#lineOf(document.activeElement);
    const to = now ? this.#next(now, step) : this.current;
    if (!to) return;
    this.#choose(to);
    to.time.focus({ preventScroll: true });
    this.reveal(to, "nearest");
  }

  /** The line that is said at a time. */
  at(time) { return this.#lines[Math.max(0, lastBefore(this.#lines, time))]; }

  /** Bring a line into view. Lines that were never shown have estimated heights, hence the second look. */
  reveal(line, block = "center") {
    line.element.scrollIntoView({ block });
    requestAnimationFrame(() => line.element.scrollIntoView({ block }));
  }

  /** Mark the word that is played. Returns its line if that is another one than before. */
  mark(time) {
    const before = this.#playing;
    const last = this.#lines[lastBefore(this.#lines, time)];
    const line = time <= last?.end + PAUSE ? last : undefined;
    const index = line ? lastBefore(line.words, time) : -1;
    const word = time <= line?.words[index]?.end + PAUSE ? wordsOf(line)[index] : undefined;
    if (before.word !== word) before.word?.classList.remove("playing");
    word?.classList.add("playing");
    if (before.line !== line) before.line?.element.classList.remove("playing");
    line?.element.classList.add("playing");
    this.#playing = { line, word };
    return before.line === line ? null : line;
  }

  // --- Corrections

  /** Correct a line in place. */
  edit(line = this.current, caret = 0) {
    if (!line || line.partial || this.#editing?.line === line) return;
    this.leave();
    const field = h("textarea", {
      class: "input segment-field", rows: 3, value: line.draft ?? line.text, spellcheck: true, maxLength: 20000,
      "aria-label": `Correct the segment at ${spokenClock(line.start)}`,
    });
    this.#choose(line);
    this.#editing = { line, field };
    line.body.replaceChildren(field);
    field.focus({ preventScroll: true });
    field.setSelectionRange(caret, caret);
    line.element.scrollIntoView({ block: "nearest" });
    this.#does.onEdit(line);
  }

  /** End the correction in place, and save it. */
  leave() {
    if (!this.#editing) return;
    const { line, field } = this.#editing;
    this.#editing = null;
    const text = field.value.replace(/\s+/gu, " ").trim();
    if (text === line.text && line.draft === null) this.#show(line);
    else this.#save(line, text);
  }

  /** Save a text, and if there is another one meanwhile that one afterwards, so that the last one counts. */
  async #save(line, text) {
    Object.assign(line, { draft: text, failed: false });
    unsaved.set(line.id, text);
    this.#show(line);
    if (line.saving) return;
    line.saving = true;
    this.#tell();
    try {
      let result, draft, id;
      do {
        ({ draft, id } = line);
        result = await this.#does.save(line, draft === (line.recognised ?? line.text) ? null : draft);
      } while (line.draft !== draft || line.id !== id);
      unsaved.delete(id);
      Object.assign(line, { draft: null, saving: false });
      this.put(result);
    } catch (error) {
      Object.assign(line, { failed: true, saving: false });
      this.#show(line);
      // What is not in the store, such as a transcript that was deleted, is no reason to stay.
      if (error.status === 404) unsaved.delete(line.id);
      this.#does.onMessage(`The correction at ${clock(line.start)} is not saved: ${error.message}`);
    }
    this.#tell();
  }

  #tell() {
    const waiting = this.#lines.filter(({ draft }) => draft !== null);
    this.#does.onSaved(waiting.some(({ saving }) => saving) ? "saving" : waiting.length ? "unsaved" : "saved");
  }

  /** Save again what could not be saved. */
  retry() {
    for (const line of this.#lines) {
      if (line.draft !== null && this.#editing?.line !== line) this.#save(line, line.draft);
    }
  }
}
