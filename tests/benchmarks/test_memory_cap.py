"""A limit on memory that holds; needs control groups that this user may make."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.memory_cap import Cap


@pytest.fixture
def cap() -> Cap:
    try:
        return Cap(60_000_000)
    except OSError as error:
        pytest.skip(f"no control groups: {error}")


@pytest.mark.parametrize(("megabytes", "ends"), [(1, True), (200, False)])
def test_a_process_ends_where_it_needs_more(cap: Cap, megabytes: int, ends: bool) -> None:
    command = cap.command([sys.executable, "-c", f"print(len(b'x' * ({megabytes} << 20)))"])
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        found = cap.close()
    assert (done.returncode == 0) == ends
    assert bool(done.stdout) == ends
    assert (found["peak"] >= 59_000_000) != ends
