// Recordings and a live session through the package openai, as its users write it.
//
//     openai.mjs http://localhost:3000/v1 recording.wav         all answers, as one JSON object
//     openai.mjs https://localhost:8443/v1 said.pcm realtime    a line of JSON for each event of the server
//
// What is said live is of 16 bit, mono, 24 kHz.

import { createReadStream, readFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const [url, path, way] = process.argv.slice(2);
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

async function recordings() {
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
}

function live() {
  const audio = readFileSync(path);
  const socket = new OpenAIRealtimeWS({ model: "gpt-realtime" }, client);
  const session = {
    type: "transcription",
    audio: {
      input: {
        format: { type: "audio/pcm", rate: 24000 },
        transcription: { model: "gpt-4o-transcribe", language: "en" },
        turn_detection: { type: "server_vad", silence_duration_ms: 500 },
      },
    },
  };
  socket.on("error", (error) => {
    console.error(error);
    process.exitCode = 1;
    socket.close();
  });
  socket.on("event", (event) => console.log(JSON.stringify(event)));
  socket.on("session.created", () => {
    socket.send({ type: "session.update", session });
    for (let start = 0; start < audio.length; start += 2400) {
      const chunk = audio.subarray(start, start + 2400).toString("base64");
      socket.send({ type: "input_audio_buffer.append", audio: chunk });
    }
  });
  socket.on("conversation.item.done", () => socket.close());
}

await (way === "realtime" ? live() : recordings());
