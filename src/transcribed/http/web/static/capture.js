/** Sound from a microphone, a tab or the system, as chunks that can be sent to the server. */
const WANTED_RATE = 16000;
const HIGHEST_RATE = 48000;
const RECORDER_MS = 250;
// The recogniser hears best what nothing has been taken away from.
const UNTOUCHED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** A reason why there is no sound, with what the reader can do. `kind` names the case. */
export class NoSound extends Error {
  constructor(kind, title, message) {
    super(message);
    this.name = "NoSound";
    this.kind = kind;
    this.title = title;
  }
}

/** Why this page cannot listen at all, or null. */
export function obstacle() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    return new NoSound(
      "insecure",
      "Browsers allow no microphone here",
      `A page may listen only if it comes over https or from localhost, and this one comes from ${location.origin}. ` +
        "Start the server with --tls and open its https address, or forward its port to this machine and open the page there: " +
        `ssh -L 3000:localhost:${location.port || 80} ${location.hostname}, then http://localhost:3000/.`,
    );
  }
  return null;
}

/** Whether the browser can share the sound of a tab or of the system. */
export const canShareSound = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/** The microphones: `{ id, label }`. Labels are empty until the browser has been allowed to listen. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter((device) => device.kind === "audioinput" && device.deviceId !== "default" && device.deviceId !== "communications")
    .map((device) => ({ id: device.deviceId, label: device.label }));
}

/** Ask for a microphone, by its id or the system's default. Rejects with NoSound. */
export async function openMicrophone(id = "") {
  const problem = obstacle();
  if (problem) throw problem;
  const ask = (device) => navigator.mediaDevices.getUserMedia({ audio: { ...UNTOUCHED, channelCount: 1, ...device } });
  try {
    return await ask(id ? { deviceId: { exact: id } } : {});
  } catch (error) {
    if (id && error.name === "OverconstrainedError") return openMicrophone();
    throw explained(error);
  }
}

function explained(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new NoSound(
        "denied",
        "The microphone is not allowed",
        "Allow it for this page: the sign at the left end of the browser's address line has the setting. " +
          "If it is allowed there, the system may deny it to the browser. Then press Listen again.",
      );
    case "NotFoundError":
      return new NoSound(
        "missing",
        "No microphone was found",
        "Connect one, or switch it on, and press Listen again. A tab's sound and recordings can be transcribed without one.",
      );
    case "NotReadableError":
    case "AbortError":
      return new NoSound(
        "busy",
        "The microphone could not be opened",
        "Another program may be using it. Close that program or choose another microphone, and press Listen again.",
      );
    default:
      return new NoSound("failed", "The microphone could not be opened", error.message);
  }
}

/** Ask for the sound of a tab or of the system. Rejects with NoSound; null if the reader changes their mind. */
export async function openShared() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({
      video: true,
      audio: { ...UNTOUCHED, suppressLocalAudioPlayback: false },
      systemAudio: "include",
    });
  } catch (error) {
    if (error.name === "NotAllowedError") return null;
    throw new NoSound("failed", "The sound could not be shared", error.message);
  }
  // Only the sound is wanted.
  for (const track of stream.getVideoTracks()) track.stop();
  if (stream.getAudioTracks().length === 0) {
    throw new NoSound(
      "silent",
      "No sound was shared",
      "Choose a tab, or the whole screen, and tick “Also share audio” in the browser's dialog. Some browsers share no sound.",
    );
  }
  return stream;
}

/**
 * Begin to capture a stream. `onchunk(bytes, seconds)` gets each piece, `onlevel(level)` the loudness from 0
 * to 1, `onend()` is called when the source ends by itself. Resolves to the capture: `query` has the
 * parameters of `/stream` for these chunks; `restarts` says that a new connection needs a new beginning, as a
 * container has a header, which `restart()` makes; `use(stream)` takes another source; `stop()` ends it.
 */
export async function capture(stream, { onchunk, onlevel, onend }) {
  const made = await worklet(stream, { onchunk, onlevel }).catch(() => null);
  const capturing = made ?? recorder(stream, { onchunk, onlevel });
  let tracks = [];
  let stopped = false;
  const watch = (source) => {
    for (const track of tracks) {
      track.onended = null;
      track.stop();
    }
    tracks = source.getAudioTracks();
    for (const track of tracks) track.onended = onend;
  };
  watch(stream);
  return {
    query: capturing.query,
    restarts: capturing.restarts,
    restart: capturing.restart,
    /** Take another source in place of this one. */
    use(source) {
      capturing.use(source);
      watch(source);
    },
    /** End it and give the source back. */
    stop() {
      if (stopped) return;
      stopped = true;
      capturing.stop();
      for (const track of tracks) {
        track.onended = null;
        track.stop();
      }
    },
  };
}

async function worklet(stream, { onchunk, onlevel }) {
  let context = new AudioContext({ sampleRate: WANTED_RATE, latencyHint: "interactive" });
  let source;
  try {
    source = context.createMediaStreamSource(stream);
  } catch {
    // Some browsers do not convert a source's rate: the server does.
    await context.close();
    context = new AudioContext({ latencyHint: "interactive" });
    source = context.createMediaStreamSource(stream);
  }
  if (!context.audioWorklet || context.sampleRate > HIGHEST_RATE) {
    await context.close();
    throw new Error("no worklet");
  }
  await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
  const node = new AudioWorkletNode(context, "frames", { numberOfOutputs: 0 });
  const rate = context.sampleRate;
  node.port.onmessage = ({ data }) => {
    onchunk(data.buffer, data.buffer.byteLength / 2 / rate);
    onlevel(data.level);
  };
  source.connect(node);
  // A call or a closed lid suspends the context, and nobody else wakes it.
  context.onstatechange = () => context.state !== "closed" && context.state !== "running" && context.resume();
  await context.resume();
  return {
    query: { encoding: "pcm", sample_rate: rate },
    restarts: false,
    restart() {},
    use(other) {
      source.disconnect();
      source = context.createMediaStreamSource(other);
      source.connect(node);
    },
    stop() {
      context.onstatechange = null;
      node.port.onmessage = null;
      source.disconnect();
      context.close();
    },
  };
}

function recorder(stream, { onchunk, onlevel }) {
  let current = stream;
  let recording = null;
  const begin = () => {
    const own = (recording = new MediaRecorder(new MediaStream(current.getAudioTracks())));
    own.ondataavailable = async ({ data }) => {
      if (own !== recording || data.size === 0) return;
      const bytes = await data.arrayBuffer();
      if (own !== recording) return;
      onchunk(bytes, RECORDER_MS / 1000);
      onlevel(0.1); // The loudness is unknown: it only shows that sound arrives.
    };
    own.start(RECORDER_MS);
  };
  const end = () => {
    const old = recording;
    recording = null;
    if (old && old.state !== "inactive") old.stop();
  };
  begin();
  return {
    query: { encoding: "auto" },
    restarts: true,
    restart() {
      end();
      begin();
    },
    use(other) {
      current = other;
      end();
      begin();
    },
    stop: end,
  };
}
