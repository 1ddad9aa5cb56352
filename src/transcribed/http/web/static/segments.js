/** A transcript's segments as lines: light ones, whose words become elements only where they are in view. */
import { clock, h, icon } from "./dom.js";
import { identity } from "./recognition.js";
import { spokenClock } from "./waveform.js";

const UNSURE = 0.6; // the confidence below which a word is marked
const SLICE = 50; // lines that are made at a time
const BLOCK = 25; // lines that are laid out together
const FRAME_MS = 6; // how long lines are shown in one frame
const PAUSE = 0.3; // seconds after a word in which it still counts as being played

/** Corrections that are not in the store, by the ids of their results, whichever transcript is shown. */
const unsaved = new Map();
addEventListener("beforeunload", (event) => unsaved.size && event.preventDefault());

/** What a result says, and with which words: `{text, words: [{text, start, end, confidence}], recognised}`. */
export function spoken(result) {
  const [now, recognised = null] = result.Alternatives;
  const words = [];
  for (const item of now?.Items ?? []) {
    if (item.Type === "pronunciation" || !words.length) {
      words.push({ text: item.Content, start: item.StartTime, end: item.EndTime, confidence: item.Confidence });
    } else words.at(-1).text += item.Content;
  }
  const voice = result.ChannelId ?? (now?.Items?.[0]?.Speaker === undefined ? null : `spk_${now.Items[0].Speaker}`);
  return { text: now?.Transcript ?? "", words, recognised: recognised?.Transcript ?? null, voice };
}

/** The index of the last of ordered lines or words that does not start after `time`, or -1. */
export function lastBefore(ordered, time) {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ordered[middle].start <= time + 0.001) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * The lines in `list`, an element with the role of a list.
 *
 * `onPlay(seconds)` is called when a word or a time is chosen; `onLoop([start, end])`, `onLink(seconds)` and
 * `onMessage(text)` by a line's buttons. `save(line, text | null)` corrects a segment, and resolves to its new result; `onSaved(state)`
 * tells `saving`, `saved` or `unsaved`; `onEdit(line)` that a correction begins.
 */
export class Segments {
  #list; #does; #lines = []; #byNumber = new Map(); #toolbar; #buttons; #observer; #at = null; #playing = null;
  #editing = null; #saving = 0; #version = 0; #due = new Set(); #frame = 0;

  constructor(list, does) {
    this.#list = list;
    this.#does = does;
    const button = (name, label, run) =>
      h("button", { class: "button quiet icon small", type: "button", title: label, "aria-label": label, onclick: () => run(this.#at) }, icon(name));
    this.#buttons = {
      loop: button("loop", "Loop this segment (L)", (line) => this.#does.onLoop(line)),
      edit: button("edit", "Correct this segment (E)", (line) => this.edit(line)),
      link: button("link", "Copy a link to this place", (line) => this.#does.onLink(line.start)),
      restore: button("undo", "Restore the recognised text", (line) => this.#save(line, null)),
    };
    this.#buttons.loop.classList.add("needs-audio");
    this.#toolbar = h("div", { class: "segment-tools", role: "toolbar", "aria-label": "This segment" }, ...Object.values(this.#buttons));
    this.#observer = new IntersectionObserver((entries) => {
      // A selection would lose the text that it begins in. It is asked for once, because each answer needs a layout.
      const selecting = !getSelection().isCollapsed;
      for (const { target, isIntersecting } of entries) {
        for (const { line } of target.children) {
          line.near = isIntersecting;
          if (isIntersecting) this.#due.add(line);
          else if (!selecting) this.#hide(line);
        }
      }
      this.#showDue();
    }, { rootMargin: "400px 0px" });
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("dblclick", (event) => this.#doubleClicked(event));
    list.addEventListener("pointerover", (event) => event.pointerType === "mouse" && this.#over(event));
    list.addEventListener("focusin", (event) => this.#over(event));
    list.addEventListener("focusout", ({ target }) => target.tagName === "TEXTAREA" && this.leave());
    list.addEventListener("input", ({ target }) => target.tagName === "TEXTAREA" && grow(target));
    list.addEventListener("keydown", (event) => this.#pressed(event));
  }

  destroy() {
    this.#version++;
    this.#due.clear();
    this.#observer.disconnect();
    this.leave();
  }

  get count() { return this.#lines.length; }
  /** The text of all segments, a line each. */
  get text() {
    return this.#lines.filter((line) => line.text)
      .map((line) => (line.voice ? `${line.voice}: ${line.text}` : line.text)).join("\n");
  }

  /** Show the results of a whole transcript, a slice at a time so that the page stays responsive. */
  async fill(results) {
    const version = ++this.#version;
    const ordered = [...results].sort((a, b) => a.StartTime - b.StartTime);
    for (let from = 0; from < ordered.length; from += SLICE) {
      for (const result of ordered.slice(from, from + SLICE)) this.put(result);
      await new Promise((done) => setTimeout(done));
      if (version !== this.#version) return;
    }
  }

  /** Show the state of one segment: a new one, or a known one that has changed. */
  put(result) {
    const { number, transcript } = identity(result);
    const id = result.ResultId;
    let line = this.#byNumber.get(number);
    const known = Boolean(line);
    // What could not be saved when the transcript was left is saved when it is opened again.
    line ??= { number, id, draft: null, failed: false, spans: null, carried: unsaved.get(id) ?? null, saving: null, near: false };
    // A recognition that began anew does not know what was corrected before.
    if (line.id !== id && (line.draft ?? line.recognised) !== null) line.carried = line.draft ?? line.text;
    if (line.id !== id && unsaved.delete(line.id)) unsaved.set(id, line.carried);
    Object.assign(line, spoken(result), {
      id, transcript, start: result.StartTime, end: result.EndTime, partial: result.IsPartial, spans: null,
    });
    if (!known) this.#add(line);
    else this.#renew(line);
    if (line.carried !== null && !line.partial) {
      const text = line.carried;
      line.carried = null;
      this.#save(line, text === line.recognised ? null : text);
    }
    return line;
  }

  /** Take away lines of an earlier, interrupted recognition that a new one has reached. */
  keepOnly(results) {
    const kept = new Set(results.map((result) => identity(result).number));
    for (const line of this.#lines.filter(({ number }) => !kept.has(number))) {
      line.element.remove();
      if (this.#at === line) this.#at = null;
      this.#byNumber.delete(line.number);
    }
    this.#lines = this.#lines.filter(({ number }) => kept.has(number));
  }

  #add(line) {
    line.timeButton = h("button", { class: "segment-time numbers", type: "button", tabIndex: this.#lines.length ? -1 : 0 });
    line.body = h("p", { class: "segment-text" });
    line.element = h("div", { class: "segment", role: "listitem" }, line.timeButton, line.body);
    line.element.line = line;
    const place = lastBefore(this.#lines, line.start) + 1;
    const next = this.#lines[place];
    this.#lines.splice(place, 0, line);
    this.#byNumber.set(line.number, line);
    this.#renew(line);
    const block = next?.element.parentElement ?? this.#lastBlock();
    block.insertBefore(line.element, next?.element ?? null);
    // A block that is in view already tells nothing of a line that is new in it.
    const { nextElementSibling: after, previousElementSibling: before } = line.element;
    line.near = (before ?? after)?.line.near ?? false;
    if (line.near) this.#show(line);
  }

  // Browsers look at each of what they observe in each frame: at blocks of lines that is cheap.
  #lastBlock() {
    let block = this.#list.lastElementChild;
    if (!block || block.children.length >= BLOCK) {
      block = h("div", { class: "segment-block" });
      this.#list.append(block);
      this.#observer.observe(block);
    }
    return block;
  }

  #renew(line) {
    const was = line.timeButton.textContent;
    const time = clock(line.start);
    if (was !== time) {
      line.timeButton.textContent = time;
      line.timeButton.setAttribute("aria-label", spokenClock(line.start));
    }
    line.element.classList.toggle("partial", line.partial);
    line.element.classList.toggle("corrected", line.recognised !== null);
    if (this.#at === line) this.#buttons.restore.hidden = line.recognised === null;
    if (this.#editing?.line === line) return;
    if (line.near) this.#show(line);
    else {
      line.spans = null;
      this.#plain(line);
    }
  }

  // A fast scroll passes many lines: some are shown in each frame, and those that have gone by are not.
  #showDue() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      const end = performance.now() + FRAME_MS;
      for (const line of this.#due) {
        this.#due.delete(line);
        if (line.near && !line.spans) this.#show(line);
        if (performance.now() > end) break;
      }
      if (this.#due.size) this.#showDue();
    });
  }

  #hide(line) {
    this.#due.delete(line);
    if (!line.spans || this.#playing?.line === line) return;
    line.spans = null;
    this.#plain(line);
  }

  #plain(line) {
    const text = line.draft ?? line.text;
    line.body.textContent = line.voice ? `${line.voice} ${text}` : text;
  }

  #show(line) {
    if (this.#editing?.line === line) return;
    line.body.replaceChildren();
    if (line.voice) line.body.append(h("span", { class: "segment-voice" }, line.voice), " ");
    if (line.draft !== null) {
      line.spans = [];
      line.body.append(line.draft);
      if (line.failed) line.body.append(" ", h("span", { class: "badge warn" }, "not saved"));
      return;
    }
    if (!line.text && line.recognised !== null) {
      line.body.append(h("s", { title: "Hidden by a correction" }, line.recognised));
    }
    line.spans = line.words.map((word, index) => {
      const unsure = word.confidence !== undefined && word.confidence < UNSURE;
      const span = h("span", { class: unsure ? "word unsure" : "word" }, word.text);
      if (unsure) span.title = `Unsure: ${Math.round(word.confidence * 100)} %`;
      span.word = word;
      if (index) line.body.append(" ");
      line.body.append(span);
      return span;
    });
    if (line.recognised !== null) {
      line.body.append(" ", h("span", { class: "badge", title: `Recognised: ${line.recognised}` }, "corrected"));
    }
  }

  #lineOf(target) { return target.closest?.(".segment")?.line; }

  #over(event) {
    const line = this.#lineOf(event.target);
    if (line) this.#choose(line);
  }

  // One set of buttons is moved from line to line, so that three hours of lines stay light.
  #choose(line) {
    if (this.#at === line || line.partial) return;
    // Whoever goes through the buttons with the keyboard keeps them, wherever the pointer rests.
    if (this.#toolbar.querySelector(":focus-visible")) return;
    if (this.#at) {
      this.#at.timeButton.tabIndex = -1;
      this.#at.element.parentElement?.classList.remove("chosen");
    }
    this.#at = line;
    line.timeButton.tabIndex = 0;
    line.element.parentElement.classList.add("chosen");
    this.#buttons.restore.hidden = line.recognised === null;
    line.element.append(this.#toolbar);
  }

  #clicked(event) {
    const line = this.#lineOf(event.target);
    if (!line) return;
    this.#choose(line);
    if (event.target === line.timeButton) this.#does.onPlay(line.start);
    const { word } = event.target;
    // The end of a selection is no click.
    if (word && getSelection().isCollapsed) this.#does.onPlay(word.start);
  }

  #doubleClicked(event) {
    const line = this.#lineOf(event.target);
    if (!line || line.partial || !line.body.contains(event.target)) return;
    getSelection().removeAllRanges();
    const index = line.spans?.indexOf(event.target) ?? -1;
    const caret = index < 0 ? undefined : line.words.slice(0, index).reduce((sum, { text }) => sum + text.length + 1, 0);
    this.edit(line, caret);
  }

  #pressed(event) {
    const line = this.#lineOf(event.target);
    if (!line || event.isComposing) return;
    if (this.#editing && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const next = this.#next(line, 1);
      if (next) this.edit(next);
      else {
        this.leave();
        line.timeButton.focus();
      }
    } else if (this.#editing && event.key === "Enter" && !event.shiftKey && !event.altKey) {
      this.leave();
      line.timeButton.focus();
    } else return;
    event.preventDefault();
  }

  #next(line, step) {
    let index = this.#lines.indexOf(line);
    do index += step; while (this.#lines[index]?.partial);
    return this.#lines[index];
  }

  // --- Moving

  /** The line with the focus, or the one that plays, or the first in view. */
  get current() {
    const focused = this.#lineOf(document.activeElement ?? document.body);
    if (focused) return focused;
    if (this.#playing) return this.#playing.line;
    return this.#lines.find((line) => line.element.getBoundingClientRect().bottom > 80);
  }

  /** Move the focus by whole lines. */
  move(step) {
    const now = this.#lineOf(document.activeElement ?? document.body);
    const to = now ? this.#next(now, step) : this.current;
    if (!to) return;
    this.#choose(to);
    to.timeButton.focus({ preventScroll: true });
    this.reveal(to, "nearest");
  }

  /** The start of the word before or after a time. */
  word(time, step) {
    const index = lastBefore(this.#lines, time);
    const near = this.#lines.slice(Math.max(0, index - 2), index + 3).flatMap(({ words }) => words);
    const starts = near.map(({ start }) => start).sort((a, b) => a - b);
    return step > 0 ? starts.find((start) => start > time + 0.01) : starts.findLast((start) => start < time - 0.15);
  }

  /** The line that is said at a time. */
  at(time) {
    return this.#lines[Math.max(0, lastBefore(this.#lines, time))];
  }

  /** Bring a line into view. Lines that were never shown have estimated heights, hence the second look. */
  reveal(line, block = "center") {
    line.element.scrollIntoView({ block });
    requestAnimationFrame(() => line.element.scrollIntoView({ block }));
  }

  /** Mark the word that is played. Returns its line if that is another one than before. */
  mark(time) {
    const before = this.#playing;
    const line = this.#lines[lastBefore(this.#lines, time)];
    const within = line && time <= line.end + PAUSE ? line : null;
    const index = within ? lastBefore(within.words, time) : -1;
    const word = index >= 0 && time <= within.words[index].end + PAUSE ? within.spans?.[index] : null;
    if (before?.word !== word) {
      before?.word?.classList.remove("playing");
      word?.classList.add("playing");
    }
    if (before?.line !== within) {
      before?.line?.element.classList.remove("playing");
      within?.element.classList.add("playing");
    }
    this.#playing = { line: within, word };
    return within && before?.line !== within ? within : null;
  }

  // --- Corrections

  /** Correct a line in place. */
  edit(line = this.current, caret = undefined) {
    if (!line || line.partial || this.#editing?.line === line) return;
    this.leave();
    const field = h("textarea", {
      class: "input segment-field", rows: 1, value: line.draft ?? line.text, spellcheck: true, maxLength: 20000,
      "aria-label": `Correct the segment at ${spokenClock(line.start)}`,
    });
    this.#choose(line);
    this.#editing = { line, field };
    line.spans = null;
    line.body.replaceChildren(field);
    line.element.classList.add("editing");
    grow(field);
    field.focus({ preventScroll: true });
    field.setSelectionRange(caret ?? 0, caret ?? 0);
    line.element.scrollIntoView({ block: "nearest" });
    this.#does.onEdit(line);
  }

  /** End the correction in place, and save it. */
  leave() {
    if (!this.#editing) return;
    const { line, field } = this.#editing;
    this.#editing = null;
    line.element.classList.remove("editing");
    const text = field.value.replace(/\s+/gu, " ").trim();
    if (text === line.text && line.draft === null) this.#show(line);
    else this.#save(line, text === line.recognised ? null : text);
  }

  async #save(line, text) {
    const shown = (line.draft = text ?? line.recognised ?? line.text);
    line.failed = false;
    unsaved.set(line.id, shown);
    this.#show(line);
    this.#saving++;
    this.#does.onSaved("saving");
    try {
      // One after the other, so that the last one counts.
      line.saving = (line.saving ?? Promise.resolve()).catch(() => {}).then(() => this.#does.save(line, text));
      const result = await line.saving;
      if (line.draft === shown) {
        line.draft = null;
        unsaved.delete(line.id);
        this.put(result);
      }
    } catch (error) {
      line.failed = true;
      this.#show(line);
      // What is not in the store, such as a transcript that was deleted, is no reason to stay.
      if (error.status === 404) unsaved.delete(line.id);
      this.#does.onMessage(`The correction at ${clock(line.start)} is not saved: ${error.message}`);
    }
    this.#saving--;
    if (!this.#saving) this.#does.onSaved(this.#lines.some((one) => one.draft !== null) ? "unsaved" : "saved");
  }

  /** Save again what could not be saved. */
  retry() {
    for (const line of this.#lines) {
      if (line.draft !== null && this.#editing?.line !== line) this.#save(line, line.draft === line.recognised ? null : line.draft);
    }
  }
}

function grow(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}
