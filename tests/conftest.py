"""What every test shares: real data where there is any, one thread, a cache of its own, and how Hypothesis draws."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# A slow moment of the machine is no failure. On a server the examples are the same each time.
hypothesis.settings.register_profile("unrolled", deadline=None)
hypothesis.settings.register_profile("unrolled-ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("unrolled-ci" if os.environ.get("CI") else "unrolled")


@pytest.fixture(scope="session", autouse=True)
def threads() -> int:
    """The number of threads PyTorch uses: `$UNROLLED_TEST_THREADS`, 1 if not set, PyTorch's own choice if 0."""
    import torch

    chosen = int(os.environ.get("UNROLLED_TEST_THREADS", "1"))
    if chosen:
        torch.set_num_threads(chosen)
    return torch.get_num_threads()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache directory of the test run's own, so that no test finds or leaves anything in the user's."""
    path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_CACHE", str(path))
        yield path


@pytest.fixture(scope="session")
def data_directory() -> Callable[[str], Path]:
    """A function from the name of a data set to its directory in `$UNROLLED_DATA`; the test is skipped without it."""

    def find(name: str) -> Path:
        root = os.environ.get("UNROLLED_DATA")
        if not root:
            pytest.skip("wants real data: UNROLLED_DATA does not name a directory of it")
        path = Path(root) / name
        if not path.is_dir():
            pytest.skip(f"wants real data: there is no {path}")
        return path

    return find
