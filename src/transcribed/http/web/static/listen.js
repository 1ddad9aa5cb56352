/** Listening: a microphone or a tab's sound, its captions, and what belongs to them. */
import { socketUrl, url } from "./api.js";
import { NoSound, canShareSound, capture, microphones, obstacle, openMicrophone, openShared, release } from "./capture.js";
import { tool, typeControls } from "./appearance.js";
import { createCaptions } from "./captions.js";
import { connect } from "./connection.js";
import { clock, copy, h, icon } from "./dom.js";
import { changes, key } from "./keys.js";
import { toast } from "./toast.js";

const SHARED_SOUND = "shared";
const LONGEST_KEPT = 120; // Seconds of sound that are kept while there is no connection.
const SILENCE_SECONDS = 6;
const QUIET = 0.0008;
const REFUSED_AT_ONCE = 5; // Seconds.
const LAST_WORDS_MS = 15_000; // The wait for each message after the end of the sound.
const LAST_TRIES_MS = 60_000; // The wait for a connection after the end of the sound.
const SHORTEST_GAP = 0.5; // Seconds: a shorter one is not worth a remark.

let view = null;

/** Show the part of the page that listens. It goes on listening while other parts are shown. */
export function mount(root) {
  view ??= createView();
  root.append(view.element);
  view.shown();
  return () => view.hidden();
}

/**
 * A session of listening. The sound since the last settled words is kept, and sent again over a new
 * connection: its results continue where those of the lost one ended. `onopened(offset)` tells at which time the
 * sound of a connection begins, and `ongap(seconds, offset)` how much before that was sent over none.
 */
function createSession({ share, onstate, onopened, ongap, onresult, onmessage, onlost, onlevel, onended }) {
  let capturing = null;
  let link = null;
  let chunks = []; // [bytes, begin, end] in seconds since the start, from the last settled words on.
  let heard = 0; // Seconds of sound captured.
  let sent = 0; // Of these, those that were sent.
  let sentBefore = 0; // Those that were sent before the current connection.
  let begun = 0; // Where the container begins, if the chunks are one's.
  let offset = 0; // The time at which the current connection's sound begins.
  let gap = 0; // Seconds before that which were never sent.
  let openedAt = 0; // How much was captured when it was opened.
  let isOpen = false;
  let finishing = 0; // The timer that ends the wait for the last words.
  let tryUntil = 0; // When it ends if there is no connection.
  let ended = false; // Whether no more sound comes.
  let wanted = share;
  let shared = false; // Whether the current connection shares its captions.
  let state = "starting";

  const set = (now, detail = {}) => {
    state = now;
    onstate(now, detail);
  };

  function address() {
    shared = wanted;
    return socketUrl("stream", { format: "json", ...capturing.query, ...(shared ? { share: "true" } : {}) });
  }

  function forget(until) {
    while (chunks.length > 0 && chunks[0][2] <= until) chunks.shift();
  }

  const begins = () => chunks[0]?.[1] ?? heard;

  /** Chunks of a container are of no use without its beginning: then another one begins. */
  function renew() {
    if (!capturing.restarts || begins() === begun) return;
    chunks = [];
    begun = heard;
    if (!finishing) capturing.restart();
  }

  function opened() {
    if (shared !== wanted) return link.restart();
    renew();
    offset = begins();
    gap += Math.max(0, offset - sent);
    onopened(offset);
    isOpen = true;
    for (const [bytes] of chunks) link.send(bytes);
    [sentBefore, sent, openedAt] = [sent, heard, heard];
    if (ended) link.send(new ArrayBuffer(0));
    if (finishing) expectNews();
    return set(finishing ? "finishing" : "listening");
  }

  function lost() {
    if (isOpen) {
      isOpen = false;
      renew();
      if (finishing) expectNews();
    }
    onlost();
  }

  function tellGap() {
    if (gap > SHORTEST_GAP) ongap(gap, offset);
    gap = 0;
  }

  /** End the session unless there is news in time. */
  function expectNews(isNews = false) {
    clearTimeout(finishing);
    if (isNews) tryUntil = performance.now() + LAST_TRIES_MS;
    finishing = setTimeout(() => link.close(), isOpen ? LAST_WORDS_MS : tryUntil - performance.now());
  }

  function received(message, event) {
    if (finishing) expectNews(!message.Error);
    onmessage(message, event, { heard, offset });
    if (message.Transcript) tellGap();
    for (const result of message.Transcript?.Results ?? []) {
      onresult(result, offset);
      if (!result.IsPartial) forget(result.EndTime + offset);
    }
    if (message.Done && ended) link.close();
  }

  function changed(now, detail) {
    if (now === "open") return;
    // A server that is full takes a connection, and refuses its sound at once.
    if (now === "full" && isOpen && heard - openedAt < REFUSED_AT_ONCE) [sent, gap] = [sentBefore, 0];
    lost();
    if (now === "closed" || now === "refused") {
      tellGap();
      ended = true;
      clearTimeout(finishing);
      capturing.stop();
      set(now, { ...detail, unsent: heard - sent });
    } else if (!finishing) {
      set(now !== "connecting" ? now : state === "starting" ? "connecting" : "waiting", detail);
    } else if (now !== "connecting" && ended && chunks.length === 0) link.close();
    else set("finishing", { away: true });
  }

  return {
    async start(stream) {
      capturing = await capture(stream, {
        onchunk(bytes, seconds) {
          if (ended) return;
          chunks.push([bytes, heard, heard + seconds]);
          heard += seconds;
          forget(heard - LONGEST_KEPT);
          if (!isOpen || !link.send(bytes)) return;
          sent = heard;
          if (link.stalled) link.drop();
        },
        onlevel,
        onend: () => onended(),
      });
      link = connect({ address, onopen: opened, onmessage: received, onstate: changed });
    },
    /** Take another source. */
    use: (stream) => capturing.use(stream),
    /** No more sound; the last words are waited for. */
    async stop() {
      if (!link || finishing || ended) return;
      expectNews(true);
      set("finishing", { away: !isOpen });
      await capturing.stop();
      if (ended) return;
      ended = true;
      if (isOpen) link.send(new ArrayBuffer(0));
      else if (chunks.length === 0) link.close();
    },
    /** Share from now on, or no more: another connection begins with what is not settled yet. */
    share(on) {
      wanted = on;
      if (!isOpen || finishing || shared === wanted) return;
      // Viewers would wait for the speaker's return if the sound did not end.
      if (!wanted) link.send(new ArrayBuffer(0));
      link.restart();
    },
    get heard() {
      return heard;
    },
    /** Whether sound that was not sent is kept no more. */
    get hasGap() {
      return begins() > sent;
    },
  };
}

function createView() {
  let session = null;
  let state = "idle";
  let source = ""; // The id of a microphone, "" for the default one, or SHARED_SOUND.
  let lastLoud = 0;
  let ticking = 0;
  let finished = null; // The id of the session that ended last.
  let saidAnything = false;
  let developer = null;
  let viewers = null; // The link for viewers, "" until there is one, null if nothing is shared.
  let wake = null;
  let signedOut = false; // What was said is not kept for who uses this tab next.

  // --- What is seen

  const welcome = h(
    "div",
    { class: "empty welcome" },
    h("h1", {}, "Watch speech become text"),
    h("p", {}, "Press Listen and speak. Words appear as they are heard: ", h("span", { class: "unsettled" }, "paler while they may still change"), ", ", h("span", { class: "settled" }, "in full colour once they are settled"), "."),
    h("p", { class: "note" }, "The sound goes to this server alone. ", h("a", { href: "#/library" }, "Or transcribe a recording"), "."),
  );
  const captions = createCaptions({ placeholder: welcome });
  const element = h("div", { class: "listen" });
  const type = typeControls(element, captions);
  const problem = h("div", { class: "problem-card", role: "alert", hidden: true });
  const listenLabel = h("span", {}, "Listen");
  const listenIcon = h("span", { class: "listen-icon" }, icon("microphone"));
  const listen = h("button", { class: "listen-button", type: "button", onclick: toggle }, listenIcon, listenLabel);
  const status = h("span", { class: "status-text", role: "status" });
  const timer = h("span", { class: "timer numbers", "aria-hidden": "true" });
  const bar = h("span", { class: "level-bar" });
  const level = h("span", { class: "level", "aria-hidden": "true", hidden: true }, bar);
  const choice = h("select", { class: "select", id: "source", onchange: choose });
  const sharing = tool("share", "Share these captions", openShare);
  const developing = tool("code", "For developers", develop);
  const copying = tool("copy", "Copy the text", copyText);
  const clearing = tool("trash", "Clear the captions", clear);
  const panel = h("div", { class: "side", hidden: true });
  const dock = h(
    "div",
    { class: "dock" },
    h("div", { class: "dock-source" }, h("label", { for: "source", class: "visually-hidden" }, "What to listen to"), choice),
    h("div", { class: "dock-main" }, listen, h("div", { class: "dock-state" }, h("span", { class: "state-line" }, timer, level), status)),
    h("div", { class: "dock-tools", role: "toolbar", "aria-label": "Captions" }, ...type.buttons, copying, clearing, sharing, developing),
  );
  element.append(h("div", { class: "stage" }, h("h1", { class: "visually-hidden" }, "Listen"), problem, captions.element, dock), panel);

  // --- Listening

  async function toggle() {
    if (listen.getAttribute("aria-disabled") === "true") return;
    if (session) return session.stop();
    problem.hidden = true;
    let stream;
    show("asking");
    try {
      stream = await opened(source);
    } catch (error) {
      show("idle");
      if (error instanceof NoSound) explain(error);
      else throw error;
      return;
    }
    if (!stream) return show("idle");
    finished = null;
    saidAnything = false;
    if (!captions.isEmpty) captions.remark(`Listening again at ${new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`);
    const own = (session = createSession({
      share: viewers !== null,
      onstate: (now, detail) => own === session && changed(now, detail),
      onopened: (offset) => captions.resumed(offset),
      ongap: (seconds, offset) => captions.remark(`${Math.round(seconds)} s of sound before ${clock(offset)} are lost: the server was away for too long.`),
      onresult(result, offset) {
        if (result.Alternatives[0].Transcript) saidAnything = true;
        captions.result(result, offset);
        copying.disabled = clearing.disabled = captions.isEmpty;
      },
      onmessage: received,
      onlost: () => captions.interrupted(),
      onlevel: loudness,
      onended() {
        toast(source === SHARED_SOUND ? "The sharing of the sound has ended." : "The microphone was disconnected.");
        own.stop();
      },
    }));
    lastLoud = performance.now();
    try {
      await own.start(stream);
    } catch (error) {
      release(stream.getTracks());
      session = null;
      show("idle");
      explain(new NoSound("failed", "The sound could not be captured", error.message));
      return;
    }
    fillChoice();
    ticking = setInterval(tick, 250);
    keepAwake();
  }

  const opened = (which) => (which === SHARED_SOUND ? openShared() : openMicrophone(which));

  function changed(now, detail) {
    if (now === "closed" || now === "refused") {
      captions.end();
      if (detail.unsent > SHORTEST_GAP) captions.remark(`The last ${Math.round(detail.unsent)} s of sound could not be sent: the server had no time for them.`);
      clearInterval(ticking);
      session = viewers = null;
      showShare();
      wake?.release().catch(() => {});
      wake = null;
      keepLines();
      if (now === "refused") explain(new NoSound("refused", "The server refused to listen", detail.message));
      show("idle");
    } else show(now, detail);
  }

  function received(message, event, times) {
    developer?.message(message, event, times);
    if (message.Started) {
      if (viewers === null) return;
      const link = url(message.Started.Live).href;
      if (viewers && viewers !== link) {
        toast("The viewers need a new link, because this is another session.", { seconds: 20, action: { label: "Show it", run: openShare } });
      }
      viewers = link;
      showShare();
    } else if (message.Warning) captions.remark(message.Warning.Message);
    else if (message.Done) finished = message.Done.SessionId;
  }

  function loudness(value) {
    if (value > QUIET) lastLoud = performance.now();
    // Decibels from −60 to 0.
    const share = Math.max(0, Math.min(1, 1 + Math.log10(Math.max(value, 1e-6)) / 3));
    bar.style.transform = `scaleX(${share.toFixed(3)})`;
  }

  function tick() {
    timer.textContent = clock(session?.heard ?? 0);
    if (state === "listening") {
      const silent = performance.now() - lastLoud > SILENCE_SECONDS * 1000;
      say(silent ? "No sound arrives. Is the microphone muted?" : "Listening");
      level.classList.toggle("silent", silent);
    }
  }

  function show(now, detail = {}) {
    state = now;
    element.dataset.state = now;
    document.getElementById("live-dot").hidden = now === "idle" || now === "asking";
    const active = session !== null && now !== "finishing";
    listen.dataset.active = active;
    listenLabel.textContent = active ? "Stop" : now === "finishing" ? "Finishing" : "Listen";
    listenIcon.replaceChildren(icon(active ? "stop" : "microphone"));
    // A disabled button would lose the focus of who uses the keyboard.
    listen.setAttribute("aria-disabled", now === "asking" || now === "finishing");
    level.hidden = timer.hidden = !session;
    timer.textContent = clock(session?.heard ?? 0);
    copying.disabled = clearing.disabled = captions.isEmpty;
    const seconds = Math.max(1, Math.round(detail.seconds ?? 0));
    switch (now) {
      case "idle":
        status.replaceChildren(...ended());
        break;
      case "asking":
        say(source === SHARED_SOUND ? "Choose what to share in the browser's dialog" : "Allow the microphone in the browser's question");
        break;
      case "connecting":
        say("Connecting…");
        break;
      case "listening":
        say("Listening");
        break;
      case "waiting":
        say(`Reconnecting. ${kept()}`);
        break;
      case "full":
        say(`${(detail.message ?? "The server is full.").replace(/ Try again later\.$/, "")} Trying again in ${seconds} s. ${kept()}`);
        break;
      case "finishing":
        say(detail.away ? "Waiting for the server, to finish the last words…" : "Finishing the last words…");
        break;
    }
  }

  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  const kept = () => (session?.hasGap ? "What was said in the last two minutes is kept." : "What is said meanwhile is kept.");

  function ended() {
    if (!finished || !saidAnything) return [];
    return ["Ended. ", h("a", { href: `#/transcript/${finished}` }, "Open the transcript")];
  }

  function explain(reason) {
    problem.replaceChildren(
      h("div", {}, h("h2", {}, reason.title), h("p", {}, reason.message)),
      h("button", { class: "button quiet icon small", type: "button", "aria-label": "Close the message", onclick: () => (problem.hidden = true) }, icon("close")),
    );
    problem.dataset.kind = reason.kind;
    problem.hidden = false;
  }

  // --- Sources

  async function fillChoice() {
    const found = await microphones();
    const options = [h("option", { value: "" }, "Default microphone")];
    for (const [index, { id, label }] of found.entries()) {
      if (id) options.push(h("option", { value: id }, label || `Microphone ${index + 1}`));
    }
    if (canShareSound()) options.push(h("option", { value: SHARED_SOUND }, "Sound of a tab or the system…"));
    if (![...options].some((option) => option.value === source)) source = "";
    choice.replaceChildren(...options);
    choice.value = source;
  }

  async function choose() {
    const before = source;
    source = choice.value;
    if (!session) return;
    let stream = null;
    try {
      stream = await opened(source);
      if (!stream) throw null;
      if (session) session.use(stream);
      else release(stream.getTracks());
    } catch (error) {
      release(stream?.getTracks() ?? []);
      source = choice.value = before;
      if (error) explain(error instanceof NoSound ? error : new NoSound("failed", "The source could not be changed", error.message));
    }
  }

  async function keepAwake() {
    try {
      const lock = await navigator.wakeLock?.request("screen");
      // It is granted some time after it was asked for.
      if (session && (wake?.released ?? true)) wake = lock;
      else await lock?.release();
    } catch {
      // A low battery denies it: the screen may go dark.
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && session && wake?.released !== false) keepAwake();
  });

  // --- What can be done with captions

  async function copyText() {
    toast((await copy(captions.text)) ? "The text is copied." : "The browser did not allow the copy.");
  }

  function clear() {
    const saved = [...captions.finals];
    captions.clear();
    copying.disabled = clearing.disabled = true;
    keepLines();
    toast("The captions are cleared.", {
      action: { label: "Undo", run: () => { const since = [...captions.finals]; captions.clear(); captions.restore([...saved, ...since]); show(state); } },
    });
  }

  function keepLines() {
    if (signedOut) return;
    try {
      sessionStorage.setItem("captions", JSON.stringify(captions.finals));
    } catch {
      // Storage is denied or full: the transcript is in the library.
    }
  }

  addEventListener("pagehide", () => {
    captions.end();
    keepLines();
  });
  changes.addEventListener("change", () => (signedOut = !key()));

  // --- Sharing

  const shareLink = h("input", { class: "input", id: "share-link", readOnly: true, onfocus: () => shareLink.select() });
  const shareField = h("div", { class: "field" }, h("label", { for: "share-link", class: "label" }, "Link for viewers"), shareLink);
  const shareNote = h("p", { class: "note" });
  const shareSwitch = h("button", { class: "button", type: "button", onclick: switchShare });
  const shareCopy = h("button", { class: "button primary", type: "button", onclick: copyLink }, icon("copy"), "Copy the link");
  const shareDialog = h(
    "dialog",
    { class: "dialog narrow", "aria-labelledby": "share-title" },
    h(
      "div",
      { class: "stack" },
      h("h2", { id: "share-title" }, "Share these captions"),
      shareNote,
      shareField,
      h("div", { class: "dialog-end" }, h("button", { class: "button quiet", type: "button", onclick: () => shareDialog.close() }, "Close"), shareSwitch, shareCopy),
    ),
  );

  async function copyLink() {
    if (!(await copy(shareLink.value))) return shareLink.focus();
    shareDialog.close();
    toast("The link is copied.");
  }

  function switchShare() {
    viewers = viewers === null ? "" : null;
    session?.share(viewers !== null);
    showShare();
  }

  function openShare() {
    showShare();
    if (!shareDialog.open) shareDialog.showModal();
  }

  function showShare() {
    const shares = viewers !== null;
    sharing.setAttribute("aria-pressed", shares);
    shareField.hidden = !shares;
    shareCopy.hidden = !viewers;
    shareLink.value = viewers || "";
    shareLink.placeholder = session ? "A moment…" : "Press Listen first";
    shareSwitch.textContent = shares ? "Stop sharing" : "Share";
    shareSwitch.classList.toggle("primary", !shares);
    shareNote.textContent = shares && !session
      ? "The link is made when you press Listen. Whoever has it sees the captions as they come."
      : "Everybody who has the link, and a key if this server uses keys, sees these captions as they come, until you stop sharing or listening. Who joins late also sees what was said since you shared them.";
  }

  // --- For developers

  async function develop() {
    const opening = panel.hidden;
    if (opening && !developer) {
      const { createDeveloper } = await import("./developer.js");
      developer = createDeveloper({ onclose: develop });
      panel.append(developer.element);
    }
    panel.hidden = !opening;
    developing.setAttribute("aria-expanded", opening);
    element.classList.toggle("with-side", opening);
    if (opening) developer.shown();
    else developing.focus();
    captions.follow();
  }

  function restoreLines() {
    try {
      const saved = JSON.parse(sessionStorage.getItem("captions") ?? "[]");
      if (saved.length) captions.restore(saved);
    } catch {
      // What is not readable is not shown.
    }
  }

  // Also outside this part of the page a message offers to show it.
  document.body.append(shareDialog);
  restoreLines();
  navigator.mediaDevices?.addEventListener?.("devicechange", fillChoice);
  fillChoice();
  show("idle");
  if (obstacle()) explain(obstacle());
  developing.setAttribute("aria-expanded", "false");
  showShare();

  return {
    element,
    shown: () => captions.follow(),
    hidden: () => type.leave(),
  };
}
