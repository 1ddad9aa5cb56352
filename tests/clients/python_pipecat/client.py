"""A recording through pipecat-ai's services for OpenAI's speech to text, told as lines of JSON.

    client.py http://localhost:3000/v1 recording.wav files|server_vad|local_vad

`files` posts what pipecat's own voice activity detection cuts out, and `local_vad` commits there; with
`server_vad` the server finds the turns. The recording is of 8 or 16 kHz, 16 bit, mono.
"""

import asyncio
import json
import sys
import wave

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.workers.runner import WorkerRunner

URL, PATH, WAY = sys.argv[1:]
TOLD = (
    ErrorFrame,
    InterimTranscriptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
)


class Teller(FrameProcessor):
    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TOLD):
            text = getattr(frame, "text", None) or getattr(frame, "error", None)
            print(json.dumps({"frame": type(frame).__name__, "text": text}), flush=True)
        if isinstance(frame, TranscriptionFrame | ErrorFrame):
            self.heard.set()
        await self.push_frame(frame, direction)


def service() -> FrameProcessor:
    if WAY == "files":
        return OpenAISTTService(base_url=URL, api_key="any")
    return OpenAIRealtimeSTTService(
        base_url=URL.replace("http", "ws", 1) + "/realtime",
        api_key="any",
        turn_detection={"type": "server_vad"} if WAY == "server_vad" else False,
    )


async def main() -> None:
    with wave.open(PATH) as recording:
        rate = recording.getframerate()
        audio = recording.readframes(recording.getnframes()) + bytes(2 * rate)
    teller = Teller()
    vad = [] if WAY == "server_vad" else [VADProcessor(vad_analyzer=SileroVADAnalyzer())]
    worker = PipelineWorker(
        Pipeline([*vad, service(), teller]), params=PipelineParams(audio_in_sample_rate=rate)
    )

    async def speak() -> None:
        size = 2 * (rate // 50)
        for start in range(0, len(audio), size):
            await worker.queue_frame(InputAudioRawFrame(audio[start : start + size], rate, 1))
            await asyncio.sleep(0.02)
        await teller.heard.wait()
        await worker.queue_frame(EndFrame())

    speaking = asyncio.create_task(speak())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    await speaking


logger.remove()
logger.add(sys.stderr, level="WARNING")
asyncio.run(main())
