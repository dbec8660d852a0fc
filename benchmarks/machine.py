"""Which machine it was: enough to know whether two results can be compared, and nothing that names its owner."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from contextlib import suppress
from pathlib import Path

from benchmarks.runner import available_cores

__all__ = ["describe", "slug"]

_PACKAGES = ("unrolled", "torch", "numpy", "numba", "llvmlite", "scipy", "jax", "jaxlib", "onnx", "onnxruntime")


def describe() -> dict[str, object]:
    """Processor, cores, caches, system, versions."""
    return {
        "processor": _processor(),
        "cores": len(available_cores()),
        "caches": _caches(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _versions(),
    }


def slug(machine: dict[str, object]) -> str:
    """A name for a file."""
    words = re.sub(r"\((R|TM)\)|CPU|@.*", " ", str(machine["processor"]))
    return re.sub(r"[^a-z0-9]+", "-", f"{words} {machine['cores']} cores".lower()).strip("-")


def _processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
        if facts.get("model name"):
            return facts["model name"]
    return platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    """The size of every cache level of the first core."""
    found: dict[str, str] = {}
    for directory in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with suppress(OSError):
            level, kind, size = (directory.joinpath(name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                found[f"L{level}"] = size
    return found


def _memory() -> float | None:
    with suppress(OSError, ValueError, IndexError):
        return round(int(Path("/proc/meminfo").read_text().split()[1]) / 1e6, 1)
    return None


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
