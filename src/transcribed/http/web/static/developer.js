/** The panel for developers: messages as they arrive, how late they are, and programs to start from. */
import { base, getJson, url } from "./api.js";
import { copy, h, icon } from "./dom.js";
import { key } from "./keys.js";
import { toast } from "./toast.js";

const MOST_MESSAGES = 200;
const MOST_SAMPLES = 500;

/** The value below which a share of the samples lies. */
export function quantile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

const milliseconds = (samples, share) => (samples.length ? `${Math.round(1000 * quantile(samples, share))} ms` : "–");

function add(samples, value) {
  samples.push(value);
  if (samples.length > MOST_SAMPLES) samples.shift();
}

/** What a message is, in a few words: `[kind, text]`. */
function summary(message) {
  const [[kind, content]] = Object.entries(message);
  if (kind !== "Transcript") return [kind, content.Message ?? content.Live ?? content.SessionId ?? ""];
  const [result] = content.Results;
  return [result.IsPartial ? "Partial" : "Final", result.Alternatives[0].Transcript];
}

/** Make the panel. `onclose()` is called by its button. */
export function createDeveloper({ onclose }) {
  let paused = false;
  let count = 0;
  let known = ""; // The segment whose words were seen last, and how many they were.
  let seen = 0;
  const onScreen = [];
  const words = [];

  // --- Messages

  const lag = h("dd", {}, "–");
  const delay = h("dd", {}, "–");
  const screen = h("dd", {}, "–");
  const counted = h("dd", {}, "0");
  const list = h("ol", { class: "messages", tabIndex: 0, "aria-label": "Messages of the server, the newest first" });
  const pause = h("button", { class: "button small", type: "button", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
  } }, "Pause");
  const clear = h("button", { class: "button small", type: "button", onclick: () => list.replaceChildren() }, "Clear");
  const messages = h(
    "div",
    { class: "side-part" },
    h(
      "dl",
      { class: "figures" },
      h("div", { title: "Seconds of sound that no result covers yet" }, h("dt", {}, "Lag"), lag),
      h("div", { title: "From the end of a word until its first result, in the median and at the 95th percentile" }, h("dt", {}, "Words after"), delay),
      h("div", { title: "From the arrival of a message until the frame that shows it, at the 95th percentile" }, h("dt", {}, "On screen after"), screen),
      h("div", {}, h("dt", {}, "Messages"), counted),
    ),
    h("div", { class: "toolbar" }, pause, clear, h("a", { class: "spread", href: url("docs").href }, "API documentation")),
    list,
  );

  function measure(message, event, { heard, offset }) {
    // A hidden tab gets no frames.
    if (!document.hidden) requestAnimationFrame(() => {
      add(onScreen, (performance.now() - event.timeStamp) / 1000);
      screen.textContent = milliseconds(onScreen, 0.95);
    });
    if (!message.Transcript) return;
    const [result] = message.Transcript.Results;
    lag.textContent = `${Math.max(0, heard - offset - result.EndTime).toFixed(2)} s`;
    if (result.ResultId !== known) [known, seen] = [result.ResultId, 0];
    const spoken = (result.Alternatives[0].Items ?? []).filter((item) => item.Type === "pronunciation");
    for (const item of spoken.slice(seen)) add(words, Math.max(0, heard - offset - item.EndTime));
    seen = Math.max(seen, spoken.length);
    delay.textContent = `${milliseconds(words, 0.5)}, ${milliseconds(words, 0.95)}`;
  }

  function row(message, event, { heard }) {
    const [kind, text] = summary(message);
    const details = h(
      "details",
      { ontoggle: () => details.open && details.childElementCount === 1 && details.append(h("pre", { tabIndex: 0 }, JSON.stringify(JSON.parse(event.data), null, 2))) },
      h("summary", {}, h("span", { class: "at numbers" }, heard.toFixed(2)), h("span", { class: `badge kind-${kind.toLowerCase()}` }, kind), h("span", { class: "message-text" }, text)),
    );
    return h("li", {}, details);
  }

  // --- Programs

  const query = h("input", { class: "input", id: "snippet-query", value: "format=json", spellcheck: false, autocomplete: "off", oninput: () => write() });
  const which = h("select", { class: "select", id: "snippet-kind", onchange: () => write() });
  const reveal = h("input", { type: "checkbox", id: "snippet-key", onchange: () => write() });
  const revealing = h("label", { class: "check", hidden: true }, reveal, " Show my key");
  const code = h("pre", { class: "snippet", tabIndex: 0, "aria-label": "The program" });
  const programs = h(
    "div",
    { class: "side-part", hidden: true },
    h("div", { class: "field" }, h("label", { for: "snippet-kind" }, "Program"), which),
    h("div", { class: "field" }, h("label", { for: "snippet-query" }, "Parameters of /stream"), query),
    h(
      "div",
      { class: "toolbar" },
      revealing,
      h("button", { class: "button small spread", type: "button", onclick: async () => {
        const copied = await copy(snippet(key()));
        toast(copied ? (key() ? "Copied, with your key." : "Copied.") : "The browser did not allow the copy.");
      } }, icon("copy"), "Copy"),
    ),
    code,
  );

  let kinds = SNIPPETS;
  const snippet = (secret) => kinds[which.value].code(places(query.value.trim(), secret));

  function write() {
    revealing.hidden = !key();
    code.textContent = snippet(key() && !reveal.checked ? "YOUR_KEY" : key());
  }

  function fill() {
    const chosen = which.value || "wscat";
    which.replaceChildren(...Object.entries(kinds).map(([value, { title }]) => h("option", { value }, title)));
    which.value = chosen in kinds ? chosen : "wscat";
    write();
  }

  async function findDoors() {
    try {
      const { paths } = await getJson("openapi.json", { quiet: true });
      const has = Object.keys(paths).some((path) => path.startsWith("/v1/audio/"));
      kinds = has ? { ...SNIPPETS, openai: OPENAI } : SNIPPETS;
      fill();
    } catch {
      // Without it the list is shorter.
    }
  }

  // --- The panel

  const part = (name, panel) =>
    h("button", { type: "button", "aria-pressed": String(panel === messages), onclick: (event) => {
      messages.hidden = panel !== messages;
      programs.hidden = panel !== programs;
      for (const button of event.currentTarget.parentElement.children) button.setAttribute("aria-pressed", button === event.currentTarget);
    } }, name);
  const heading = h("h2", { id: "developer-title", tabIndex: -1 }, "For developers");
  const element = h(
    "section",
    { class: "developer", "aria-labelledby": "developer-title" },
    h("div", { class: "side-head" }, heading, h("button", { class: "button quiet icon small spread", type: "button", "aria-label": "Close the panel", onclick: onclose }, icon("close"))),
    h("div", { class: "segmented", role: "group", "aria-label": "Parts of the panel" }, part("Messages", messages), part("Programs", programs)),
    messages,
    programs,
  );
  fill();
  findDoors();

  return {
    element,
    /** Show a message. `times` has `heard`, seconds of sound so far, and `offset`, where the session began. */
    message(message, event, times) {
      count += 1;
      counted.textContent = count;
      measure(message, event, times);
      if (paused) return;
      list.prepend(row(message, event, times));
      if (list.childElementCount > MOST_MESSAGES) list.lastElementChild.remove();
    },
    shown() {
      write();
      heading.focus();
    },
    /** The figures: seconds from the arrival of messages until they were on screen, and of words. */
    get figures() {
      return { onScreen: [...onScreen], words: [...words] };
    },
  };
}

function places(query, secret) {
  const socket = new URL(base);
  socket.protocol = base.protocol === "https:" ? "wss:" : "ws:";
  return {
    http: base.href.replace(/\/$/, ""),
    stream: `${socket.href}stream${query ? `?${query}` : ""}`,
    withRate: (rate) => `${socket.href}stream?${query ? `${query}&` : ""}${rate}`,
    secret,
    curl: secret ? `-H 'Authorization: Bearer ${secret}' ` : "",
  };
}

const SNIPPETS = {
  wscat: {
    title: "wscat: type the name of a recording",
    code: ({ stream, curl }) => `npx wscat ${curl}-c '${stream}'`,
  },
  curl: {
    title: "curl: upload, search, download",
    code: ({ http, curl }) => `curl ${curl}-F 'file=@talk.wav;type=audio/wav' ${http}/audio
curl ${curl}${http}/audio
curl ${curl}'${http}/transcripts?q=hello'
curl ${curl}${http}/transcripts/ID.srt`,
  },
  python: {
    title: "Python: stream a WAV file",
    code: ({ withRate, secret }) => `# pip install websockets
import asyncio, json, sys, wave
from websockets.asyncio.client import connect

async def main(path):
    with wave.open(path) as recording:  # 16 bit
        rate, channels = recording.getframerate(), recording.getnchannels()
        audio = recording.readframes(recording.getnframes())
    chunk = 2 * rate * channels // 10
    url = f"${withRate("sample_rate={rate}&channels={channels}")}"
    async with connect(url${secret ? `, additional_headers={"Authorization": "Bearer ${secret}"}` : ""}) as ws:
        async def speak():
            for start in range(0, len(audio), chunk):
                await ws.send(audio[start:start + chunk])
                await asyncio.sleep(0.1)
            await ws.send(b"")
        speaking = asyncio.create_task(speak())
        async for message in ws:
            event = json.loads(message)
            if "Transcript" not in event:
                print(event)
                break
            for result in event["Transcript"]["Results"]:
                if not result["IsPartial"]:
                    print(result["Alternatives"][0]["Transcript"])
        await speaking

asyncio.run(main(sys.argv[1]))
`,
  },
  javascript: {
    title: "JavaScript: stream a WAV file",
    code: ({ withRate, secret }) => `// Node.js 22 or newer: node captions.mjs talk.wav
import { readFileSync } from "node:fs";

const recording = readFileSync(process.argv[2]); // 16 bit, mono
const rate = recording.readUInt32LE(24);
const ws = new WebSocket(\`${withRate("sample_rate=${rate}")}\`${secret ? `,
  ["transcribed", "transcribed.bearer.${secret}"]` : ""});
ws.onopen = async () => {
  for (let at = 44; at < recording.length; at += rate / 5) {
    ws.send(recording.subarray(at, at + rate / 5));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  ws.send(new Uint8Array(0));
};
ws.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  for (const result of message.Transcript?.Results ?? [])
    if (!result.IsPartial) console.log(result.Alternatives[0].Transcript);
  if (message.Done || message.Error) ws.close();
};
`,
  },
  amazonJavascript: {
    title: "Amazon's SDK for JavaScript",
    code: ({ http, secret }) => `// npm install @aws-sdk/client-transcribe-streaming
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { StartStreamTranscriptionCommand, TranscribeStreamingClient } from "@aws-sdk/client-transcribe-streaming";

const recording = readFileSync(process.argv[2]); // 16 bit, mono
const rate = recording.readUInt32LE(24);
async function* audio() {
  const chunk = Math.floor(rate / 10) * 2;
  for (let at = 44; at < recording.length; at += chunk) {
    yield { AudioEvent: { AudioChunk: recording.subarray(at, at + chunk) } };
    await pause(100);
  }
}
const client = new TranscribeStreamingClient({
  region: "us-east-1",
  endpoint: "${http}",
  credentials: { accessKeyId: "${secret ? "THE_ID_OF_THE_KEY" : "any"}", secretAccessKey: "${secret || "any"}" },
});
const { TranscriptResultStream } = await client.send(new StartStreamTranscriptionCommand({
  LanguageCode: "en-US", MediaSampleRateHertz: rate, MediaEncoding: "pcm", AudioStream: audio(),
}));
for await (const { TranscriptEvent } of TranscriptResultStream)
  for (const result of TranscriptEvent.Transcript.Results)
    if (!result.IsPartial) console.log(result.Alternatives[0].Transcript);
client.destroy();
`,
  },
  amazonShell: {
    title: "Amazon's other SDKs",
    code: ({ http, secret }) => `# Programs for Amazon Transcribe need no change: these variables send them here.
export AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=${http}
export AWS_ACCESS_KEY_ID=${secret ? "THE_ID_OF_THE_KEY" : "any"} AWS_SECRET_ACCESS_KEY=${secret || "any"}
export AWS_REGION=us-east-1
# Some need TLS. Then start the server with --tls, and instead:
eval "$(transcribed env)"
`,
  },
};

const OPENAI = {
  title: "OpenAI's SDK for Python",
  code: ({ http, secret }) => `# pip install openai
from openai import OpenAI

client = OpenAI(base_url="${http}/v1", api_key="${secret || "any"}")
with open("talk.wav", "rb") as recording:
    print(client.audio.transcriptions.create(model="whisper-1", file=recording).text)
`,
};
