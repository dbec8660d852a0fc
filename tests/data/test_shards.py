from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unrolled.data import shards
from unrolled.data.configuration import TextConfig
from unrolled.data.shards import Shards, ShardWriter, map_shards, read_shards
from unrolled.data.store import PARTS, SplitSources, TokenStore, prepare
from unrolled.data.streams import StreamPosition, Streams, sequential
from unrolled.errors import DataError

LINES = "".join(f"line {number} of the sea, and {number % 7} gulls\n" for number in range(400))


@given(st.data(), st.integers(1, 40), st.integers(1, 9))
def test_a_view_is_as_the_array(data: st.DataObject, length: int, each: int) -> None:
    whole = np.arange(100, 100 + length)
    view = Shards([whole[at : at + each] for at in range(0, length, each)], 0, length)
    for _ in range(3):  # a view of a view, too
        start, stop = (data.draw(st.none() | st.integers(-length - 2, length + 2)) for _ in range(2))
        whole, found = whole[start:stop], view[start:stop]
        assert len(found) == len(whole)
        np.testing.assert_array_equal(np.asarray(found), whole)
        if not isinstance(found, Shards):
            return
        view = found
        assert [view[at] for at in (0, len(whole) - 1, -1)] == [whole[0], whole[-1], whole[-1]]
        places = data.draw(arrays.arrays(np.int64, (2, 3), elements=st.integers(0, len(whole) - 1)))
        np.testing.assert_array_equal(view[places], whole[places])
        assert view[np.empty((0, 2), np.int64)].shape == (0, 2)
        assert view.tolist() == whole.tolist()


@pytest.mark.parametrize("places", [[-1], [5], [0, 9]])
def test_places_beyond_the_end(places: list[int]) -> None:
    view = Shards([np.arange(3), np.arange(3, 6)], 0, 5)
    with pytest.raises(IndexError, match="of 5 tokens"):
        view[np.array(places)]
    with pytest.raises(ValueError, match="a step of 2"):
        view[::2]


@given(st.lists(st.integers(0, 7), max_size=6))
def test_what_is_written_in_pieces(tmp_path_factory: pytest.TempPathFactory, pieces: list[int]) -> None:
    directory, kind = tmp_path_factory.mktemp("shards"), np.dtype("<u2")
    whole = np.arange(sum(pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 10)  # bytes: five tokens
        with ShardWriter(directory, kind) as writer:
            for piece in np.split(whole, np.cumsum(pieces))[:-1]:
                writer.write(piece)
        assert writer.lengths == [min(5, len(whole) - at) for at in range(0, len(whole), 5)]
        for start, end in ((0, len(whole)), (len(whole) // 3, 2 * len(whole) // 3)):
            found = [np.empty(0), *read_shards(directory, kind, start, end)]
            assert np.concatenate(found).tolist() == whole[start:end].tolist()
    files = sorted(directory.iterdir())
    if files:
        assert map_shards(files, kind, writer.lengths).tolist() == whole.tolist()


def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[TokenStore]:
    """The same text in one shard, and in many."""
    (tmp_path / "a.txt").write_text(LINES)
    (tmp_path / "b.txt").write_text(LINES[:1000])
    found = []
    for bytes_of_shard in (shards.SHARD, 1000):
        monkeypatch.setattr(shards, "SHARD", bytes_of_shard)
        sources = SplitSources.find([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")])
        found.append(prepare(sources, TextConfig(split="70/15/15", **options), cache=tmp_path / str(bytes_of_shard)))
    return found


@pytest.mark.parametrize("unit", ["char", "byte", "word", "subword"])
def test_a_store_in_many_shards(unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = stores(tmp_path, monkeypatch, unit=unit)
    assert (len(one.meta["shards"]), sum(many.meta["shards"])) == (1, one.meta["tokens"])
    assert len(many.meta["shards"]) > 2
    assert set(many.meta["shards"][:-1]) == {1000 // many.tokens.dtype.itemsize}
    drop = {"shards": 0, "seconds": 0}
    assert one.meta | drop == many.meta | drop
    assert one.vocabulary.to_json() == many.vocabulary.to_json()
    for part in PARTS:
        first, second = one.split(part), many.split(part)
        assert first.ids.tolist() == second.ids.tolist()
        assert first.document_starts.tolist() == second.document_starts.tolist()
        if first.hidden is not None and second.hidden is not None:
            assert first.hidden.tolist() == second.hidden.tolist()


@pytest.mark.parametrize("block", [0, 100])
def test_training_reads_the_same(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = (store.split("train") for store in stores(tmp_path, monkeypatch))
    assert isinstance(many.ids, Shards)
    streams = [Streams(tokens, 5, 33, seed=1, shift=True, documents="reset", block=block) for tokens in (one, many)]
    for position in (StreamPosition(0, 0), StreamPosition(1, 7)):
        first, second = (each.batch(position) for each in streams)
        assert (first.x.equal(second.x), first.y.equal(second.y)) == (True, True)
        ours, theirs = (each.stretch(position, 40) for each in streams)
        np.testing.assert_array_equal(ours.x, theirs.x)
    for first, second in zip(sequential(one, 7, 50), sequential(many, 7, 50), strict=True):
        assert (first.x.equal(second.x), first.y.equal(second.y)) == (True, True)


def test_each_shard_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, store = stores(tmp_path, monkeypatch)
    shard = store.directory / "tokens-00003.bin"
    content = shard.read_bytes()
    for damaged, message in (
        (
            b"",
            r"a shard of the token store is empty\n  where: .*tokens-00003.bin\n  expected: 1000 bytes\n  got: 0 bytes",
        ),
        (content[:-1], r"a shard of the token store is damaged\n  where: .*00003.bin\n .*1000 bytes\n  got: 999 bytes"),
        (
            content + b"a",
            r"a shard of the token store is damaged\n  where: .*00003.bin\n .*1000 bytes\n  got: 1001",
        ),
    ):
        shard.write_bytes(damaged)
        with pytest.raises(DataError, match=message):
            TokenStore.open(store.directory)
    shard.unlink()
    with pytest.raises(DataError, match="the token store is damaged"):
        TokenStore.open(store.directory)
    shard.write_bytes(content)
    meta = json.loads((store.directory / "meta.json").read_text())
    lengths = meta["shards"]
    (store.directory / "meta.json").write_text(json.dumps(meta | {"shards": [lengths[0] - 1, 1001, *lengths[2:]]}))
    with pytest.raises(DataError, match="the token store is damaged"):
        TokenStore.open(store.directory)


def test_a_store_of_one_file_that_was_made_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = stores(tmp_path, monkeypatch)
    meta = json.loads((store.directory / "meta.json").read_text()) | {"format": 1}
    del meta["shards"]
    (store.directory / "meta.json").write_text(json.dumps(meta))
    tokens = store.tokens.tolist()
    (store.directory / "tokens-00000.bin").rename(store.directory / "tokens.bin")
    assert TokenStore.open(store.directory).tokens.tolist() == tokens
    sources = SplitSources.find([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")])
    assert prepare(sources, TextConfig(split="70/15/15"), cache=store.directory.parents[1]).directory == store.directory
    assert (store.directory / "tokens.bin").exists()
