// Recordings through the package openai: each way to ask for one, all answers as one JSON object.
//
//     openai.mjs http://localhost:3000/v1 recording.wav

import { createReadStream, readFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";

const [url, path] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "any", maxRetries: 0 });
const transcribe = (options) =>
  client.audio.transcriptions.create({ file: createReadStream(path), model: "gpt-4o-transcribe", ...options });

async function refused(asked) {
  try {
    await asked;
  } catch (error) {
    const { status, type, code, param } = error;
    return { class: error.constructor.name, status, type, code, param };
  }
}

const answers = { transcriptions: {}, stream: [], models: [] };
for (const format of ["json", "text", "srt", "vtt", "verbose_json"])
  answers.transcriptions[format] = await transcribe({ response_format: format });
answers.words = await transcribe({
  response_format: "verbose_json",
  timestamp_granularities: ["word"],
  chunking_strategy: { type: "server_vad", silence_duration_ms: 500 },
  language: "en",
});
answers.logprobs = await transcribe({ include: ["logprobs"] });
answers.buffer = await client.audio.transcriptions.create({
  file: await toFile(readFileSync(path), "audio.webm"),
  model: "whisper-1",
});
answers.translation = await client.audio.translations.create({
  file: createReadStream(path),
  model: "whisper-1",
});
for await (const event of await transcribe({ stream: true })) answers.stream.push(event);
for await (const model of client.models.list()) answers.models.push(model);
answers.refused = {
  model: await refused(client.models.retrieve("no-such-model")),
  language: await refused(transcribe({ language: "tlh" })),
};
console.log(JSON.stringify(answers));
