"""Preparation of a text of subwords: from files to the files of a token store.

As with words, the text is read once, and its segments are written as numbers; the pairs are then learnt from the
training part as these numbers tell it, and each different segment is cut into subwords once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unrolled.data.configuration import TextConfig
from unrolled.data.numbering import count_numbers, expand, number_runs, numbers_in, pieces_of
from unrolled.data.preparation import Parts, Progress, Written, check_unchanged, splits_of, type_for
from unrolled.data.shards import ShardWriter
from unrolled.data.subwords import SUBWORDS, Subwords, learn
from unrolled.errors import DataError

__all__ = ["write_subwords"]

_LEARNT_FROM = 5_000_000  # segments of the training part that the pairs are learnt from: some 25 MB
_AT_ONCE = 1 << 16


def write_subwords(
    directory: Path, parts: Parts, config: TextConfig, progress: Progress, processes: int | None = None
) -> Written:
    """Write the shards of a text of subwords.

    Memory grows with the number of different segments, some 300 bytes each, and not with the text.

    Raises:
        DataError: see `store.prepare`.
        ConfigurationError: the library `tokenizers` is not there.
    """
    scratch = directory / "subwords.tmp"
    runs, lengths, digests = number_runs(scratch, parts, config, progress, processes)
    check_unchanged([source for _, source in parts], True)
    if not runs:
        raise DataError("no subword is left for the vocabulary", got="an empty text")
    size = config.vocabulary_size or SUBWORDS
    texts = _training_text(scratch, runs, splits_of(parts, lengths, config)["train"])
    contents, pairs = learn(texts, size, config.min_count)
    first = Subwords.arrange(contents, pairs, np.zeros(len(contents), np.int64))[0]
    cut = [ids for at in range(0, len(runs), _AT_ONCE) for ids in first.cut_all(runs[at : at + _AT_ONCE])]
    del runs
    lengths = expand(scratch, cut, lengths)
    splits = splits_of(parts, lengths, config)
    counts = {part: count_numbers(scratch, *splits[part], first.size) for part in splits}
    vocabulary, new = Subwords.arrange(contents, pairs, counts["train"])
    ids = new.astype(type_for(vocabulary.size))
    done, total, whole = 0, sum(lengths), sum(source.size for _, source in parts)
    with ShardWriter(directory, ids.dtype) as writer, numbers_in(scratch) as numbers:
        for at in pieces_of(0, total):
            writer.write(ids[numbers(at.start, at.stop)])
            done += at.stop - at.start
            progress(whole * done // total, whole, "encoding")
    scratch.unlink()
    begins = first.symbol_characters
    characters = {part: int(counts[part] @ begins) for part in splits}
    return Written(vocabulary, lengths, digests, splits, characters, writer.lengths)


def _training_text(scratch: Path, runs: list[str], part: tuple[int, int]) -> Iterator[str]:
    """The text of the training part, or pieces that are spread evenly over it where it is long."""
    start, end = part
    share = min(1.0, _LEARNT_FROM / max(end - start, 1))
    with numbers_in(scratch) as numbers:
        for at in pieces_of(start, end, _AT_ONCE):
            kept = max(1, round((at.stop - at.start) * share))
            yield "".join([runs[number] for number in numbers(at.start, at.start + kept).tolist()])
