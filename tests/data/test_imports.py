from __future__ import annotations

import subprocess
import sys

import pytest

from unrolled import data


@pytest.mark.parametrize("module", ["configuration", "vocabulary", "text", "store", "standard_library"])
def test_everything_but_streams_does_without_torch(module: str) -> None:
    code = f"import sys, unrolled.data.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_room_hands_out_all_its_names() -> None:
    assert [name for name in data.__all__ if not hasattr(data, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = data.nothing
