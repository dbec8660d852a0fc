"""A text larger than the memory: prepared, read and trained on with the process's memory capped by a control group.

    python -m benchmarks.memory_cap --megabytes 1000 --cap 400

The text is a file repeated. Each step is a process of its own: preparing; a whole pass of the batches' tokens, without
a network; training for some seconds. They run with the cap, and training without it too, and on a text of 10 MB. What
the text left in the page cache is dropped before each. Where memory cannot be capped, that is said and nothing is
measured: it needs a control group that this user may make (version 1 or 2), or systemd-run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Cap", "main"]

_SMALL = 10  # megabytes
_ROOT = Path("/sys/fs/cgroup")
_STEPS = {"batch": 32, "length": 64, "hidden_size": 128, "layers": 1, "precision": "float32", "learning_rate": 0.005}


class Cap:
    """A limit of so many bytes on the memory of a process and what it starts, page cache included.

    Raises:
        OSError: there is no way to set one here.
    """

    def __init__(self, limit: int) -> None:
        name = f"unrolled-{os.getpid()}"
        if (_ROOT / "memory").is_dir():
            self._group = _ROOT / "memory" / name
            names = ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt")
        elif (_ROOT / "cgroup.controllers").exists():
            self._group = _ROOT / name
            names = ("memory.max", "memory.peak", "memory.events")
        else:
            raise OSError("there are no control groups")
        self._files = dict(zip(("limit", "peak", "hit"), names, strict=True))
        self._group.mkdir()
        (self._group / self._files["limit"]).write_text(str(limit))

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs another under the limit."""
        return ["sh", "-c", f'echo $$ > {self._group}/cgroup.procs && exec "$@"', "sh", *command]

    def close(self) -> dict[str, int]:
        """Remove it; how much memory was used at most, page cache included, and how often the limit was met."""
        peak = int((self._group / self._files["peak"]).read_text())
        text = (self._group / self._files["hit"]).read_text().split()
        hit = int(text[text.index("max") + 1] if "max" in text else text[0])
        for _ in range(50):  # the last process may be on its way out
            try:
                self._group.rmdir()
                break
            except OSError:
                time.sleep(0.1)
        return {"peak": peak, "hit": hit}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one JSON object a step: 0 done, 1 a step failed, 2 memory cannot be capped here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory_cap", description=sys.modules[__name__].__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="of the text (1000)")
    parser.add_argument("--cap", type=int, default=400, help="megabytes of memory (400)")
    parser.add_argument("--seconds", type=float, default=20, help="of each training (20)")
    parser.add_argument("--unit", default="char", choices=("char", "byte", "word", "subword"))
    parser.add_argument("--source", type=Path, default=Path(os.__file__).parent / "typing.py", help="a file to repeat")
    parser.add_argument("--quick", action="store_true", help="only the trainings with the cap and without")
    parser.add_argument("--within", type=Path, help="where text and store are put; a temporary directory")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        print(json.dumps(_step(*options.step)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.within) as name:
        return _measure(Path(name), options)


def _measure(directory: Path, options: argparse.Namespace) -> int:
    cap, texts = options.cap * 10**6, {"large": options.megabytes, "small": _SMALL}
    for kind, megabytes in texts.items():
        _repeat(options.source.read_bytes(), megabytes * 10**6, directory / f"{kind}.txt")
    steps = [("prepare", "large", cap), ("read", "large", cap), ("prepare", "small", 0)]
    steps += [("train", *each) for each in (("large", cap), ("large", 0), ("small", 0), ("large", cap))]
    if options.quick:
        steps = [("prepare", "large", cap), ("train", "large", cap), ("train", "large", 0)]
    for step, kind, limit in steps:
        _drop(directory)
        try:
            held = Cap(limit) if limit else None
        except OSError as error:
            print(f"memory cannot be capped here: {error}; run it as root, or in systemd-run -p MemoryMax=...")
            return 2
        command = [sys.executable, "-m", "benchmarks.memory_cap", "--step", step, f"{directory / kind}.txt"]
        command += [options.unit, str(options.seconds)]
        began = time.perf_counter()
        done = subprocess.run(held.command(command) if held else command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        more = held.close() if held else {}
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            print(f"{step} of {kind}: exit status {done.returncode} (-9: out of memory)", file=sys.stderr)
            return 1
        facts = json.loads(done.stdout.splitlines()[-1])
        row = {
            "step": step,
            "megabytes": texts[kind],
            "cap": limit or None,
            "seconds": round(seconds, 1),
            **facts,
            **more,
        }
        print(json.dumps(row), flush=True)
    return 0


def _step(step: str, path: str, unit: str, seconds: str) -> dict[str, Any]:
    """One step, in this process."""
    from unrolled.data.configuration import TextConfig
    from unrolled.data.store import SplitSources, prepare

    config: Any = TextConfig(unit=unit, split="100/0/0")  # type: ignore[arg-type]
    sources, cache = SplitSources.find([path]), Path(path).parent / "cache"
    began = time.perf_counter()
    store = prepare(sources, config, cache=cache, processes=1)
    passed = time.perf_counter() - began
    if step == "prepare":
        megabytes = sources.text[0].size / 1e6
        return {"tokens": len(store.tokens), "megabytes_per_second": round(megabytes / passed, 1), **_memory()}
    if step == "read":
        return _read(store.split("train"))
    return _train(path, unit, float(seconds), cache)


def _read(tokens: Any) -> dict[str, Any]:
    """A whole pass of all batches, each touched."""
    from unrolled.data.streams import StreamPosition, Streams

    streams = Streams(tokens, 32, 1024, seed=0, shift=False)
    position, began, total = StreamPosition(), time.perf_counter(), 0
    while not position.epoch:
        found = streams.stretch(position, min(8, streams.chunks_per_epoch(0) - position.chunk))
        position, total = found.next, total + found.y.size
        assert found.y.max() >= 0
    return {"tokens": total, "tokens_per_second": round(total / (time.perf_counter() - began)), **_memory()}


def _train(path: str, unit: str, seconds: float, cache: Path) -> dict[str, Any]:
    os.environ["UNROLLED_CACHE"] = str(cache)
    import unrolled

    run = Path(tempfile.mkdtemp(dir=cache)) / "run"
    options = {**_STEPS, "minutes": seconds / 60, "dropout": 0.0, "sample_every": 0, "threads": 1}
    options |= {"unit": unit, "split": "100/0/0"}
    unrolled.train_lm([path], run=run, **options)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    speeds = [row["targets_per_second"] for row in rows if "targets_per_second" in row]
    shutil.rmtree(run.parent)
    return {"targets_per_second": round(statistics.median(speeds)), "updates": rows[-1]["step"], **_memory()}


def _memory() -> dict[str, int]:
    """Peak memory of this process, and how much of what it holds is its own and not mapped files, in megabytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) // 1000 for name, key in (("peak_mb", "VmHWM"), ("own_mb", "RssAnon"))}


def _repeat(content: bytes, size: int, path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(-(-size // len(content))):
            file.write(content)


def _drop(directory: Path) -> None:
    """Put the files of a directory out of the page cache, which no limit would count for them there."""
    for path in directory.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
