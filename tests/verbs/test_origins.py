from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unrolled.data.configuration import TextConfig
from unrolled.data.store import SplitSources, prepare
from unrolled.errors import RunError
from unrolled.verbs.listening import Listener
from unrolled.verbs.origins import describe_store, open_store


def test_an_empty_shard_is_made_again_and_named_where_the_text_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    text = tmp_path / "text.txt"
    text.write_text("the sea and the moon\n" * 20)
    sources = SplitSources.find([str(text)])
    store = prepare(sources, TextConfig())
    run: Any = SimpleNamespace(path=tmp_path / "run", config={"data": describe_store(store, sources)})
    shard = store.directory / "tokens-00000.bin"
    shard.write_bytes(b"")
    again = open_store(run, TextConfig(), store.vocabulary, Listener())
    assert len(again.tokens) == text.stat().st_size
    shard.write_bytes(b"")
    text.unlink()
    with pytest.raises(RunError, match=r"the text of the run .* is gone, and so is the copy") as caught:
        open_store(run, TextConfig(), store.vocabulary, Listener())
    assert f"got: a shard of the token store is empty ({shard})" in str(caught.value)
