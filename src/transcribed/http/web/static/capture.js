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
 * parameters of `/stream` for these chunks; `restarts` says that the chunks are a container's, of no use without its
 * beginning, and `restart()` makes a new one; `use(stream)` takes another source; `stop()` ends it, and resolves
 * when the last chunk has come.
 */
export async function capture(stream, { onchunk, onlevel, onend }) {
  const made = await worklet(stream, { onchunk, onlevel }).catch(() => null);
  const capturing = made ?? recorder(stream, { onchunk, onlevel });
  let tracks = [];
  let stopped = false;
  const watch = (source) => {
    for (const track of tracks) track.onended = null;
    release(tracks);
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
      if (stopped) return release(source.getTracks());
      capturing.use(source);
      return watch(source);
    },
    /** End it and give the source back. */
    async stop() {
      if (stopped) return;
      stopped = true;
      for (const track of tracks) track.onended = null;
      await capturing.stop();
      release(tracks);
    },
  };
}

/** Give tracks back to the browser. */
export function release(tracks) {
  for (const track of tracks) track.stop();
}

async function worklet(stream, how) {
  try {
    return await inContext(new AudioContext({ sampleRate: WANTED_RATE, latencyHint: "interactive" }), stream, how);
  } catch {
    // Some browsers do not convert a source's rate: the server does.
    return inContext(new AudioContext({ latencyHint: "interactive" }), stream, how);
  }
}

async function inContext(context, stream, { onchunk, onlevel }) {
  let source, node;
  try {
    if (context.sampleRate > HIGHEST_RATE) throw new Error("The rate is too high.");
    source = context.createMediaStreamSource(stream);
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    node = new AudioWorkletNode(context, "frames", { numberOfOutputs: 0 });
    await context.resume();
  } catch (error) {
    await context.close();
    throw error;
  }
  const rate = context.sampleRate;
  node.port.onmessage = ({ data }) => {
    onchunk(data.buffer, data.buffer.byteLength / 2 / rate);
    onlevel(data.level);
  };
  source.connect(node);
  // A call or a closed lid suspends the context, and nobody else wakes it.
  context.onstatechange = () => context.state !== "closed" && context.state !== "running" && context.resume();
  return {
    query: { encoding: "pcm", sample_rate: rate },
    restarts: false,
    restart() {},
    use(other) {
      const next = context.createMediaStreamSource(other);
      source.disconnect();
      source = next;
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
  let handed = Promise.resolve(); // Settles when all chunks so far are handed on.
  const begin = () => {
    const own = new MediaRecorder(new MediaStream(current.getAudioTracks()));
    const hand = async (data) => {
      const bytes = await data.arrayBuffer();
      if (own !== recording || bytes.byteLength === 0) return;
      onchunk(bytes, RECORDER_MS / 1000);
      onlevel(0.1); // The loudness is unknown: it only shows that sound arrives.
    };
    own.ondataavailable = ({ data }) => (handed = handed.then(() => hand(data)));
    own.start(RECORDER_MS);
    if (recording && recording.state !== "inactive") recording.stop();
    recording = own;
  };
  begin();
  return {
    query: { encoding: "auto" },
    restarts: true,
    restart: begin,
    use(other) {
      current = other;
      begin();
    },
    async stop() {
      if (recording.state !== "inactive") {
        await new Promise((done) => {
          recording.onstop = done;
          recording.stop();
        });
      }
      await handed;
    },
  };
}
