/**
 * Programs to start from, by their titles. `%HTTP%`, `%STREAM%` and `%KEY%` stand for the server's address, that of
 * its WebSocket, and the access key; `«with|without»` for what depends on whether there is a key.
 */
export const SNIPPETS = {
  "wscat: type the name of a recording": "npx wscat «-H 'Authorization: Bearer %KEY%' |»-c '%STREAM%'",

  "curl: upload, search, download": `curl «-H 'Authorization: Bearer %KEY%' |»-F file=@talk.wav %HTTP%/audio
curl «-H 'Authorization: Bearer %KEY%' |»%HTTP%/audio
curl «-H 'Authorization: Bearer %KEY%' |»'%HTTP%/transcripts?q=hello'
curl «-H 'Authorization: Bearer %KEY%' |»%HTTP%/transcripts/ID.srt
`,

  "Python: stream a WAV file": `# pip install websockets; python captions.py talk.wav
import json
import sys
from websockets.sync.client import connect

with open(sys.argv[1], "rb") as audio, connect(
    "%STREAM%",
    additional_headers={«"Authorization": "Bearer %KEY%"|»},
) as ws:
    while chunk := audio.read(65536):
        ws.send(chunk)
    ws.send(b"")
    for message in map(json.loads, ws):
        if "Transcript" not in message:
            print(message)
            break
        for result in message["Transcript"]["Results"]:
            if not result["IsPartial"]:
                print(result["Alternatives"][0]["Transcript"])
`,

  "JavaScript: stream a WAV file": `// Node.js 22 or newer: node captions.mjs talk.wav
import { createReadStream } from "node:fs";

const ws = new WebSocket("%STREAM%", «["transcribed", "transcribed.bearer.%KEY%"]|[]»);
ws.onopen = async () => {
  for await (const chunk of createReadStream(process.argv[2])) ws.send(chunk);
  ws.send(new Uint8Array(0));
};
ws.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  for (const result of message.Transcript?.Results ?? [])
    if (!result.IsPartial) console.log(result.Alternatives[0].Transcript);
  if (message.Done || message.Error) ws.close();
};
`,

  "Amazon's SDK for JavaScript": `// npm install @aws-sdk/client-transcribe-streaming
import { readFileSync } from "node:fs";
import { StartStreamTranscriptionCommand, TranscribeStreamingClient } from "@aws-sdk/client-transcribe-streaming";

const recording = readFileSync(process.argv[2]); // WAV, of 16 bit and one channel
async function* audio() {
  for (let at = 0; at < recording.length; at += 8192)
    yield { AudioEvent: { AudioChunk: recording.subarray(at, at + 8192) } };
}
const client = new TranscribeStreamingClient({
  region: "us-east-1",
  endpoint: "%HTTP%",
  credentials: { accessKeyId: "«ID_OF_THE_KEY|any»", secretAccessKey: "«%KEY%|any»" },
});
const { TranscriptResultStream } = await client.send(new StartStreamTranscriptionCommand({
  LanguageCode: "en-US", MediaSampleRateHertz: recording.readUInt32LE(24), MediaEncoding: "pcm", AudioStream: audio(),
}));
for await (const { TranscriptEvent } of TranscriptResultStream)
  for (const result of TranscriptEvent.Transcript.Results)
    if (!result.IsPartial) console.log(result.Alternatives[0].Transcript);
client.destroy();
`,

  "Amazon's other SDKs": `# Programs for Amazon Transcribe need no change: these variables send them here.
export AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=%HTTP%
export AWS_ACCESS_KEY_ID=«ID_OF_THE_KEY|any» AWS_SECRET_ACCESS_KEY=«%KEY%|any»
export AWS_REGION=us-east-1
# Some need TLS. Then start the server with --tls, and set its address by:
eval "$(transcribed env)"
`,

  "OpenAI's SDK for Python": `# pip install openai
from openai import OpenAI

client = OpenAI(base_url="%HTTP%/v1", api_key="«%KEY%|none»")
with open("talk.wav", "rb") as recording:
    print(client.audio.transcriptions.create(model="whisper-1", file=recording).text)
`,

  "OpenAI's SDK for JavaScript": `// npm install openai
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "%HTTP%/v1", apiKey: "«%KEY%|none»" });
const { text } = await client.audio.transcriptions.create({ model: "whisper-1", file: createReadStream("talk.wav") });
console.log(text);
`,

  "curl: transcribe as with OpenAI": `curl «-H 'Authorization: Bearer %KEY%' |»-F file=@talk.wav -F model=whisper-1 %HTTP%/v1/audio/transcriptions
`,
};
