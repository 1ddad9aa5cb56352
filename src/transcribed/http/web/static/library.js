/** The library: uploads, recordings and transcripts, with search, renaming and deletion. */
import { getJson, ownOwner, part, url } from "./api.js";
import { deleteLater, deletions, isDeleted } from "./deletion.js";
import { clock, h, icon } from "./dom.js";
import { download, downloadItems, menu, renameDialog, stem, unnamed, when } from "./items.js";
import { changes as signed } from "./keys.js";
import { cancelUpload, changes, recognise, recognitionOf, recordingHash, retryUpload, uploadAll, uploads } from "./recognition.js";
import { toast } from "./toast.js";

const SAMPLE = "sample.mp3";
const PAGE = 30;
const SEARCH_PAUSE = 200; // ms after the last key
const RUNNING_SECONDS = 12 * 3600; // a transcript without an end that began earlier belongs to a server that was killed

const bytes = (size) => (size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`);
const isRunning = (name) => recognitionOf(name)?.ended === false;
const pieces = ({ Pieces }) => Pieces.map(({ Text, Hit }) => (Hit ? h("mark", {}, Text) : Text));
const pathOf = (item) => (item.SessionId ? `transcripts/${part(item.SessionId)}` : `audio/${part(item.name)}`);
/** Whether an item is what a deletion is of. */
const isOf = ({ path, owner }) => (item) => pathOf(item) === path && item.owner === owner;
const isHidden = (item) => isDeleted(pathOf(item), item.owner);
const hashQuery = (values) => {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined));
  return query.size ? `?${query}` : "";
};

/** Show the library; `query` may have the search text `q` and the `tab`. */
export function mount(root, { query }) {
  const library = new Library(root, query);
  library.load();
  return () => library.close();
}

class Library {
  #tab; #text; #parts; #aborter = new AbortController(); #search = null; #timer = 0;
  #transcripts = []; #next = null; #recordings = []; #shown = PAGE; #me; #loaded = false; #listed = ""; #states = "";

  constructor(root, query) {
    this.#tab = query.get("tab") === "recordings" ? "recordings" : "transcripts";
    this.#text = query.get("q") ?? "";
    const chooser = h("input", {
      type: "file", multiple: true, accept: "audio/*,video/*", hidden: true,
      onchange() {
        uploadAll(chooser.files);
        chooser.value = "";
      },
    });
    const tab = (name, label) => h("label", {},
      h("input", { type: "radio", name: "tab", checked: name === this.#tab, onchange: () => this.#choose(name) }), label);
    const p = (this.#parts = {
      sample: h("button", { class: "button quiet", onclick: () => this.#addSample() }, icon("play"), "Try a sample"),
      uploads: h("ul", { class: "list uploads", "aria-label": "Uploads", "aria-live": "polite", hidden: true }),
      search: h("input", {
        class: "input", type: "search", value: this.#text, "aria-label": "Search transcripts and recordings",
        autocomplete: "off", spellcheck: false, maxLength: 1000, oninput: () => this.#typed(),
      }),
      status: h("p", { class: "visually-hidden", role: "status" }),
      problem: h("p", { class: "problem", role: "alert" }),
      list: h("ul", { class: "list library-list" }),
      blank: h("div", { class: "empty", hidden: true }),
      more: h("button", { class: "button", hidden: true, onclick: () => this.#showMore() }, "Show more"),
    });
    root.append(h("div", { class: "page library" },
      h("h1", { class: "visually-hidden" }, "Library"),
      h("section", { class: "drop", "aria-label": "Add recordings" },
        icon("upload"),
        h("p", {}, h("strong", {}, "Drop recordings here"), h("span", { class: "note" }, "Audio or video, in any common format")),
        h("div", { class: "toolbar" },
          h("button", { class: "button primary", onclick: () => chooser.click() }, "Choose files"), p.sample, chooser)),
      p.uploads,
      h("div", { class: "library-head" },
        h("div", { class: "library-search" }, icon("search"), p.search),
        h("div", { class: "segmented", role: "radiogroup", "aria-label": "What to list" },
          tab("transcripts", "Transcripts"), tab("recordings", "Recordings"))),
      p.status, p.problem, p.list, p.blank, p.more));
    const on = (target, name, does) => target.addEventListener(name, does, { signal: this.#aborter.signal });
    on(changes, "change", () => {
      this.#showUploads();
      this.#show();
    });
    on(signed, "change", () => this.load());
    on(document, "visibilitychange", () => document.hidden || this.load());
    on(deletions, "hidden", () => this.#show());
    on(deletions, "restored", ({ detail }) => {
      this.#show();
      this.#focus(this.#rowOf(detail));
    });
    on(deletions, "deleted", ({ detail }) => {
      const others = (item) => !isOf(detail)(item);
      this.#recordings = this.#recordings.filter(others);
      this.#transcripts = this.#transcripts.filter(others);
    });
    this.#showUploads();
    this.#show();
  }

  close() {
    this.#aborter.abort();
    this.#search?.abort();
    clearTimeout(this.#timer);
  }

  // --- What is listed

  #choose(tab) {
    this.#tab = tab;
    this.#shown = PAGE;
    this.#remember();
    this.#show();
  }

  #remember() {
    const query = hashQuery({ q: this.#text || undefined, tab: this.#tab === "recordings" ? this.#tab : undefined });
    history.replaceState(null, "", `#/library${query}`);
  }

  #typed() {
    this.#text = this.#parts.search.value.trim();
    this.#remember();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(), SEARCH_PAUSE);
  }

  get #matching() {
    const wanted = this.#text.toLowerCase();
    return this.#recordings.filter((item) => !isHidden(item) && item.name.toLowerCase().includes(wanted));
  }

  /** A page of transcripts. The server can only search for what has a letter or a digit. */
  #page(parameters, signal) {
    const q = /[\p{L}\p{N}]/u.test(this.#text) ? this.#text : undefined;
    return getJson("transcripts", { query: { q, limit: PAGE, ...parameters }, signal });
  }

  async load() {
    this.#search?.abort();
    const { signal } = (this.#search = new AbortController());
    const answers = await Promise.allSettled([this.#page({}, signal), getJson("audio", { signal }), ownOwner()]);
    if (signal.aborted) return;
    const [transcripts, recordings, me] = answers.map(({ value }) => value);
    this.#me = me;
    if (transcripts) [this.#transcripts, this.#next] = [this.#owned(transcripts.Transcripts), transcripts.Next];
    if (recordings) this.#recordings = this.#owned(recordings);
    this.#loaded = true;
    this.#parts.problem.textContent = answers.find(({ reason }) => reason)?.reason.message ?? "";
    this.#show();
  }

  /** Items with the `owner` if that is somebody else, which only admins see. */
  #owned(items) {
    return items.map(({ owner, Owner = owner, ...item }) => ({ ...item, owner: (Owner ?? "") === this.#me ? undefined : Owner }));
  }

  async #showMore() {
    const before = this.#parts.list.children.length;
    if (this.#tab === "recordings") this.#shown += 10 * PAGE;
    else {
      try {
        const page = await this.#page({ before: this.#next }, this.#search.signal);
        this.#transcripts.push(...this.#owned(page.Transcripts));
        this.#next = page.Next;
      } catch (error) {
        if (error.name !== "AbortError") this.#parts.problem.textContent = error.message;
      }
    }
    this.#show();
    this.#parts.list.children[before]?.querySelector("a").focus();
  }

  #show() {
    const { list, blank, more, status, search } = this.#parts;
    if (list.querySelector(":popover-open")) return; // It is not taken away while somebody reads it.
    const recordings = this.#tab === "recordings";
    const items = recordings ? this.#matching.slice(0, this.#shown) : this.#transcripts.filter((item) => !isHidden(item));
    const listed = JSON.stringify([this.#text, items, items.map(({ name }) => isRunning(name))]);
    if (listed !== this.#listed) this.#list(items.map((item) => (recordings ? this.#recordingRow(item) : this.#transcriptRow(item))));
    this.#listed = listed;
    search.placeholder = recordings ? "Search names" : "Search what was said";
    list.hidden = !items.length;
    more.hidden = recordings ? this.#matching.length <= this.#shown : !this.#next;
    blank.hidden = !this.#loaded || items.length > 0;
    blank.textContent = this.#text
      ? `Nothing found. ${recordings ? "What was said in recordings is found under Transcripts." : "All words must be in one segment; those in quotes must follow one another."}`
      : `No ${this.#tab} yet. Drop a recording above, or try the sample.`;
    const found = this.#text && this.#loaded ? `${items.length}${more.hidden ? "" : " or more"} ${this.#tab} found` : "";
    if (status.textContent !== found) status.textContent = found;
  }

  #list(rows) {
    const { list } = this.#parts;
    const before = [...list.children];
    const focused = before.findIndex((row) => row.contains(document.activeElement));
    list.replaceChildren(...rows);
    if (focused < 0) return;
    const { item } = before[focused];
    this.#focus(this.#rowOf({ path: pathOf(item), owner: item.owner }) ?? rows[Math.min(focused, rows.length - 1)]);
  }

  #rowOf(what) { return [...this.#parts.list.children].find(({ item }) => isOf(what)(item)); }

  /** Whoever was at a row that is gone goes on at another one, or at the tabs if there is none. */
  #focus(row) { (row?.querySelector("a") ?? document.querySelector(".library-head :checked")).focus(); }

  #row(item, { title, href, facts, badge, hits = [], items }) {
    const row = h("li", {},
      h("div", { class: "grow" },
        h("a", { class: "title", href }, title),
        h("p", { class: "meta numbers" }, [...facts, item.owner].filter(Boolean).join(" · "), badge && h("span", { class: "badge live" }, badge)),
        hits),
      menu({ label: "More", glyph: "more", about: title, items }));
    row.item = item;
    return row;
  }

  #transcriptRow(item) {
    const { SessionId: id, Recording: name, Source: source, Started, Ended, AudioSeconds, Engine, Excerpts, owner } = item;
    const query = { owner };
    const title = name ?? unnamed(source);
    const link = (time) => `#/transcript/${part(id)}${hashQuery({ t: time, owner })}`;
    const found = this.#text && Excerpts.some(({ Pieces }) => Pieces.some(({ Hit }) => Hit));
    return this.#row(item, {
      title, href: link(), facts: [when(Started), clock(AudioSeconds), Engine],
      badge: !Ended && Date.now() - new Date(Started) < RUNNING_SECONDS * 1000 && "running",
      hits: found
        ? h("ul", { class: "hits" }, Excerpts.map((excerpt) => h("li", {},
          h("a", { href: link(excerpt.StartTime.toFixed(1)) }, h("span", { class: "numbers" }, clock(excerpt.StartTime)), h("span", {}, pieces(excerpt))))))
        : Excerpts.slice(0, 1).map((excerpt) => h("p", { class: "excerpt" }, pieces(excerpt))),
      items: () => [
        ...downloadItems(id, stem(title), query).map(({ label, run }) => ({ label: `Download: ${label}`, run })),
        { label: "Delete the transcript", danger: true, run: () => deleteLater(pathOf(item), query, `Transcript of “${title}” deleted.`) },
      ],
    });
  }

  #recordingRow(item) {
    const { name, size, duration, format, owner } = item;
    const query = { owner };
    return this.#row(item, {
      title: name, href: recordingHash(name) + hashQuery(query), badge: !owner && isRunning(name) && "being transcribed",
      facts: [duration === null ? "not audio" : clock(duration), bytes(size), format?.split("/")[0].toUpperCase()],
      items: () => [
        owner === undefined && { label: "Transcribe", run: () => { recognise(name); location.hash = recordingHash(name); } },
        { label: "Download", run: () => download(pathOf(item), query, name) },
        { label: "Rename…", run: () => this.#rename(name, query) },
        { label: "Delete", danger: true, run: () => deleteLater(pathOf(item), query, `“${name}” deleted. Its transcripts remain.`) },
      ],
    });
  }

  async #rename(name, query) {
    const renamed = await renameDialog(name, query);
    if (!renamed) return;
    toast(`Renamed to “${renamed}”.`, { seconds: 3 });
    await this.load();
  }

  // --- Uploads

  async #addSample() {
    try {
      if (this.#recordings.some(({ name, owner }) => name === SAMPLE && owner === undefined)) {
        location.hash = recordingHash(SAMPLE);
      } else {
        const answer = await fetch(url(`web/${SAMPLE}`));
        if (!answer.ok) throw new Error("This server has no sample.");
        uploadAll([new File([await answer.blob()], SAMPLE, { type: "audio/mpeg" })]);
      }
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
  }

  #showUploads() {
    const { uploads: list } = this.#parts;
    const states = JSON.stringify(uploads.map(({ name, state, message }) => [name, state, message]));
    if (states !== this.#states) {
      list.replaceChildren(...uploads.map(uploadRow));
      list.hidden = !uploads.length;
      if (this.#states) this.load();
      this.#states = states;
    }
    const uploading = uploads.find(({ state }) => state === "uploading");
    if (uploading) list.querySelector("[max]").value = uploading.fraction;
  }
}

function uploadRow(entry) {
  const { name, file, state, message } = entry;
  const failed = state === "failed";
  return h("li", {},
    h("div", { class: "grow" },
      h("a", { class: "title", href: state === "transcribing" ? recordingHash(name) : null }, name),
      h("p", { class: failed ? "problem" : "meta numbers" }, failed ? message : `${bytes(file.size)} · ${state}…`),
      state === "uploading" && h("progress", { max: 1, "aria-label": `Upload of ${name}` })),
    failed && h("button", { class: "button small", onclick: () => retryUpload(entry) }, "Try again"),
    h("button", {
      class: "button quiet icon small", "aria-label": failed ? "Close" : `Cancel ${name}`, onclick: () => cancelUpload(entry),
    }, icon("close")));
}
