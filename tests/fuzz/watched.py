"""Runs a Python script with its arguments; on SIGUSR1 it writes what is in it to standard error, as JSON.

Of all objects whose class is this project's their number, and asyncio's tasks.
"""

import asyncio
import gc
import json
import runpy
import signal
import sys
from collections import Counter

MARK = "What is there: "


def show(*_: object) -> None:
    gc.unfreeze()  # The server freezes what it has after its start.
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    found = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    objects = {name: count for name, count in found.items() if name.startswith("transcribed.")}
    print(MARK + json.dumps(objects | {"tasks": len(asyncio.all_tasks())}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, show)
    sys.argv.pop(0)
    runpy.run_path(sys.argv[0], run_name="__main__")
