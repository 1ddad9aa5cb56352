/** One transcript, or one recording and what is heard of it: text over a waveform, to hear, correct and take along. */
import { getJson, part, readableUrl, request } from "./api.js";
import { deleteLater } from "./deletion.js";
import { clock, copy, h, icon } from "./dom.js";
import { closeMenus, downloadItems, menu, renameDialog, stem } from "./items.js";
import { Player } from "./player.js";
import { forget, recognise, recognitionOf } from "./recognition.js";
import { Segments } from "./segments.js";
import { installShortcuts, showHelp } from "./shortcuts.js";
import { toast } from "./toast.js";
import { Waveform } from "./waveform.js";

const POLL_SECONDS = 3;
const POLLS_WITHOUT_NEWS = 40; // after which they are rarer
const RARE_POLL_SECONDS = 60;
const LATE_STORE = 5; // tries to correct a segment that is not in the store yet

/** Show the transcript `id`, or the recording `name`; `query` may have the time `t` and the `owner`. */
export function mount(root, { id = null, name = null, query }) {
  const view = new TranscriptView(root, query);
  // Whoever goes elsewhere before all is there does not wait for it.
  view.open(id, name).catch((error) => error.name === "AbortError" || toast(error.message, { kind: "error" }));
  return () => view.close();
}

class TranscriptView {
  #root; #owner; #start; #id = null; #name = null; #info = null; #parts = {}; #segments; #waveform = null;
  #player = null; #recognition = null; #aborter = new AbortController(); #follow = true; #hasAudio = false; #ends = []; #closeProblem = () => {};

  constructor(root, query) {
    this.#root = root;
    this.#owner = query.get("owner") ?? undefined;
    const start = Number.parseFloat(query.get("t"));
    this.#start = Number.isFinite(start) && start >= 0 ? start : null;
  }

  get #query() { return { owner: this.#owner }; }

  async open(id, name) {
    this.#build();
    this.#ends.push(installShortcuts(this.#actions));
    this.#id = id;
    this.#name = name;
    if (id) await this.#openTranscript();
    else await this.#openRecording();
  }

  close() {
    this.#aborter.abort();
    this.#segments.destroy();
    for (const end of this.#ends) end();
    this.#player?.destroy();
    this.#waveform?.destroy();
  }

  // --- What is shown

  #build() {
    const listen = (target, name, does, options = {}) =>
      target.addEventListener(name, does, { signal: this.#aborter.signal, ...options });
    const list = h("div", { class: "segments", role: "list", "aria-label": "Transcript" });
    const p = (this.#parts = {
      title: h("h1", {}, "…"),
      meta: h("p", { class: "note transcript-meta" }),
      saved: h("span", { class: "note", role: "status" }),
      actions: h("div", { class: "toolbar" }),
      notice: h("div", { class: "transcript-notice", hidden: true }),
      list,
      blank: h("div", { class: "empty", hidden: true }),
      follow: h("button", { class: "button small transcript-follow", type: "button", hidden: true, onclick: () => this.#followAgain() },
        icon("down"), "Back to what plays"),
      dock: h("section", { class: "player", "aria-label": "Player", hidden: true }),
    });
    this.#segments = new Segments(list, {
      onPlay: (time) => this.#playFrom(time),
      onLoop: (line) => this.#toggleLoop([line.start, line.end]),
      onLink: (time) => this.#copyLink(time),
      onEdit: (line) => this.#edited(line),
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
    this.#root.append(
      h("article", { class: "page transcript" },
        h("header", {},
          h("div", { class: "page-head" }, p.title, p.saved, p.actions),
          p.meta),
        p.notice, p.list, p.blank),
      h("div", { class: "player-holder" }, p.follow, p.dock),
    );
    // What the reader does to scroll ends the following of what plays.
    listen(document, "wheel", (event) => !event.ctrlKey && !p.dock.contains(event.target) && this.#unfollow(), { passive: true });
    listen(document, "touchmove", (event) => !p.dock.contains(event.target) && this.#unfollow(), { passive: true });
    listen(document, "keydown", ({ key, target }) =>
      ["PageUp", "PageDown", "Home", "End"].includes(key) && !target.closest("textarea, input, [role=slider]") && this.#unfollow());
    // A correction that is being typed is saved when the page is left.
    listen(window, "pagehide", () => this.#segments.leave());
  }

  #showHead() {
    const { title, meta, actions } = this.#parts;
    const info = this.#info;
    const started = info?.Started && new Date(info.Started);
    title.textContent = this.#name ?? (started ? `Live, ${started.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}` : "Transcript");
    document.title = `${title.textContent} – transcribed`;
    const length = this.#waveform?.duration || info?.AudioSeconds;
    const facts = [
      started && this.#name && started.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
      length ? clock(length) : null,
      info?.LanguageCode,
      info?.Engine,
      this.#owner && `of ${this.#owner}`,
    ];
    meta.textContent = facts.filter(Boolean).join(" · ");
    closeMenus(actions);
    actions.replaceChildren(
      ...(this.#id
        ? [
          h("button", { class: "button small", type: "button", onclick: () => this.#copyText() }, icon("copy"), "Copy"),
          menu({ label: "Download", glyph: "download", items: () => downloadItems(this.#id, stem(title.textContent), this.#query) }),
        ]
        : []),
      menu({ label: "More", glyph: "more", items: () => this.#more() }),
    );
  }

  #more() {
    const name = this.#name;
    const item = (label, run, danger = false) => ({ label, run, danger });
    return [
      item("Copy a link to this place", () => this.#copyLink(this.#player?.time ?? this.#segments.current?.start ?? 0)),
      ...(name && this.#hasAudio
        ? [
          item("Download the recording", async () => {
            const link = h("a", { href: await readableUrl(`audio/${part(name)}`, this.#query), download: name });
            link.click();
          }),
          item(this.#id ? "Transcribe again" : "Transcribe", () => this.#transcribe()),
          ...(this.#recognition?.ended === false ? [] : [item("Rename the recording…", async () => {
            const renamed = await renameDialog(name, this.#query);
            if (!renamed) return;
            this.#name = renamed;
            this.#showHead();
            if (!this.#id) history.replaceState(null, "", `#/recording/${part(renamed)}${this.#owner === undefined ? "" : `?${new URLSearchParams(this.#query)}`}`);
          })]),
        ]
        : []),
      ...(this.#id ? [item("Delete the transcript", () => this.#delete(`transcripts/${this.#id}`, "Transcript deleted."), true)] : []),
      ...(name && this.#hasAudio
        ? [item("Delete the recording", () => this.#delete(`audio/${part(name)}`, `“${name}” deleted; its transcripts remain.`), true)]
        : []),
    ];
  }

  #delete(path, message) {
    deleteLater(path, this.#query, message);
    location.hash = "#/library";
  }

  #say(text, ...buttons) {
    this.#parts.notice.replaceChildren(h("p", {}, text), ...buttons);
    this.#parts.notice.hidden = !text;
  }

  #sayBlank(title, text, ...buttons) {
    this.#parts.blank.replaceChildren(h("h2", {}, title), h("p", {}, text), ...buttons);
    this.#parts.blank.hidden = !title;
  }

  // --- What there is

  async #openTranscript() {
    try {
      this.#info = await getJson(`transcripts/${part(this.#id)}.json`, { query: this.#query, signal: this.#aborter.signal });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#parts.title.textContent = "No such transcript";
      const gone = error.status === 404 || error.status === 400;
      this.#sayBlank(gone ? "It is not there" : "It cannot be shown", gone
        ? "The transcript was deleted, nothing was said in it, or the link is not whole."
        : error.message, h("a", { class: "button", href: "#/library" }, "To the library"));
      return;
    }
    this.#name = this.#info.Recording;
    this.#showHead();
    const audio = this.#name && !this.#hasAudio ? this.#openAudio() : null;
    await this.#segments.fill(this.#info.Transcript.Results);
    await audio;
    this.#showKnown();
    this.#goToStart();
    if (!this.#info.Ended) this.#poll();
  }

  async #openRecording() {
    this.#showHead();
    const running = recognitionOf(this.#name);
    if (running && this.#owner === undefined && running.state !== "failed") this.#watch(running);
    const [audio, found] = await Promise.all([
      this.#openAudio(),
      running && !running.ended ? null
        : getJson("transcripts", { query: { recording: this.#name, limit: 1, ...this.#query }, signal: this.#aborter.signal }).catch(() => null),
    ]);
    this.#goToStart();
    if (this.#aborter.signal.aborted || this.#recognition) return;
    if (found?.Transcripts.length) {
      this.#id = found.Transcripts[0].SessionId;
      await this.#openTranscript();
    } else if (audio === "missing") {
      this.#sayBlank("There is no such recording", "It was deleted or renamed, or the link is not whole.",
        h("a", { class: "button", href: "#/library" }, "To the library"));
    } else {
      this.#sayBlank("Not transcribed yet", "The words appear here as they are recognised.",
        h("button", { class: "button primary", type: "button", onclick: () => this.#transcribe() }, "Transcribe"));
    }
  }

  /** Whoever looks on while a live session is written sees it grow. A killed server never ends a transcript. */
  async #poll() {
    const { signal } = this.#aborter;
    for (let quiet = 0; !this.#info.Ended; ) {
      const wait = quiet < POLLS_WITHOUT_NEWS ? POLL_SECONDS : RARE_POLL_SECONDS;
      await new Promise((done) => setTimeout(done, wait * 1000));
      if (signal.aborted || this.#recognition) return;
      if (document.hidden) continue;
      quiet++;
      try {
        const now = await getJson(`transcripts/${part(this.#id)}.json`, { query: this.#query, signal });
        const news = now.Transcript.Results.slice(this.#segments.count);
        for (const result of news) this.#segments.put(result);
        if (news.length) quiet = 0;
        this.#info = now;
        if (news.length || now.Ended) this.#showHead();
      } catch (error) {
        if (error.name === "AbortError" || error.status === 404 || error.status === 401) return;
      }
    }
    this.#showKnown();
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

  async #transcribe() {
    try {
      if (!(await this.#isOwn())) throw new Error("A key transcribes its own owner's recordings only. Sign in with a key of this one's owner.");
    } catch (error) {
      toast(error.message, { kind: "error" });
      return;
    }
    if (this.#aborter.signal.aborted) return;
    this.#say("");
    this.#sayBlank("");
    forget(this.#name);
    const begun = recognise(this.#name);
    if (!this.#id && this.#owner === undefined) {
      this.#watch(begun);
      return;
    }
    // Another transcript of the same recording: the page begins anew with it.
    const there = `#/recording/${part(this.#name)}`;
    if (location.hash === there) dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = there;
  }

  /** Whether the key's own owner has this recording, and not another one of the same name. */
  async #isOwn() {
    if (this.#owner === undefined) return true;
    const etag = async (query) => {
      try {
        return (await request(`audio/${part(this.#name)}`, { method: "HEAD", query })).headers.get("ETag");
      } catch (error) {
        if (error.status === 404) return null;
        throw error;
      }
    };
    const [own, shown] = await Promise.all([etag({}), etag(this.#query)]);
    return own !== null && own === shown;
  }

  #watch(recognition) {
    this.#recognition = recognition;
    const { signal } = this.#aborter;
    this.#sayBlank("");
    for (const result of recognition.results) this.#segments.put(result);
    recognition.addEventListener("result", ({ detail }) => {
      this.#segments.put(detail);
      this.#showKnown();
    }, { signal });
    recognition.addEventListener("state", () => this.#showRecognition(), { signal });
    this.#showRecognition();
  }

  async #showRecognition() {
    const { state, message, transcript } = this.#recognition;
    this.#showKnown();
    if (state === "running" || state === "waiting") {
      const progress = (this.#parts.progress ??= h("progress", { max: 1, value: 0, "aria-label": "Transcribed" }));
      this.#say(state === "waiting" ? message || "Waiting for the server…" : message || "Transcribing…", progress,
        h("button", { class: "button quiet small", type: "button", onclick: () => this.#recognition.stop() }, "Stop"));
      this.#showKnown();
      return;
    }
    if (transcript) {
      this.#id = transcript;
      history.replaceState(null, "", `#/transcript/${part(transcript)}`);
    }
    if (state === "failed") {
      this.#say(`Not all is transcribed. ${message}`,
        h("button", { class: "button small", type: "button", onclick: () => this.#again() }, "Try again"));
    } else {
      this.#segments.keepOnly(this.#recognition.results);
      if (message) this.#say(message);
      else this.#say("");
      if (!this.#segments.count) this.#sayBlank("Nothing was said", "The recording was read to its end, and no words were heard in it.");
    }
    forget(this.#name);
    if (transcript) {
      try {
        const { Transcript: _, ...info } = await getJson(`transcripts/${part(transcript)}.json`, { signal: this.#aborter.signal });
        this.#info = info;
      } catch {
        // This server keeps no transcripts, or is away: what is shown stays.
      }
    }
    this.#showHead();
    if (state === "done") this.#parts.saved.textContent = "Transcript complete";
  }

  #again() {
    this.#say("");
    this.#watch(recognise(this.#name));
  }

  #showKnown() {
    const growing = this.#recognition && !this.#recognition.ended;
    const end = growing ? this.#recognition.reached : Infinity;
    this.#waveform?.setKnown(end);
    if (this.#parts.progress && this.#waveform?.duration) this.#parts.progress.value = Math.min(1, end / this.#waveform.duration);
    const length = this.#waveform?.duration ?? 0;
    const heard = this.#info?.AudioSeconds ?? length;
    if (!this.#recognition && this.#hasAudio && this.#info?.Ended && length > heard + 2) {
      this.#say(`This transcript ends at ${clock(heard)} of ${clock(length)}: it was interrupted.`,
        h("button", { class: "button small", type: "button", onclick: () => this.#transcribe() }, "Transcribe again"));
    }
  }

  // --- Corrections

  async #correct(line, text) {
    const path = `transcripts/${part(line.transcript)}/segments/${line.number}`;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await request(path, { method: "PATCH", json: { text }, query: this.#query, keepalive: true });
        return await answer.json();
      } catch (error) {
        // A final is shown as soon as it is said, a little before it is in the store.
        if (error.status !== 404 || !this.#recognition || attempt === LATE_STORE) throw error;
        await new Promise((done) => setTimeout(done, 1000));
      }
    }
  }

  #edited(line) {
    const player = this.#player;
    if (player && !player.playing && (player.time < line.start || player.time >= line.end)) player.seek(line.start);
  }

  async #copyText() {
    const worked = await copy(this.#segments.text);
    toast(worked ? "Copied." : "The browser does not let this page copy. Download the text instead.", { kind: worked ? "info" : "error", seconds: 3 });
  }

  async #copyLink(time) {
    const link = new URL(location.href);
    const where = this.#id ? `transcript/${part(this.#id)}` : `recording/${part(this.#name)}`;
    const query = new URLSearchParams({ t: time.toFixed(1), ...(this.#owner === undefined ? {} : { owner: this.#owner }) });
    link.hash = `#/${where}?${query}`;
    const worked = await copy(link.href);
    toast(worked ? `Link to ${clock(time)} copied.` : link.href, { seconds: worked ? 3 : 0 });
  }

  // --- Sound

  async #openAudio() {
    let peaks = null;
    try {
      peaks = await getJson(`audio/${part(this.#name)}/peaks`, { query: this.#query, signal: this.#aborter.signal });
    } catch (error) {
      if (error.name === "AbortError") return "aborted";
      if (error.status === 404) {
        if (this.#id) this.#say("The recording is not stored any more. Its text remains.");
        return "missing";
      }
      toast(`The waveform cannot be shown: ${error.message}`, { kind: "error" });
    }
    if (this.#aborter.signal.aborted) return "aborted";
    this.#hasAudio = true;
    this.#parts.list.classList.add("has-audio");
    // Its name may change meanwhile.
    this.#buildDock(() => readableUrl(`audio/${part(this.#name)}`, this.#query));
    if (peaks) this.#waveform.setPeaks(peaks);
    this.#showKnown();
    this.#showHead();
    this.#player.load();
    return "there";
  }

  #buildDock(url) {
    const { dock } = this.#parts;
    const button = (glyph, label, run, extra = {}) =>
      h("button", { class: "button quiet icon", type: "button", "aria-label": label, title: label, onclick: run, ...extra }, icon(glyph));
    const toggle = button("play", "Play (Esc)", () => this.#player.toggle(), { class: "button primary icon player-play" });
    const time = h("span", { class: "numbers player-time" });
    const length = h("span", { class: "numbers note" });
    const loop = button("loop", "Loop a segment (L)", () => this.#actions.loop(), { "aria-pressed": "false" });
    const speed = h("select", { class: "select player-speed", "aria-label": "Speed (F3 slower, F4 faster)", onchange: ({ target }) => { this.#player.speed = Number(target.value); } },
      [0.5, 0.6, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2].map((value) => h("option", { value: String(value) }, `${value}×`)));
    const problem = h("p", { class: "problem", role: "alert" });
    const wave = h("div", { class: "player-wave" });
    dock.replaceChildren(wave, problem, h("div", { class: "toolbar player-controls" },
      button("rewind", "Back 5 seconds (F1)", () => this.#player.skip(-5)),
      toggle,
      button("forward", "Forward 5 seconds (F2)", () => this.#player.skip(5)),
      h("span", { class: "player-times" }, time, " ", length),
      h("span", { class: "spread toolbar" },
        loop, speed,
        button("minus", "Show more time (−)", () => this.#actions.zoomOut(), { class: "button quiet icon wide" }),
        button("plus", "Show less time (+)", () => this.#actions.zoomIn(), { class: "button quiet icon wide" }),
        button("help", "Keys (?)", showHelp, { class: "button quiet icon wide" }))));
    dock.hidden = false;
    this.#waveform = new Waveform(wave, {
      onSeek: (seconds) => {
        this.#player.seek(seconds);
        this.#followAgain();
      },
      onRegion: (span) => { this.#player.loop = span; },
    });
    this.#player = new Player(url, {
      onTime: (seconds) => {
        const text = clock(seconds);
        if (time.textContent !== text) time.textContent = text;
        const { playing } = this.#player;
        this.#waveform.setTime(seconds, playing);
        const line = this.#segments.mark(seconds);
        if (line && playing && this.#follow) this.#keepInView(line);
      },
      onState: () => {
        const { playing, loop: span, speed: now, duration } = this.#player;
        toggle.replaceChildren(icon(playing ? "pause" : "play"));
        toggle.setAttribute("aria-label", playing ? "Pause (Esc)" : "Play (Esc)");
        toggle.title = toggle.getAttribute("aria-label");
        loop.setAttribute("aria-pressed", String(Boolean(span)));
        this.#waveform.setRegion(span);
        speed.value = String(now);
        if (duration && !this.#waveform.duration) this.#waveform.setDuration(duration);
        length.textContent = `/ ${clock(this.#waveform.duration)}`;
        if (playing) problem.textContent = "";
        else this.#parts.follow.hidden = true;
      },
      onProblem: (text) => { problem.textContent = text; },
    });
    dock.append(this.#player.audio);
    time.textContent = "0:00";
    speed.value = String(this.#player.speed);
    this.#ends.push(keepBodyClear(this.#parts.dock));
  }

  #playFrom(time) {
    if (!this.#hasAudio) return;
    this.#follow = true;
    this.#parts.follow.hidden = true;
    this.#player.seek(time);
    this.#player.play();
  }

  #toggleLoop(span) {
    const now = this.#player.loop;
    if (now && now[0] === span[0] && now[1] === span[1]) this.#player.loop = null;
    else {
      this.#player.loop = span;
      if (!this.#player.playing) this.#player.play();
    }
  }

  #keepInView(line) {
    const box = line.element.getBoundingClientRect();
    const bottom = this.#parts.dock.getBoundingClientRect().top;
    if (box.top < 90 || box.bottom > bottom - 24) this.#segments.reveal(line);
  }

  #unfollow() {
    if (!this.#player?.playing) return;
    this.#follow = false;
    this.#parts.follow.hidden = false;
  }

  #followAgain() {
    this.#follow = true;
    this.#parts.follow.hidden = true;
    const line = this.#segments.at(this.#player?.time ?? 0);
    if (line) this.#keepInView(line);
  }

  // --- Keys

  #withSound(does) {
    return (...values) => (this.#player ? does(...values) : false);
  }

  #actions = {
    toggle: this.#withSound(() => this.#player.toggle()),
    back: this.#withSound((seconds) => this.#player.skip(-seconds)),
    forward: this.#withSound((seconds) => this.#player.skip(seconds)),
    slower: this.#withSound(() => this.#player.step(-1)),
    faster: this.#withSound(() => this.#player.step(1)),
    previousWord: this.#withSound(() => this.#toWord(-1)),
    nextWord: this.#withSound(() => this.#toWord(1)),
    previousSegment: () => this.#segments.move(-1),
    nextSegment: () => this.#segments.move(1),
    edit: () => this.#segments.edit(),
    loop: this.#withSound(() => {
      const line = this.#segments.current ?? this.#segments.at(this.#player.time);
      if (this.#player.loop) this.#player.loop = null;
      else if (line) this.#toggleLoop([line.start, line.end]);
    }),
    zoomIn: this.#withSound(() => this.#waveform.setZoom(this.#waveform.zoom * 1.5)),
    zoomOut: this.#withSound(() => this.#waveform.setZoom(this.#waveform.zoom / 1.5)),
    search: () => { location.hash = "#/library?find"; },
  };

  #toWord(step) {
    const start = this.#segments.word(this.#player.time, step);
    if (start === undefined) return false;
    this.#player.seek(start);
    const line = this.#segments.at(start);
    if (line) this.#keepInView(line);
    return undefined;
  }
}

/** Keep messages above the player while there is one. */
function keepBodyClear(dock) {
  const style = document.documentElement.style;
  const observer = new ResizeObserver(() => style.setProperty("--player", `${dock.offsetHeight}px`));
  observer.observe(dock);
  return () => {
    observer.disconnect();
    style.removeProperty("--player");
  };
}
