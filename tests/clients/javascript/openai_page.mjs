// What a page does that transcribes with the package openai: `transcribe` commits a second of audio.

import OpenAI from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";

window.transcribe = (baseURL, apiKey) =>
  new Promise((resolve, reject) => {
    const client = new OpenAI({ baseURL, apiKey, dangerouslyAllowBrowser: true });
    const connection = new OpenAIRealtimeWebSocket({ model: "gpt-realtime", dangerouslyAllowBrowser: true }, client);
    connection.on("error", reject);
    connection.on("session.created", () => {
      const audio = btoa(String.fromCharCode(...new Uint8Array(48000)));
      connection.send({ type: "input_audio_buffer.append", audio });
      connection.send({ type: "input_audio_buffer.commit" });
    });
    connection.on("conversation.item.input_audio_transcription.completed", ({ transcript }) => {
      connection.close();
      resolve(transcript);
    });
  });
