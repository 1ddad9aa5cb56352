/** Sound from a microphone, a tab or the system, as chunks that can be sent to the server. */
const WANTED_RATE = 16000;
const HIGHEST_RATE = 48000;
const RESUME_MS = 2000;
const RECORDER_MS = 250;
// The recogniser hears best what nothing has been taken away from.
const UNTOUCHED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Why there is no sound: a title, and a message that says what the reader can do. */
export class NoSound extends Error {
  constructor(title, message) {
    super(message);
    this.title = title;
  }
}

/** Why this page cannot listen at all, or null. */
export function obstacle() {
  if (navigator.mediaDevices?.getUserMedia) return null;
  return new NoSound(
    "Browsers allow no microphone here",
    `A page may listen only if it comes over https or from localhost, and this one comes from ${location.origin}. ` +
      "Start the server with --tls and open its https address, or forward its port to this machine and open the page there: " +
      `ssh -L 3000:localhost:${location.port || 80} ${location.hostname}, then http://localhost:3000/.`,
  );
}

/** Whether the browser can share the sound of a tab or of the system. */
export const canShareSound = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/** The microphones. Their `deviceId` and `label` are empty until the browser has been allowed to listen. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && !["", "default", "communications"].includes(deviceId));
}

/** Ask for a microphone, by its id or the system's default. Rejects with NoSound. */
export async function openMicrophone(id = "") {
  const problem = obstacle();
  if (problem) throw problem;
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { ...UNTOUCHED, channelCount: 1, deviceId: id ? { exact: id } : undefined } });
  } catch (error) {
    if (id && error.name === "OverconstrainedError") return openMicrophone();
    throw new NoSound(...(DENIED[error.name] ?? ["The microphone could not be opened", error.message]));
  }
}

const DENIED = {
  NotAllowedError: [
    "The microphone is not allowed",
    "Allow it for this page: the sign at the left end of the browser's address line has the setting. " +
      "If it is allowed there, the system may deny it to the browser. Then press Listen again.",
  ],
  NotFoundError: [
    "No microphone was found",
    "Connect one, or switch it on, and press Listen again. A tab's sound and recordings can be transcribed without one.",
  ],
  NotReadableError: [
    "The microphone could not be opened",
    "Another program may be using it. Close that program or choose another microphone, and press Listen again.",
  ],
};

/** Ask for the sound of a tab or of the system. Rejects with NoSound; null if the reader changes their mind. */
export async function openShared() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: UNTOUCHED, systemAudio: "include" });
  } catch (error) {
    if (error.name === "NotAllowedError") return null;
    throw new NoSound("The sound could not be shared", error.message);
  }
  // Only the sound is wanted.
  for (const track of stream.getVideoTracks()) track.stop();
  if (stream.getAudioTracks().length > 0) return stream;
  throw new NoSound(
    "No sound was shared",
    "Choose a tab, or the whole screen, and tick “Also share audio” in the browser's dialog. Some browsers share no sound.",
  );
}

/** Give a source back to the browser. */
export function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Begin to capture a stream. `onchunk(bytes, seconds)` gets each piece, `onlevel(level)` the loudness from 0
 * to 1, `onend()` is called when the source ends by itself. Resolves to the capture: `query` has the
 * parameters of `/stream` for these chunks; `begin()` is called for each connection, and if `isContainer` the chunks
 * begin with it; `use(stream)` takes another source; `stop()` ends it, and resolves when the last chunk has come.
 */
export async function capture(stream, { onchunk, onlevel, onend }) {
  const capturing = (await worklet(stream, { onchunk, onlevel })) ?? recorder(stream, { onchunk, onlevel });
  let current;
  let isStopped = false;
  const watch = (source) => {
    release(current);
    current = source;
    // Tracks that this page stops tell nobody.
    for (const track of source.getAudioTracks()) track.onended = onend;
  };
  watch(stream);
  return {
    ...capturing,
    use(source) {
      if (isStopped) return release(source);
      capturing.use(source);
      return watch(source);
    },
    async stop() {
      if (isStopped) return;
      isStopped = true;
      await capturing.stop();
      release(current);
    },
  };
}

async function worklet(stream, how) {
  // Some browsers do not convert a source's rate: the server does.
  for (const sampleRate of [WANTED_RATE, undefined]) {
    let context;
    try {
      context = new AudioContext({ sampleRate });
      return await inContext(context, stream, how);
    } catch {
      await context?.close();
    }
  }
  return null;
}

async function inContext(context, stream, { onchunk, onlevel }) {
  const rate = context.sampleRate;
  if (rate > HIGHEST_RATE) throw new Error("The rate is too high.");
  let source = context.createMediaStreamSource(stream);
  await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
  const node = new AudioWorkletNode(context, "frames", { numberOfOutputs: 0 });
  // Firefox never resumes a context on a machine without loudspeakers.
  await Promise.race([context.resume(), new Promise((_, late) => setTimeout(late, RESUME_MS))]);
  node.port.onmessage = ({ data: { samples, level } }) => {
    onchunk(samples.buffer, samples.length / rate);
    onlevel(level);
  };
  source.connect(node);
  // A call or a closed lid suspends the context, and nobody else wakes it.
  context.onstatechange = () => ["running", "closed"].includes(context.state) || context.resume();
  return {
    query: { encoding: "pcm", sample_rate: rate },
    isContainer: false,
    begin() {},
    use(other) {
      const next = context.createMediaStreamSource(other);
      source.disconnect();
      source = next;
      source.connect(node);
    },
    async stop() {
      node.port.onmessage = null;
      await context.close();
    },
  };
}

function recorder(stream, { onchunk, onlevel }) {
  let current = stream;
  let recording = null;
  let handed = Promise.resolve(); // Settles when all chunks so far are handed on.
  function begin() {
    if (recording?.state === "recording") recording.stop();
    const own = (recording = new MediaRecorder(new MediaStream(current.getAudioTracks())));
    const hand = async (data) => {
      const bytes = await data.arrayBuffer();
      if (own !== recording || bytes.byteLength === 0) return;
      onchunk(bytes, RECORDER_MS / 1000);
      onlevel(0.1); // The loudness is unknown: it only shows that sound arrives.
    };
    own.ondataavailable = ({ data }) => (handed = handed.then(() => hand(data)));
    own.start(RECORDER_MS);
  }
  return {
    query: { encoding: "auto" },
    isContainer: true,
    begin,
    use(other) {
      current = other;
      if (recording) begin();
    },
    async stop() {
      if (recording?.state === "recording") {
        await new Promise((done) => {
          recording.onstop = done;
          recording.stop();
        });
      }
      await handed;
    },
  };
}
