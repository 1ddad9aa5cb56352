// Stream two pieces of audio with @aws-sdk/client-transcribe-streaming: node javascript_client.mjs h2|ws
// `ws` is what the SDK's build for browsers does.
import { createRequire } from "node:module";
import { StartStreamTranscriptionCommand, TranscribeStreamingClient } from "@aws-sdk/client-transcribe-streaming";

const require = createRequire(import.meta.url);
const webSocket = process.argv[2] === "ws";
const options = {
  region: "eu-west-1",
  // Over a WebSocket the SDK adds the port itself.
  endpoint: webSocket ? "https://localhost" : "https://localhost:8443",
  credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret/of+the=vectors", sessionToken: "a session token" },
};
if (webSocket) {
  globalThis.WebSocket = require("ws").WebSocket;
  options.requestHandler = new (require("@aws-sdk/middleware-websocket").WebSocketFetchHandler)({});
  options.eventStreamPayloadHandlerProvider = () =>
    require("@aws-sdk/middleware-sdk-transcribe-streaming").eventStreamPayloadHandler;
}

async function* audio() {
  for (let count = 0; count < 2; count++) {
    yield { AudioEvent: { AudioChunk: Uint8Array.from({ length: 64 }, (_, sample) => sample) } };
  }
}

const client = new TranscribeStreamingClient(options);
const command = new StartStreamTranscriptionCommand({
  LanguageCode: "en-US", MediaSampleRateHertz: 16000, MediaEncoding: "pcm", AudioStream: audio(),
});
for await (const event of (await client.send(command)).TranscriptResultStream) {
  console.log(JSON.stringify(event));
}
process.exit(0);
