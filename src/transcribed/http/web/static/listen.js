/** Listening: a microphone or a tab's sound, its captions, and what belongs to them. */
import { url } from "./api.js";
import { canShareSound, microphones, obstacle, openMicrophone, openShared, release } from "./capture.js";
import { createCaptions } from "./captions.js";
import { clock, copy, h, icon, tool } from "./dom.js";
import { changes, key } from "./keys.js";
import { createSession } from "./session.js";
import { keep, kept } from "./tab.js";
import { toast } from "./toast.js";

const SHARED_SOUND = "shared";
const LOOPBACK = /^(localhost|127\..*|\[::1\])$/;
const SILENCE_MS = 6000;
const QUIET = 0.0008;
const SHORTEST_UNSENT = 0.5; // Seconds: what is shorter is not worth a remark.

let view = null;

/** Show the part of the page that listens. It goes on listening while other parts are shown. */
export function mount(root) {
  view ??= createView();
  root.append(view.element);
  view.shown();
  return () => document.fullscreenElement && document.exitFullscreen();
}

function createView() {
  let session = null;
  let state = "idle";
  let source = ""; // The id of a microphone, "" for the default one, or SHARED_SOUND.
  let lastLoud = 0;
  let ticking = 0;
  let transcript = null; // The id of the one that ended last, if anything was said.
  let saidAnything = false;
  let developer = null;
  let share = JSON.parse(kept("share")); // The `link` for viewers and the `token` to keep it, if they are known; null without sharing.
  let wake = null;

  // --- What is seen

  const welcome = h(
    "div",
    { class: "empty welcome" },
    h("h1", {}, "Watch speech become text"),
    h("p", {}, "Press Listen and speak. Words appear as they are heard: ", h("span", { class: "unsettled" }, "paler while they may still change"), ", ", h("span", { class: "settled" }, "in full colour once they are settled"), "."),
    h("p", { class: "note" }, "The sound goes to this server alone. ", h("a", { href: "#/library" }, "Or transcribe a recording"), "."),
  );
  const captions = createCaptions({ placeholder: welcome });
  const problem = h("div", { class: "problem-card", role: "alert", hidden: true });
  const listen = h("button", { class: "button primary listen-button", type: "button", onclick: toggle });
  const status = h("span", { class: "status-text", role: "status" });
  const timer = h("span", { class: "timer numbers", "aria-hidden": "true" });
  const level = h("progress", { class: "level", value: 0, "aria-hidden": "true" });
  const choice = h("select", { class: "select", "aria-label": "What to listen to", onchange: choose });
  const sharing = tool("share", "Share these captions", openShare);
  const developing = tool("code", "For developers", develop);
  const panel = h("div", { class: "side", hidden: true });
  const dock = h(
    "div",
    { class: "dock" },
    h("div", { class: "dock-source" }, choice),
    h("div", { class: "dock-main" }, listen, h("div", { class: "dock-state" }, h("span", { class: "state-line" }, timer, level), status)),
    h("div", { class: "dock-tools", role: "toolbar", "aria-label": "Captions" }, ...captions.tools, tool("trash", "Clear the captions", clear), sharing, developing),
  );
  const stage = h("div", { class: "stage" }, h("h1", { class: "visually-hidden" }, "Listen"), problem, captions.element, dock);
  const element = h("div", { class: "listen" }, stage, panel);

  // --- Listening

  async function toggle() {
    if (listen.getAttribute("aria-disabled") === "true") return;
    if (session) return session.stop();
    problem.hidden = true;
    show("asking");
    let stream = null;
    try {
      stream = await opened(source);
      if (stream) await start(stream);
      else show("idle");
    } catch (error) {
      release(stream);
      session = null;
      show("idle");
      explain(error, "The sound could not be captured");
    }
  }

  const opened = (which) => (which === SHARED_SOUND ? openShared() : openMicrophone(which));

  async function start(stream) {
    transcript = null;
    saidAnything = false;
    lastLoud = performance.now();
    if (!captions.isEmpty) captions.remark(`Listening again at ${new Date().toLocaleTimeString([], { timeStyle: "short" })}`);
    session = createSession({
      sharing: () => share,
      onstate: changed,
      onopened: captions.resumed,
      ongap: (seconds, offset) => captions.remark(`${Math.round(seconds)} s of sound before ${clock(offset)} are lost: the server was away for too long.`),
      onresult(result, offset) {
        saidAnything ||= result.Alternatives[0].Transcript !== "";
        captions.result(result, offset);
      },
      onmessage: received,
      onlost: captions.interrupted,
      onlevel: loudness,
      onended() {
        toast(source === SHARED_SOUND ? "The sharing of the sound has ended." : "The microphone was disconnected.");
        session?.stop();
      },
    });
    await session.start(stream);
    fillChoice();
    ticking = setInterval(tick, 250);
    keepAwake();
  }

  function changed(now, detail) {
    if (now !== "closed" && now !== "refused") return show(now, detail);
    captions.end();
    if (detail.unsent > SHORTEST_UNSENT) captions.remark(`The last ${Math.round(detail.unsent)} s of sound could not be sent: the server had no time for them.`);
    clearInterval(ticking);
    session = null;
    setShare(null);
    keepAwake();
    keepLines();
    show("idle");
    if (now === "refused") explain(detail, "The server refused to listen");
  }

  function received(message, event, times) {
    developer?.message(message, event, times);
    if (message.Started && share) {
      const link = url(message.Started.Live).href;
      const isNew = share.link && share.link !== link;
      setShare({ link, token: message.Started.Continuation });
      if (isNew) toast("The viewers need a new link: the server no longer knows the former one.", { seconds: 0, action: { label: "Show it", run: openShare } });
    }
    if (message.Warning) captions.remark(message.Warning.Message);
    if (message.Done && saidAnything) transcript = message.Done.SessionId;
  }

  function loudness(value) {
    if (value > QUIET) lastLoud = performance.now();
    level.value = Math.max(0, 1 + Math.log10(Math.max(value, 1e-6)) / 3); // −60 to 0 decibels.
  }

  function tick() {
    timer.textContent = clock(session.heard);
    if (state !== "listening") return;
    const isSilent = performance.now() - lastLoud > SILENCE_MS;
    level.classList.toggle("silent", isSilent);
    say(isSilent ? "No sound arrives. Is the microphone muted?" : "Listening");
  }

  function show(now, { seconds = 0, message = "The server is full.", away = false } = {}) {
    state = now;
    element.dataset.state = now;
    const isActive = session !== null && now !== "finishing";
    document.getElementById("live-dot").hidden = !session;
    listen.dataset.active = isActive;
    listen.replaceChildren(icon(isActive ? "stop" : "microphone"), isActive ? "Stop" : now === "finishing" ? "Finishing" : "Listen");
    // A disabled button would lose the focus of who uses the keyboard.
    listen.setAttribute("aria-disabled", now === "asking" || now === "finishing");
    level.hidden = timer.hidden = !session;
    timer.textContent = clock(session?.heard ?? 0);
    const asking = source === SHARED_SOUND ? "Choose what to share in the browser's dialog" : "Allow the microphone in the browser's question";
    const full = `${message.replace(/ Try again later\.$/, "")} Trying again in ${Math.max(1, Math.round(seconds))} s.`;
    const texts = {
      idle: "",
      asking,
      connecting: "Connecting…",
      listening: "Listening",
      waiting: `Reconnecting. ${session?.kept}`,
      full: `${full} ${session?.kept}`,
      finishing: away ? "Waiting for the server, to finish the last words…" : "Finishing the last words…",
    };
    say(texts[now]);
    if (now === "idle" && transcript) status.append("Ended. ", h("a", { href: `#/transcript/${transcript}` }, "Open the transcript"));
  }

  // Screen readers say again what is written again.
  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  function explain({ title, message }, otherwise) {
    problem.replaceChildren(
      h("div", {}, h("h2", {}, title ?? otherwise), h("p", {}, message)),
      tool("close", "Close the message", () => (problem.hidden = true)),
    );
    problem.hidden = false;
  }

  // --- Sources

  async function fillChoice() {
    const found = await microphones();
    const options = found.map(({ deviceId, label }, index) => h("option", { value: deviceId }, label || `Microphone ${index + 1}`));
    if (canShareSound()) options.push(h("option", { value: SHARED_SOUND }, "Sound of a tab or the system…"));
    choice.replaceChildren(h("option", { value: "" }, "Default microphone"), ...options);
    choice.value = source;
    if (choice.value !== source) source = choice.value = "";
  }

  async function choose() {
    const before = source;
    source = choice.value;
    if (!session) return;
    let stream = null;
    try {
      stream = await opened(source);
      if (stream) return session ? session.use(stream) : release(stream);
    } catch (error) {
      release(stream);
      explain(error, "The source could not be changed");
    }
    source = choice.value = before;
  }

  /** The screen stays on while this listens: a phone that goes dark stops the microphone. */
  async function keepAwake() {
    wake?.release();
    wake = session && (await navigator.wakeLock?.request("screen").catch(() => null));
    // It is granted some time after it was asked for.
    if (!session) wake?.release();
  }

  document.addEventListener("visibilitychange", () => document.hidden || keepAwake());

  // --- What can be done with captions

  function clear() {
    if (captions.isEmpty) return;
    const saved = [...captions.finals];
    const restore = () => {
      const since = [...captions.finals];
      captions.clear();
      captions.restore([...saved, ...since]);
    };
    captions.clear();
    keepLines();
    toast("The captions are cleared.", { action: { label: "Undo", run: restore } });
  }

  function keepLines() {
    keep("captions", captions.isEmpty ? null : JSON.stringify(captions.finals));
  }

  addEventListener("pagehide", () => {
    captions.end();
    keepLines();
  });
  changes.addEventListener("change", () => {
    if (key()) return;
    // What was said is not kept for who uses this tab next.
    captions.clear();
    setShare(null);
  });

  // --- Sharing

  const shareLink = h("input", { class: "input", readOnly: true, onfocus: () => shareLink.select() });
  const shareField = h("label", { class: "field" }, "Link for viewers", shareLink);
  const shareSwitch = h("button", { class: "button", type: "button", onclick: switchShare });
  const shareCopy = h("button", { class: "button primary", type: "button", onclick: copyLink }, icon("copy"), "Copy the link");
  const shareDialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "share-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "share-title" }, "Share these captions"),
      h("p", { class: "note" }, "Everybody who has the link, and a key if this server uses keys, sees these captions as they come, until you stop sharing or listening. Who joins late also sees what was said since you shared them."),
      h("p", { class: "note", hidden: !LOOPBACK.test(location.hostname) }, "The link begins with the address that this page was opened by, which only this computer knows. For others, start the server with --host and --tls, and open the page by the computer's name."),
      shareField,
      h("div", { class: "dialog-end" }, h("button", { class: "button quiet" }, "Close"), shareSwitch, shareCopy),
    ),
  );

  async function copyLink() {
    if (!(await copy(shareLink.value))) return shareLink.focus();
    shareDialog.close();
    toast("The link is copied.");
  }

  function switchShare() {
    setShare(share ? null : {});
    session?.reshare();
  }

  function openShare() {
    setShare(share);
    if (!shareDialog.open) shareDialog.showModal();
  }

  function setShare(now) {
    share = now;
    keep("share", share && JSON.stringify(share));
    sharing.setAttribute("aria-pressed", share !== null);
    shareField.hidden = !share;
    shareCopy.hidden = !share?.link;
    shareLink.value = share?.link ?? "";
    shareLink.placeholder = session ? "A moment…" : "Press Listen first";
    shareSwitch.textContent = share ? "Stop sharing" : "Share";
    shareSwitch.classList.toggle("primary", !share);
  }

  // --- For developers

  async function develop() {
    panel.hidden = !panel.hidden;
    developing.setAttribute("aria-expanded", !panel.hidden);
    if (panel.hidden) return developing.focus();
    if (!developer) {
      const { createDeveloper } = await import("./developer.js");
      developer = createDeveloper({ onclose: develop });
      panel.append(developer.element);
    }
    developer.shown();
  }

  // Also outside this part of the page a message offers to show it.
  document.body.append(shareDialog);
  captions.restore(JSON.parse(kept("captions")) ?? []);
  navigator.mediaDevices?.addEventListener("devicechange", fillChoice);
  fillChoice();
  show("idle");
  if (obstacle()) explain(obstacle());
  developing.setAttribute("aria-expanded", "false");
  setShare(share);

  return { element, shown: captions.follow };
}
