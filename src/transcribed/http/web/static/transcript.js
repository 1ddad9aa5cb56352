/** One transcript, or one recording and what is heard of it: text over a waveform, to hear, correct and take along. */
import { getJson, part, readableUrl, request } from "./api.js";
import { deleteLater } from "./deletion.js";
import { clock, copy, h, icon, tool } from "./dom.js";
import { download, downloadItems, menu, stem, unnamed, when } from "./items.js";
import { Player, SPEEDS } from "./player.js";
import { forget, recognise, recognitionOf } from "./recognition.js";
import { Segments } from "./segments.js";
import { installShortcuts, showHelp } from "./shortcuts.js";
import { toast } from "./toast.js";
import { Waveform } from "./waveform.js";

const POLL_SECONDS = 3;
const RARELY = 60; // seconds between polls when nothing has changed for long

const button = (text, onclick, look = "small") => h("button", { class: `button ${look}`, onclick }, text);
const toLibrary = () => h("a", { class: "button", href: "#/library" }, "To the library");

/** Show the transcript `id`, or the recording `name`; `query` may have the time `t` and the `owner`. */
export function mount(root, { id = null, name = null, query }) {
  const view = new TranscriptView(root, id, name, query);
  // Whoever goes elsewhere before all is there does not wait for it.
  view.open().catch((error) => error.name === "AbortError" || toast(error.message, { kind: "error" }));
  return () => view.close();
}

class TranscriptView {
  #id; #name; #owner; #start; #parts; #info = null; #etag = null; #recognition = null;
  #segments; #player = null; #waveform = null; #followed = null; #closeProblem = () => {};
  #aborter = new AbortController(); #ends = [];

  constructor(root, id, name, query) {
    this.#id = id;
    this.#name = name;
    this.#owner = query.get("owner") ?? undefined;
    this.#start = query.has("t") ? Math.max(0, Number(query.get("t")) || 0) : null;
    const p = (this.#parts = {
      title: h("h1", {}, "…"),
      meta: h("p", { class: "note transcript-meta" }),
      saved: h("span", { class: "note", role: "status" }),
      actions: h("div", { class: "toolbar" }),
      notice: h("div", { class: "transcript-notice", hidden: true }),
      progress: h("progress", { max: 1, value: 0, "aria-label": "Transcribed" }),
      list: h("div", { class: "segments", role: "list", "aria-label": "Transcript" }),
      dock: h("section", { class: "player", "aria-label": "Player", hidden: true }),
    });
    root.append(
      h("article", { class: "page transcript" },
        h("header", {}, h("div", { class: "page-head" }, p.title, p.saved, p.actions), p.meta),
        p.notice, p.list),
      p.dock);
    this.#segments = new Segments(p.list, {
      onPlay: (time) => this.#playFrom(time),
      onLoop: (line) => this.#loop(line),
      onLink: (time) => this.#copy(new URL(this.#address({ t: time.toFixed(1) }), location.href).href, `Link to ${clock(time)} copied.`),
      onEdit: (line) => {
        const player = this.#player;
        if (player && !player.playing && (player.time < line.start || player.time >= line.end)) player.seek(line.start);
      },
      onMessage: (text) => {
        this.#closeProblem(); // "Try again" saves all that is not saved.
        this.#closeProblem = toast(text, { kind: "error", seconds: 0, action: { label: "Try again", run: () => this.#segments.retry() } });
      },
      onSaved: (state) => {
        if (state === "saved") this.#closeProblem();
        p.saved.textContent = { saving: "Saving…", saved: "Saved", unsaved: "Not saved" }[state];
        p.saved.classList.toggle("problem", state === "unsaved");
      },
      save: (line, text) => this.#correct(line, text),
    });
    // A correction that is being typed is saved when the page is left.
    addEventListener("pagehide", () => this.#segments.leave(), { signal: this.#aborter.signal });
    this.#ends.push(installShortcuts({
      previousSegment: () => this.#segments.move(-1),
      nextSegment: () => this.#segments.move(1),
      edit: () => this.#segments.edit(),
    }));
  }

  async open() {
    if (this.#id) await this.#openTranscript();
    else await this.#openRecording();
  }

  close() {
    this.#aborter.abort();
    this.#segments.destroy();
    for (const end of this.#ends) end();
    this.#player?.destroy();
    this.#waveform?.destroy();
  }

  /** A key lists what its owner has without a name, and reads what others have with theirs. */
  get #isOwn() { return this.#owner === undefined; }
  get #query() { return { owner: this.#owner }; }

  /** The address of what is shown, with other parameters if given. */
  #address(parameters = {}) {
    const query = new URLSearchParams({ ...parameters, ...(this.#isOwn ? {} : this.#query) });
    return `#/${this.#id ? `transcript/${part(this.#id)}` : `recording/${part(this.#name)}`}${query.size ? `?${query}` : ""}`;
  }

  // --- What is shown

  #showHead() {
    const { title, meta, actions } = this.#parts;
    const { Source: source, Started: started, AudioSeconds: heard, LanguageCode: language, Engine: engine } = this.#info ?? {};
    const name = this.#name;
    title.textContent = name ?? `${unnamed(source)}, ${when(started)}`;
    document.title = `${title.textContent} – transcribed`;
    const length = this.#waveform?.duration || heard;
    meta.textContent = [
      name && started && when(started), length && clock(length), language, engine, this.#owner && `of ${this.#owner}`,
    ].filter(Boolean).join(" · ");
    const ofTranscript = this.#id ? [
      h("button", { class: "button small", onclick: () => this.#copy(this.#segments.text, "Copied.") }, icon("copy"), "Copy"),
      menu({ label: "Download", glyph: "download", items: () => downloadItems(this.#id, stem(title.textContent), this.#query) }),
    ] : [];
    actions.replaceChildren(...ofTranscript, menu({ label: "More", glyph: "more", items: () => this.#more() }));
  }

  #more() {
    const [id, name] = [this.#id, this.#name];
    return [
      this.#player && { label: "Download the recording", run: () => download(`audio/${part(name)}`, this.#query, name) },
      this.#player && this.#isOwn && { label: id ? "Transcribe again" : "Transcribe", run: () => this.#transcribe() },
      id && { label: "Delete the transcript", danger: true, run: () => this.#delete() },
    ];
  }

  #delete() {
    deleteLater(`transcripts/${this.#id}`, this.#query, `Transcript of “${this.#parts.title.textContent}” deleted.`);
    location.hash = "#/library";
  }

  #say(text, ...more) {
    this.#parts.notice.replaceChildren(h("p", {}, text), ...more);
    this.#parts.notice.hidden = !text;
  }

  // --- What there is

  /** The transcript as the server has it, or null if it is as it was. */
  async #load() {
    const path = `transcripts/${part(this.#id)}.json`;
    const answer = await request(path, { query: this.#query, signal: this.#aborter.signal, cache: "no-cache" });
    const etag = answer.headers.get("ETag");
    if (etag && etag === this.#etag) return null;
    this.#etag = etag;
    return answer.json();
  }

  async #openTranscript() {
    try {
      this.#info = await this.#load();
    } catch (error) {
      if (error.name === "AbortError") return;
      const gone = error.status === 404 || error.status === 400;
      this.#parts.title.textContent = gone ? "No such transcript" : "Transcript";
      this.#say(gone ? "It was deleted, nothing was said in it, or the link is not whole." : error.message, toLibrary());
      return;
    }
    this.#name = this.#info.Recording;
    this.#showHead();
    await Promise.all([this.#segments.fill(this.#info.Transcript.Results), this.#name && !this.#player && this.#openAudio()]);
    this.#showReached();
    this.#goToStart();
    if (!this.#info.Ended) await this.#poll();
  }

  async #openRecording() {
    this.#showHead();
    const begun = this.#isOwn ? recognitionOf(this.#name) : undefined;
    const known = begun ? null : getJson("transcripts", { query: { recording: this.#name, limit: 1, ...this.#query }, signal: this.#aborter.signal });
    if (begun) this.#watch(begun);
    const [found] = await Promise.all([known?.catch(() => null), this.#openAudio()]);
    if (this.#aborter.signal.aborted) return;
    if (found?.Transcripts.length) {
      this.#id = found.Transcripts[0].SessionId;
      history.replaceState(null, "", this.#address());
      await this.#openTranscript();
    } else if (!begun && !this.#player) {
      this.#say("There is no such recording. It was deleted or renamed, or the link is not whole.", toLibrary());
    } else if (!begun) {
      this.#say("This recording is not transcribed yet.", this.#isOwn ? button("Transcribe", () => this.#transcribe(), "primary") : "");
    }
    this.#goToStart();
  }

  /** Whoever looks on while a live session is written sees it grow. A killed server never ends a transcript. */
  async #poll() {
    for (let wait = POLL_SECONDS; !this.#info.Ended; wait = Math.min(RARELY, wait * 1.3)) {
      await new Promise((done) => setTimeout(done, wait * 1000));
      if (this.#aborter.signal.aborted || this.#recognition) return;
      if (document.hidden) continue;
      try {
        const now = await this.#load();
        if (!now) continue;
        for (const result of now.Transcript.Results.slice(this.#segments.count)) this.#segments.put(result);
        wait = POLL_SECONDS;
        this.#info = now;
        this.#showHead();
      } catch (error) {
        if ([401, 404].includes(error.status)) return;
      }
    }
    this.#showReached();
  }

  #goToStart() {
    const time = this.#start;
    if (time === null || !this.#segments.count) return;
    this.#start = null;
    this.#player?.seek(time);
    this.#segments.mark(time);
    const line = this.#segments.at(time);
    this.#segments.reveal(line);
    line.element.classList.add("target");
    setTimeout(() => line.element.classList.remove("target"), 2500);
  }

  // --- Recognition

  #transcribe() {
    forget(this.#name);
    if (this.#id) {
      // The page begins anew with another transcript of the same recording.
      this.#id = null;
      history.replaceState(null, "", this.#address());
      recognise(this.#name);
      dispatchEvent(new HashChangeEvent("hashchange"));
    } else this.#watch(recognise(this.#name));
  }

  #watch(recognition) {
    this.#recognition = recognition;
    const { signal } = this.#aborter;
    for (const result of recognition.results) this.#segments.put(result);
    recognition.addEventListener("result", ({ detail }) => {
      this.#segments.put(detail);
      this.#showReached();
    }, { signal });
    recognition.addEventListener("state", () => this.#showRecognition(), { signal });
    this.#showRecognition();
  }

  async #showRecognition() {
    const { state, message, ended, results, transcript } = this.#recognition;
    this.#showReached();
    if (!ended) {
      this.#say(message || (state === "waiting" ? "Waiting for the server…" : "Transcribing…"), this.#parts.progress,
        button("Stop", () => this.#recognition.stop(), "quiet small"));
      return;
    }
    if (state === "failed") this.#say(`Not all is transcribed. ${message}`, button("Try again", () => this.#watch(recognise(this.#name))));
    else {
      this.#segments.keepOnly(results);
      this.#say(message || (results.length ? "" : "The recording was read to its end, and no words were heard in it."));
      this.#parts.saved.textContent = "Transcript complete";
    }
    if (transcript) {
      this.#id = transcript;
      try {
        this.#info = await this.#load();
        history.replaceState(null, "", this.#address());
        forget(this.#name);
      } catch {
        this.#id = null; // The store does not have it: what is shown stays.
      }
    }
    this.#showHead();
  }

  /** Show how far the transcript reaches. */
  #showReached() {
    const length = this.#waveform?.duration ?? 0;
    if (this.#recognition && length) this.#parts.progress.value = this.#recognition.reached / length;
    const { AudioSeconds: heard, Ended: ended } = this.#info ?? {};
    if (!this.#recognition && ended && length > heard + 2) {
      this.#say(`This transcript ends at ${clock(heard)} of ${clock(length)}: it was interrupted.`,
        this.#isOwn ? button("Transcribe again", () => this.#transcribe()) : "");
    }
  }

  // --- Corrections

  async #correct(line, text) {
    const path = `transcripts/${part(line.transcript)}/segments/${line.number}`;
    return (await request(path, { method: "PATCH", json: { text }, query: this.#query, keepalive: true })).json();
  }

  async #copy(text, done) {
    const worked = await copy(text);
    toast(worked ? done : "The browser does not let this page copy.", { kind: worked ? "info" : "error", seconds: 3 });
  }

  // --- Sound

  async #openAudio() {
    const path = `audio/${part(this.#name)}`;
    let peaks = null;
    try {
      peaks = await getJson(`${path}/peaks`, { query: this.#query, signal: this.#aborter.signal });
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 404) {
        if (this.#id) this.#say("The recording is not stored any more. Its text remains.");
        return;
      }
      toast(`The waveform cannot be shown: ${error.message}`, { kind: "error" });
    }
    if (this.#aborter.signal.aborted) return;
    this.#parts.list.classList.add("has-audio");
    this.#buildDock();
    if (peaks) this.#waveform.setPeaks(peaks);
    this.#showReached();
    this.#showHead();
    this.#player.load();
  }

  #buildDock() {
    const { dock } = this.#parts;
    const actions = {
      toggle: () => this.#player.toggle(),
      back: (count) => this.#player.skip(-count),
      forward: (count) => this.#player.skip(count),
      slower: () => this.#player.step(-1),
      faster: () => this.#player.step(1),
      loop: () => this.#loop(),
      zoomIn: () => this.#waveform.setZoom(this.#waveform.zoom * 1.5),
      zoomOut: () => this.#waveform.setZoom(this.#waveform.zoom / 1.5),
    };
    this.#ends.push(installShortcuts(actions));
    const toggle = tool("play", "Play (Esc)", actions.toggle);
    toggle.className = "button primary icon player-play";
    const time = h("span", { class: "numbers" }, "0:00");
    const length = h("span", { class: "numbers note" });
    const loop = tool("loop", "Loop a segment (L)", actions.loop);
    const speed = h("select", { class: "select player-speed", "aria-label": "Speed (F3 slower, F4 faster)", onchange: () => { this.#player.speed = Number(speed.value); } },
      SPEEDS.map((value) => h("option", { value: String(value) }, `${value}×`)));
    const problem = h("p", { class: "problem", role: "alert" });
    const wave = h("div");
    const onState = () => {
      const { playing, loop: span, duration } = this.#player;
      toggle.replaceChildren(icon(playing ? "pause" : "play"));
      toggle.ariaLabel = toggle.title = playing ? "Pause (Esc)" : "Play (Esc)";
      loop.ariaPressed = String(Boolean(span));
      speed.value = String(this.#player.speed);
      this.#waveform.setRegion(span);
      if (duration && !this.#waveform.duration) this.#waveform.setDuration(duration);
      length.textContent = `/ ${clock(this.#waveform.duration)}`;
      if (playing) problem.textContent = "";
    };
    this.#waveform = new Waveform(wave, {
      onSeek: (to) => {
        this.#followed = null;
        this.#player.seek(to);
      },
      onRegion: (span) => { this.#player.loop = span; },
    });
    this.#player = new Player(() => readableUrl(`audio/${part(this.#name)}`, this.#query), {
      onTime: (now) => {
        time.textContent = clock(now);
        this.#waveform.setTime(now, this.#player.playing);
        const line = this.#segments.mark(now);
        if (line) this.#keepUp(line);
      },
      onState,
      onProblem: (text) => { problem.textContent = text; },
    });
    dock.append(wave, problem, h("div", { class: "toolbar player-controls" },
      tool("rewind", "Back 5 seconds (F1)", () => this.#player.skip(-5)), toggle,
      tool("forward", "Forward 5 seconds (F2)", () => this.#player.skip(5)),
      h("span", { class: "player-times" }, time, " ", length),
      h("span", { class: "spread toolbar" }, loop, speed,
        h("span", { class: "toolbar wide" },
          tool("minus", "Show more time (−)", actions.zoomOut), tool("plus", "Show less time (+)", actions.zoomIn), tool("help", "Keyboard shortcuts (?)", showHelp)))),
      this.#player.audio);
    dock.hidden = false;
    onState();
  }

  #playFrom(time) {
    this.#followed = null;
    this.#player?.seek(time);
    this.#player?.play();
  }

  /** Repeat a line, or end that if it is repeated already; without a line, end any loop, or repeat the current line. */
  #loop(line) {
    const now = this.#player.loop;
    const ends = now && (!line || (now[0] === line.start && now[1] === line.end));
    const { start, end } = line ?? this.#segments.current ?? {};
    this.#player.loop = ends || start === undefined ? null : [start, end];
    if (this.#player.loop && !this.#player.playing) this.#player.play();
  }

  /** What plays is kept in view, unless the reader has scrolled away from it. */
  #keepUp(line) {
    const boxOf = ({ element }) => element.getBoundingClientRect();
    const end = boxOf({ element: this.#parts.dock }).top;
    const before = this.#followed && boxOf(this.#followed);
    const follows = !before || (before.bottom > 60 && before.top < end);
    this.#followed = line;
    const { top, bottom } = boxOf(line);
    if (follows && (top < 90 || bottom > end - 24)) this.#segments.reveal(line);
  }
}
