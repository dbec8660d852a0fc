"""Files of labelled sequences that are no texts: FASTA, pictures, series of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unrolled.data.alphabets import find_alphabet
from unrolled.data.compressed import plain_name
from unrolled.data.fasta import ENDINGS, fasta_stem, is_fasta, read_fasta
from unrolled.data.frames import read_frames
from unrolled.data.images import has_magic, labels_beside, read_pictures
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.labelled_formats import Bad, Format, Item
from unrolled.data.series_configuration import names_of
from unrolled.data.text import Source
from unrolled.errors import ConfigurationError, DataError

__all__ = ["SEQUENCE_FORMATS", "Fasta", "Idx", "Series"]


class Fasta(Format):
    """FASTA: the label is what follows `label=` in the header, else the file's name without its ending."""

    name, about, input = "fasta", "FASTA; the label in the header (label=...) or a file a label", "letters"

    def fits(self, sources: Sequence[Source]) -> bool:
        return all(_ending(source) in ENDINGS and is_fasta(source) for source in sources)

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        if config.alphabet is None:
            raise ConfigurationError(
                "FASTA holds sequences over an alphabet, and it is not said which",
                where=sources[0].name,
                fix="add --alphabet dna, rna or protein",
            )
        alphabet = find_alphabet(config.alphabet)
        for source in sources:
            for record in read_fasta(source, alphabet):
                label = record.field(config.label) or (fasta_stem(source) if labelled else None)
                yield Item(record.codes, label, source, record.line)


class Idx(Format):
    """Pictures as MNIST has them: idx files, with the labels in a file beside."""

    name, about, input = "idx", "idx files of pictures, as those of MNIST, with their labels beside", "pictures"

    def fits(self, sources: Sequence[Source]) -> bool:
        return all(has_magic(source) for source in sources)

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        beside = {labels_beside(source).path for source in sources} if labelled else set()
        for source in sources:
            if source.path in beside:  # named too, which does no harm
                continue
            pictures = read_pictures(source, labels_beside(source) if labelled else None)
            for index, picture in enumerate(pictures.pixels):
                yield Item(picture, None if pictures.labels is None else int(pictures.labels[index]), source, 0)


class Series(Format):
    """Series of vectors: NPZ, .ts, or a table with a row a time step."""

    name, about, input = "series", "series of vectors: NPZ, .ts, or a table with a row a time step", "vectors"

    def fits(self, sources: Sequence[Source]) -> bool:
        return all(_ending(source) in (".npz", ".ts") for source in sources)

    def read(self, sources: Sequence[Source], config: LabelledConfig, bad: Bad, labelled: bool) -> Iterator[Item]:
        features = names_of(config.features)
        for source in sources:
            frames = read_frames(source, series=config.series, label=config.label, features=features, skip=config.time)
            if labelled and not any(frames.labels):
                raise DataError(
                    "the series have no labels",
                    expected=f"y in NPZ, @classLabel true in .ts, a column {config.label!r} in a table",
                    where=source.name,
                    fix="name the column with --label",
                )
            for index in range(len(frames)):
                yield Item(frames.named(index), frames.labels[index] or None, source, frames.lines[index])


SEQUENCE_FORMATS: list[Format] = [Fasta(), Idx(), Series()]
"""All of them."""


def _ending(source: Source) -> str:
    return plain_name(source.name).suffix.lower()
