// One stream of Amazon's SDK, in Node.js or in a browser: what `tell` is told are the lines of the other clients.

import {
  StartStreamTranscriptionCommand,
  TranscribeStreamingServiceException,
} from "@aws-sdk/client-transcribe-streaming";
import * as sdk from "@aws-sdk/client-transcribe-streaming";

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function* chunks(audio, asked, ended) {
  for (let start = 0; start < audio.length; start += asked.chunk) {
    yield { AudioEvent: { AudioChunk: audio.subarray(start, start + asked.chunk) } };
    if (asked.pause) await pause(asked.pause);
  }
  if (asked.hold) await ended;
  else if (asked.wait) {
    // Over a WebSocket the SDK closes when this generator ends: the last words come before, or not at all.
    yield { AudioEvent: { AudioChunk: new Uint8Array(0) } };
    await ended;
  }
}

// The SDK's own class of an error, if it has one.
function typeOf(error) {
  const own = sdk[error.name];
  return own !== undefined && error instanceof own ? error.name : error.constructor.name;
}

export async function stream(client, audio, asked, tell) {
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  try {
    const answer = await client.send(
      new StartStreamTranscriptionCommand({
        LanguageCode: asked.language,
        MediaSampleRateHertz: asked.rate,
        MediaEncoding: "pcm",
        SessionId: asked.session ?? undefined,
        EnablePartialResultsStabilization: true,
        TranscriptFormat: asked.format ?? undefined,
        ...(asked.channels === 2 && { EnableChannelIdentification: true, NumberOfChannels: 2 }),
        AudioStream: chunks(audio, asked, ended),
      }),
    );
    tell({ started: { session: answer.SessionId, rate: answer.MediaSampleRateHertz } });
    for await (const event of answer.TranscriptResultStream) {
      for (const result of event.TranscriptEvent.Transcript.Results) {
        const [alternative] = result.Alternatives;
        tell({
          result: {
            id: result.ResultId,
            partial: result.IsPartial,
            channel: result.ChannelId ?? null,
            text: alternative.Transcript,
            items: alternative.Items.map((item) => item.Content),
          },
        });
      }
    }
    tell({ done: true });
  } catch (error) {
    const typed = error instanceof TranscribeStreamingServiceException;
    if (!typed) console.error(error);
    tell({ error: { type: typeOf(error), code: typed ? error.name : null, text: error.Message ?? error.message } });
  } finally {
    end();
  }
}
