/** The library: uploads, recordings and transcripts, with search, renaming and deletion. */
import { getJson, part, readableUrl, url } from "./api.js";
import { deleteLater, deletions, isDeleted } from "./deletion.js";
import { clock, h, icon } from "./dom.js";
import { closeMenus, downloadItems, menu, renameDialog, stem } from "./items.js";
import { changes as signed } from "./keys.js";
import {
  cancelUpload, changes, recognise, recognitionOf, recordingHash, retryUpload, uploadAll, uploads,
} from "./recognition.js";
import { installShortcuts } from "./shortcuts.js";
import { toast } from "./toast.js";

const SAMPLE = "sample.mp3";
const PAGE = 30;
const SEARCH_PAUSE = 200; // ms after the last key
const RUNNING_SECONDS = 12 * 3600; // a transcript without an end that began earlier belongs to a server that was killed

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function bytes(size) {
  const power = Math.min(3, Math.floor(Math.log10(Math.max(1, size)) / 3));
  const digits = power && size / 1000 ** power < 10 ? 1 : 0;
  return `${(size / 1000 ** power).toFixed(digits)} ${["bytes", "kB", "MB", "GB"][power]}`;
}

/** Show the library; `query` may have the search text `q`, the tab, or `find`, which puts the focus into the search. */
export function mount(root, { query }) {
  const library = new Library(root, query);
  library.open();
  return () => library.close();
}

class Library {
  #root; #tab; #text; #parts = {}; #aborter = new AbortController(); #search = null; #timer = 0; #transcripts = [];
  #next = null; #recordings = []; #shown = PAGE; #find; #ends = []; #loaded = false; #listed = new Map();

  constructor(root, query) {
    this.#root = root;
    this.#tab = query.get("tab") === "recordings" ? "recordings" : "transcripts";
    this.#text = query.get("q") ?? "";
    this.#find = query.has("find");
  }

  async open() {
    this.#build();
    const on = (target, name, does) => target.addEventListener(name, does, { signal: this.#aborter.signal });
    on(changes, "change", () => {
      this.#showUploads();
      this.#show();
    });
    on(signed, "change", () => this.#load());
    on(deletions, "change", () => {
      this.#showTabs();
      this.#show();
    });
    on(deletions, "deleted", ({ detail: { path, owner } }) => {
      this.#recordings = this.#recordings.filter((item) => pathOf("audio", item.name) !== path || ownerOf(item) !== owner);
      this.#transcripts = this.#transcripts.filter((item) => pathOf("transcripts", item.SessionId) !== path || ownerOf(item) !== owner);
    });
    on(document, "visibilitychange", () => document.hidden || this.#load());
    this.#ends.push(installShortcuts({ search: () => this.#parts.search.focus() }));
    this.#showUploads();
    if (this.#find) this.#parts.search.focus();
    await this.#load();
  }

  close() {
    this.#aborter.abort();
    this.#search?.abort();
    clearTimeout(this.#timer);
    for (const end of this.#ends) end();
  }

  #build() {
    const chooser = h("input", {
      type: "file", multiple: true, accept: "audio/*,video/*", class: "visually-hidden", tabIndex: -1, "aria-label": "Choose recordings",
      onchange: ({ target }) => {
        uploadAll(target.files);
        target.value = "";
      },
    });
    const tab = (name, label) => h("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "library-list", onclick: () => this.#choose(name),
      onkeydown: (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        this.#choose(name === "recordings" ? "transcripts" : "recordings");
        this.#parts.tabs[this.#tab].focus();
      },
    }, label);
    const p = (this.#parts = {
      uploads: h("ul", { class: "list uploads", "aria-label": "Uploads", hidden: true }),
      search: h("input", {
        class: "input", type: "search", placeholder: "Search what was said", value: this.#text, "aria-label": "Search transcripts and recordings",
        autocomplete: "off", spellcheck: false, maxLength: 1000, oninput: () => this.#typed(),
      }),
      tabs: { transcripts: tab("transcripts", "Transcripts"), recordings: tab("recordings", "Recordings") },
      status: h("p", { class: "visually-hidden", role: "status" }),
      problem: h("p", { class: "problem", role: "alert" }),
      list: h("ul", { class: "list library-list" }),
      blank: h("div", { class: "empty", hidden: true }),
      more: h("button", { class: "button", type: "button", hidden: true, onclick: () => this.#showMore() }, "Show more"),
      sample: h("button", { class: "button quiet", type: "button", onclick: () => this.#addSample() }, icon("play"), "Try a sample"),
    });
    this.#root.append(h("div", { class: "page library" },
      h("h1", { class: "visually-hidden" }, "Library"),
      h("section", { class: "drop", "aria-label": "Add recordings" },
        icon("upload"),
        h("p", {}, h("strong", {}, "Drop recordings here"), h("span", { class: "note" }, "Audio or video, in any common format")),
        h("div", { class: "toolbar" },
          h("button", { class: "button primary", type: "button", onclick: () => chooser.click() }, "Choose files"),
          p.sample, chooser)),
      p.uploads,
      h("div", { class: "library-head" },
        h("div", { class: "library-search" }, icon("search"), p.search),
        h("div", { class: "segmented", role: "tablist", "aria-label": "What to list" }, ...Object.values(p.tabs))),
      p.status, p.problem,
      h("div", { id: "library-list", role: "tabpanel", "aria-labelledby": `tab-${this.#tab}`, class: "library-panel" }, p.list, p.blank, p.more)));
    this.#showTabs();
  }

  // --- What is listed

  #choose(tab) {
    this.#tab = tab;
    this.#shown = PAGE;
    this.#remember();
    this.#showTabs();
    this.#show();
  }

  #showTabs() {
    const { tabs } = this.#parts;
    for (const [name, button] of Object.entries(tabs)) {
      const here = name === this.#tab;
      button.setAttribute("aria-selected", String(here));
      button.tabIndex = here ? 0 : -1;
    }
    const count = this.#matching.length;
    tabs.recordings.textContent = this.#loaded ? `Recordings (${count})` : "Recordings";
    document.getElementById("library-list")?.setAttribute("aria-labelledby", `tab-${this.#tab}`);
    this.#parts.search.placeholder = this.#tab === "recordings" ? "Search names" : "Search what was said";
  }

  #remember() {
    const query = new URLSearchParams();
    if (this.#text) query.set("q", this.#text);
    if (this.#tab === "recordings") query.set("tab", this.#tab);
    history.replaceState(null, "", `#/library${query.size ? `?${query}` : ""}`);
  }

  #typed() {
    this.#text = this.#parts.search.value.trim();
    this.#remember();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), SEARCH_PAUSE);
  }

  get #matching() {
    const wanted = this.#text.toLowerCase();
    return this.#recordings.filter((item) => !isDeleted(pathOf("audio", item.name), ownerOf(item)) && (!wanted || item.name.toLowerCase().includes(wanted)));
  }

  /** What the server can search for: it wants a letter or a digit. */
  get #words() { return /[\p{L}\p{N}]/u.test(this.#text) ? this.#text : undefined; }

  async #load() {
    this.#search?.abort();
    const { signal } = (this.#search = new AbortController());
    const answers = await Promise.allSettled([
      getJson("transcripts", { query: { q: this.#words, limit: PAGE }, signal }),
      getJson("audio", { signal }),
    ]);
    if (signal.aborted || this.#aborter.signal.aborted) return;
    const [transcripts, recordings] = answers;
    if (transcripts.status === "fulfilled") {
      this.#transcripts = transcripts.value.Transcripts;
      this.#next = transcripts.value.Next;
    }
    if (recordings.status === "fulfilled") this.#recordings = recordings.value;
    this.#loaded = true;
    const failed = answers.find(({ status }) => status === "rejected");
    this.#parts.problem.textContent = failed ? failed.reason.message : "";
    this.#showTabs();
    this.#show();
  }

  async #showMore() {
    if (this.#tab === "recordings") this.#shown += 10 * PAGE;
    else {
      try {
        const page = await getJson("transcripts", { query: { q: this.#words, limit: PAGE, before: this.#next }, signal: this.#search.signal });
        this.#transcripts.push(...page.Transcripts);
        this.#next = page.Next;
      } catch (error) {
        if (error.name !== "AbortError") this.#parts.problem.textContent = error.message;
        return;
      }
    }
    const before = this.#parts.list.children.length;
    this.#show();
    this.#parts.list.children[before]?.querySelector("a")?.focus();
  }

  #show() {
    const { list, blank, more, status } = this.#parts;
    if (list.querySelector(".menu")) return; // It is not taken away while somebody reads it.
    const owners = new Set([...this.#recordings, ...this.#transcripts].map(ownerOf));
    const several = owners.size > 1;
    const items = this.#tab === "recordings"
      ? this.#matching.slice(0, this.#shown)
      : this.#transcripts.filter((item) => !isDeleted(pathOf("transcripts", item.SessionId), ownerOf(item)));
    const listed = new Map();
    for (const item of items) {
      const what = JSON.stringify([this.#tab, this.#text, several, item, isRunning(item.name)]);
      const make = () => (this.#tab === "recordings" ? this.#recordingRow(item, several) : this.#transcriptRow(item, several));
      listed.set(what, this.#listed.get(what) ?? make());
    }
    this.#listed = listed;
    const rows = [...listed.values()];
    this.#place(rows);
    list.hidden = !rows.length;
    more.hidden = this.#tab === "recordings" ? this.#matching.length <= this.#shown : !this.#next;
    blank.hidden = !this.#loaded || rows.length > 0;
    if (!blank.hidden) blank.replaceChildren(...this.#nothing());
    const found = this.#text && this.#loaded ? `${rows.length}${more.hidden ? "" : " or more"} ${this.#tab} found` : "";
    if (status.textContent !== found) status.textContent = found;
  }

  /** List rows in this order. Those that stay are not touched: they keep the focus and an open menu. */
  #place(rows) {
    const { list, tabs } = this.#parts;
    const kept = new Set(rows);
    const before = [...list.children];
    const focused = before.findIndex((row) => row.contains(document.activeElement));
    for (const row of before) {
      if (kept.has(row)) continue;
      closeMenus(row);
      row.remove();
    }
    rows.forEach((row, index) => row !== list.children[index] && list.insertBefore(row, list.children[index] ?? null));
    if (focused < 0 || list.contains(document.activeElement)) return;
    (rows[Math.min(focused, rows.length - 1)]?.querySelector("a") ?? tabs[this.#tab]).focus();
  }

  #nothing() {
    if (this.#text) {
      return [h("h2", {}, "Nothing found"), h("p", {}, this.#tab === "recordings"
        ? "No recording has this name. What was said in recordings is found under Transcripts."
        : "No segment has all of these words. Words in quotes must follow one another.")];
    }
    return this.#tab === "recordings"
      ? [h("h2", {}, "No recordings yet"), h("p", {}, "Drop one above, or try the sample.")]
      : [h("h2", {}, "No transcripts yet"), h("p", {}, "Drop a recording above, try the sample, or ", h("a", { href: "#/listen" }, "listen to the microphone"), ".")];
  }

  #transcriptRow(item, several) {
    const { SessionId: id, Recording: name, Started, Ended, AudioSeconds, Engine } = item;
    const started = new Date(Started);
    const title = name ?? "Live";
    const running = !Ended && Date.now() - started < RUNNING_SECONDS * 1000;
    const owner = ownerOf(item);
    const query = { owner };
    const link = (time) => `#/transcript/${part(id)}${hashQuery({ t: time, owner })}`;
    const path = pathOf("transcripts", id);
    const more = menu({
      label: "More", glyph: "more", quiet: true, about: title,
      items: () => [
        ...downloadItems(id, stem(title), query).map(({ label, run }) => ({ label: `Download: ${label}`, run })),
        ...(name && this.#recordings.some((one) => one.name === name && ownerOf(one) === owner) ? [{ label: "Rename the recording…", run: () => this.#rename(name, query) }] : []),
        { label: "Delete the transcript", danger: true, run: () => deleteLater(path, query, `Transcript of “${title}” deleted.`) },
      ],
    });
    const found = this.#text && item.Excerpts.some(({ Pieces }) => Pieces.some(({ Hit }) => Hit));
    return h("li", {},
      h("div", { class: "grow" },
        h("a", { class: "title", href: link() }, title),
        h("p", { class: "meta numbers" }, [day.format(started), clock(AudioSeconds), Engine, several && owner].filter(Boolean).join(" · "),
          running && h("span", { class: "badge live" }, "running")),
        found
          ? h("ul", { class: "hits" }, item.Excerpts.map((excerpt) => h("li", {},
            h("a", { href: link(excerpt.StartTime.toFixed(1)) }, h("span", { class: "numbers" }, clock(excerpt.StartTime)), pieces(excerpt)))))
          : item.Excerpts.slice(0, 1).map((excerpt) => h("p", { class: "excerpt" }, pieces(excerpt)))),
      more);
  }

  #recordingRow(item, several) {
    const { name, size, duration, format } = item;
    const owner = ownerOf(item);
    const query = { owner };
    // What is being recognised is the key's own.
    const href = `${recordingHash(name)}${isRunning(name) ? "" : hashQuery({ owner })}`;
    const path = pathOf("audio", name);
    return h("li", {},
      h("div", { class: "grow" },
        h("a", { class: "title", href }, name),
        h("p", { class: "meta numbers" },
          [duration === null ? "not audio" : clock(duration), bytes(size), format?.split("/")[0].toUpperCase(), several && owner].filter(Boolean).join(" · "),
          isRunning(name) && h("span", { class: "badge live" }, "being transcribed"))),
      menu({
        label: "More", glyph: "more", quiet: true, about: name,
        items: () => [
          ...(several ? [] : [{ label: "Transcribe", run: () => { recognise(name); location.hash = recordingHash(name); } }]),
          { label: "Download", run: async () => h("a", { href: await readableUrl(path, query), download: name }).click() },
          { label: "Rename…", run: () => this.#rename(name, query) },
          { label: "Delete", danger: true, run: () => deleteLater(path, query, `“${name}” deleted. Its transcripts remain.`) },
        ],
      }));
  }

  async #rename(name, query) {
    const renamed = await renameDialog(name, query);
    if (!renamed) return;
    toast(`Renamed to “${renamed}”.`, { seconds: 3 });
    await this.#load();
  }

  // --- Uploads

  async #addSample() {
    this.#parts.sample.disabled = true;
    try {
      if (!this.#recordings.some(({ name }) => name === SAMPLE)) {
        const answer = await fetch(url(`web/${SAMPLE}`));
        if (!answer.ok) throw new Error("This server has no sample.");
        uploadAll([new File([await answer.blob()], SAMPLE, { type: "audio/mpeg" })]);
      } else {
        const known = await getJson("transcripts", { query: { recording: SAMPLE, limit: 1 } }).catch(() => null);
        if (!known?.Transcripts.length) recognise(SAMPLE);
        location.hash = recordingHash(SAMPLE);
      }
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
    this.#parts.sample.disabled = false;
  }

  #rows = new Map();
  #count = 0;

  #showUploads() {
    const { uploads: list } = this.#parts;
    for (const [entry, row] of this.#rows) {
      if (!uploads.includes(entry)) {
        row.element.remove();
        this.#rows.delete(entry);
      }
    }
    for (const entry of uploads) {
      if (!this.#rows.has(entry)) {
        const row = uploadRow(entry);
        this.#rows.set(entry, row);
        list.append(row.element);
      }
      this.#rows.get(entry).show();
    }
    list.hidden = !uploads.length;
    if (uploads.length < this.#count) this.#load();
    this.#count = uploads.length;
  }
}

function uploadRow(entry) {
  const name = h("span", { class: "title" });
  const meta = h("p", { class: "meta numbers", role: "status" });
  const bar = h("progress", { max: 1, "aria-label": `Upload of ${entry.file.name}` });
  const again = h("button", { class: "button small", type: "button", onclick: () => retryUpload(entry) }, "Try again");
  const cancel = h("button", { class: "button quiet icon small", type: "button", onclick: () => cancelUpload(entry) }, icon("close"));
  const element = h("li", {}, h("div", { class: "grow" }, name, meta, bar), again, cancel);
  let state = null;
  const show = () => {
    bar.value = entry.fraction;
    if (state === entry.state) return;
    state = entry.state;
    name.replaceChildren(state === "transcribing" ? h("a", { href: recordingHash(entry.name) }, entry.name) : entry.name);
    const size = bytes(entry.file.size);
    meta.textContent = {
      waiting: `${size} · waiting`, uploading: `${size} · uploading`, transcribing: "transcribing…", failed: entry.message,
    }[state];
    meta.classList.toggle("problem", state === "failed");
    bar.hidden = state === "failed" || state === "waiting";
    if (state === "transcribing") bar.removeAttribute("value");
    again.hidden = state !== "failed";
    cancel.setAttribute("aria-label", state === "failed" ? "Close" : `Cancel ${entry.file.name}`);
  };
  return { element, show };
}

const isRunning = (name) => recognitionOf(name)?.ended === false;
const pieces = ({ Pieces }) => Pieces.map(({ Text, Hit }) => (Hit ? h("mark", {}, Text) : Text));
const ownerOf = (item) => item.owner ?? item.Owner ?? undefined;
const pathOf = (kind, name) => `${kind}/${part(name)}`;

function hashQuery(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
