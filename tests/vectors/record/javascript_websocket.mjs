// Print what @aws-sdk/client-transcribe-streaming asks over a WebSocket, and when it is what it sends, as JSON.
// It is the SDK's build for browsers; in place of the WebSocket there is one that writes down, and the clock stands.
import { createRequire } from "node:module";
import { LanguageCode, StartStreamTranscriptionCommand, TranscribeStreamingClient } from "@aws-sdk/client-transcribe-streaming";

const require = createRequire(import.meta.url);
const { version } = require("@aws-sdk/client-transcribe-streaming/package.json");
const NOW = Date.parse("2026-11-25T09:00:00Z");
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) { super(...(given.length ? given : [NOW])); }
  static now() { return NOW; }
};

let recorded;
globalThis.WebSocket = class {
  static CLOSING = 2;
  static CLOSED = 3;
  readyState = 1;
  constructor(url) {
    recorded = { url, messages: [] };
    setImmediate(() => this.onopen());
  }
  send(message) { recorded.messages.push(Buffer.from(message).toString("hex")); }
  close() { this.readyState = 3; setImmediate(() => this.onclose()); }
};

const PCM = { LanguageCode: "en-US", MediaSampleRateHertz: 16000, MediaEncoding: "pcm" };
const CASES = {
  "the least": { token: true, input: PCM },
  "no session token": { input: PCM },
  "at an endpoint": { endpoint: "https://localhost", input: PCM },
  "settled words": {
    input: { ...PCM, EnablePartialResultsStabilization: true, PartialResultsStability: "high", ShowSpeakerLabel: true },
  },
  "words and filters": {
    input: { ...PCM, VocabularyName: "our.words", VocabularyFilterName: "bad-words_1", VocabularyFilterMethod: "tag", LanguageModelName: "m" },
  },
  "personal data": {
    input: { ...PCM, ContentRedactionType: "PII", PiiEntityTypes: "NAME,ADDRESS, PIN" },
  },
  "which language": {
    input: {
      MediaSampleRateHertz: 16000, MediaEncoding: "pcm", IdentifyLanguage: true, LanguageOptions: "en-US,de-DE",
      PreferredLanguage: "de-DE", VocabularyNames: "a,b",
    },
  },
};

async function* audio() {
  yield { AudioEvent: { AudioChunk: Uint8Array.from({ length: 64 }, (_, sample) => sample) } };
  yield { AudioEvent: { AudioChunk: new Uint8Array() } };
}

const cases = {};
for (const [name, { endpoint, token, input }] of Object.entries(CASES)) {
  const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret/of+the=vectors" };
  if (token) credentials.sessionToken = "a session/token+of=the vectors";
  const client = new TranscribeStreamingClient({
    region: "eu-west-1",
    ...(endpoint && { endpoint }),
    credentials,
    requestHandler: new (require("@aws-sdk/middleware-websocket").WebSocketFetchHandler)({}),
    eventStreamPayloadHandlerProvider: () => require("@aws-sdk/middleware-sdk-transcribe-streaming").eventStreamPayloadHandler,
  });
  const answer = await client.send(new StartStreamTranscriptionCommand({ ...input, AudioStream: audio() }));
  for await (const event of answer.TranscriptResultStream) console.error(event);
  cases[name] = recorded;
}
console.log(JSON.stringify({
  package: `@aws-sdk/client-transcribe-streaming ${version}`, languages: Object.values(LanguageCode), cases,
}, null, 1));
process.exit(0);
