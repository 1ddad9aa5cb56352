"""Jobs: an hour of audio, and lists of many kept jobs, over HTTP.

    python bench/jobs.py SPEECH [--only hour|kept] [--jobs 10000]

The hour is derived_longform/train_clean_mix_dev_15min.flac four times, as one WAV file. The kept jobs wait
on a server that runs none; the times are those of a client on the same machine.
"""

import argparse
import io
import statistics
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path

import av
import httpx

from running import machine, running_server

LONG = "derived_longform/train_clean_mix_dev_15min.flac"
TIMES = 4
QUERIES = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--only", choices=["hour", "kept"])
    parser.add_argument("--jobs", type=int, default=10_000)
    given = parser.parse_args()
    print(machine())
    if given.only != "kept":
        _hour(given.speech / LONG)
    if given.only != "hour":
        _kept(given.speech / "test.wav", given.jobs)


def _hour(recording: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        hour = Path(folder) / "hour.wav"
        hour.write_bytes(_repeated(recording))
        with httpx.Client(base_url=server.address, timeout=600) as http:
            job = http.post("/jobs", json={"Recording": server.upload(hour)}).json()["Name"]
            began = time.perf_counter()
            http.get(f"/jobs/{job}/events")
            took = time.perf_counter() - began
            found = http.get(f"/jobs/{job}").json()
        seconds = found["AudioSeconds"]
        print(
            f"{found['Status']}: {seconds:.0f} s of audio in {took:.1f} s, {seconds / took:.1f} x real time"
        )


def _repeated(recording: Path) -> bytes:
    """A recording TIMES times, as WAV."""
    resampler = av.AudioResampler("s16", "mono", 16_000)
    with av.open(str(recording)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    samples = b"".join(frame.to_ndarray().tobytes() for frame in frames)
    with io.BytesIO() as content:
        with wave.open(content, "wb") as target:
            target.setparams((1, 2, 16_000, 0, "NONE", ""))
            for _ in range(TIMES):
                target.writeframes(samples)
        return content.getvalue()


def _kept(recording: Path, count: int) -> None:
    options = ["--jobs", "0", "--most-jobs", str(count), "--model", "tiny"]
    with running_server(options=options) as server, httpx.Client(base_url=server.address) as http:
        name = server.upload(recording)
        began = time.perf_counter()
        for number in range(count):
            http.post("/jobs", json={"Recording": name, "Name": f"job-{number}"}).raise_for_status()
        print(f"submitting: {(time.perf_counter() - began) / count * 1e3:.1f} ms each")
        queries: dict[str, Callable[[int], str]] = {
            "a job": lambda number: f"/jobs/job-{number * 7919 % count}",
            "a page of 50": lambda _: "/jobs",
            "a page of 200": lambda _: "/jobs?limit=200",
            "a page by state": lambda _: "/jobs?status=QUEUED",
            "a page by name": lambda number: f"/jobs?name=b-{number}",
        }
        for what, path in queries.items():
            times = []
            for number in range(QUERIES):
                began = time.perf_counter()
                http.get(path(number)).raise_for_status()
                times.append((time.perf_counter() - began) * 1e3)
            print(
                f"{what}: p50 {statistics.median(times):.1f} ms, p95 {sorted(times)[-QUERIES // 20]:.1f} ms"
            )


if __name__ == "__main__":
    main()
