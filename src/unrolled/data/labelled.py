"""Labelled examples: read from files of any format, each with the file and the line it comes from."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from unrolled.data.alphabets import find_alphabet
from unrolled.data.labelled_configuration import LabelledConfig, Target
from unrolled.data.labelled_formats import Format, Item, all_formats, find_format
from unrolled.data.preparation import Progress
from unrolled.data.store import Part
from unrolled.data.tables import table_format
from unrolled.data.text import Source
from unrolled.data.vocabulary import IntArray
from unrolled.errors import DataError, nearest

__all__ = [
    "Labelled",
    "duplicates",
    "find_labels",
    "known_labels",
    "left_out",
    "read_label",
    "read_labelled",
    "read_unlabelled",
    "unread_files",
]


@dataclass(eq=False)
class Labelled:
    """n examples as they were read.

    Attributes:
        inputs: of each what is to be labelled: a text; of other formats what they say.
        labels: of each its label: a string, a tuple of strings (target labels), a number (target number), or None where
            none is given.
        sources: the files.
        files: of each the number of its file.
        lines: of each the line it begins in, from 1; 0 where it is the whole file.
        skipped: what was left out of all that was read together, by the reason.
    """

    inputs: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.inputs)

    def where(self, index: int) -> str:
        """File and line of an example, for messages."""
        return _where(self.sources[self.files[index]], self.lines[index])

    def select(self, rows: Sequence[int] | IntArray) -> Labelled:
        """Some of them, in a new order."""
        numbers = np.asarray(rows, np.int64).tolist()

        def picked(values: list[Any]) -> list[Any]:
            return [values[number] for number in numbers]

        return Labelled(
            picked(self.inputs), picked(self.labels), self.sources, picked(self.files), picked(self.lines), self.skipped
        )

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of inputs and labels in their order: examples with the same train the same model."""
        digest = hashlib.sha256()
        for value, label in zip(self.inputs, self.labels, strict=True):
            if isinstance(value, np.ndarray):
                digest.update(f"{value.dtype.str}{value.shape}".encode())
                digest.update(np.ascontiguousarray(value).data)
                value = ""
            digest.update(json.dumps([value, label]).encode())
        return digest.hexdigest()


def read_labelled(
    sources: Sequence[Source],
    config: LabelledConfig,
    kind: Format | None = None,
    *,
    labelled: bool = True,
    told: Progress | None = None,
) -> Labelled:
    """Read examples.

    White space at both ends of a text is left out, and so are empty lines of the formats that have a line each. Numbers
    that stand for a text are read as they are written.

    Args:
        sources: the files.
        config: how they are read.
        kind: their format; by `config` if not given.
        labelled: whether an example without a label, or without a text, is an error; else both are kept.
        told: is told of progress: files done, of how many, what.

    Raises:
        DataError: no example; a row that is malformed, has no text or no label (unless `config.bad_rows` is "skip"); a
            column that is not there; with file and line.
    """
    kind = kind or find_format(sources, config)
    found = Labelled(sources=list(sources))
    stop = config.bad_rows == "stop" or not labelled

    def bad(error: DataError, reason: str = "malformed") -> None:
        if stop:
            raise error
        found.skipped[reason] += 1

    numbers = {source.path: number for number, source in enumerate(found.sources)}
    done, total = 0, sum(source.size for source in sources)
    last: Source | None = None
    for item in kind.read(found.sources, config, bad, labelled):
        if told is not None and item.source is not last:
            done, last = done + (0 if last is None else last.size), item.source
            told(done, total, "reading")
        try:
            value = _read_input(item) if labelled else _read_any(item)
            label = _read_given(item, config, labelled)
            if config.alphabet is not None and isinstance(value, str):
                value = _read_letters(value, config.alphabet, item)
        except _Missing as missing:
            bad(missing.error, missing.reason)
            continue
        found.inputs.append(value)
        found.labels.append(label)
        found.files.append(numbers[item.source.path])
        found.lines.append(item.line)
    if not found.inputs:
        skipped = sum(found.skipped.values())
        raise DataError(
            "there are no examples",
            expected=f"at least one; read as {kind.name}: {kind.about}",
            got=f"{skipped} rows, all left out" if skipped else "nothing",
            where=", ".join(source.name for source in sources[:3]),
            fix="check the file, or say its --format",
        )
    return found


def read_unlabelled(
    sources: Sequence[Source], config: LabelledConfig, form: str | None = None
) -> Iterator[tuple[dict[str, Any], Any]]:
    """What is to be labelled, each with where it stands: `line`, `file` where there are several or it is the whole
    file, and the label that it is `given` in the file, where there is one.

    Args:
        sources: the files.
        config: of the run, for the names of columns and how text is read.
        form: see `data.labelled_formats`; if not given, a table is known by its name, several files are an example
            each, and everything else has a line an example.

    Raises:
        DataError: a file is not as its format says, with file and line.
        ConfigurationError: there is no such format.
    """
    if form is None:
        form = next((kind.name for kind in all_formats() if kind.input != "text" and kind.suits(sources, config)), None)
    if form is None:
        tables = all(table_format(source) is not None for source in sources)
        form = "table" if tables else "lines" if len(sources) == 1 else "folders"
    reading = replace(config, format=form)
    found = read_labelled(sources, reading, find_format(sources, reading), labelled=False)
    for at, value in enumerate(found.inputs):
        place: dict[str, Any] = {}
        if len(sources) > 1 or not found.lines[at]:
            place["file"] = found.sources[found.files[at]].name
        if found.lines[at]:
            place["line"] = found.lines[at]
        if found.labels[at] not in (None, ()):
            place["given"] = found.labels[at]
        yield place, value


class _Missing(Exception):
    """An example without a text or a label."""

    def __init__(self, reason: str, error: DataError) -> None:
        self.reason, self.error = reason, error


def _read_input(item: Item) -> Any:
    value = item.input
    if isinstance(value, str):
        value = value.strip()
        if value:
            return value
    elif isinstance(value, np.ndarray):
        if len(value):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return json.dumps(value)
    elif value is not None:
        problem = "the text is not a text"
        error = DataError(problem, expected="a string", got=_shown(value), where=item.where, fix=_SKIP)
        raise _Missing("no text", error)
    raise _Missing("empty", DataError("the example is empty", expected="a text", where=item.where, fix=_SKIP))


def _read_letters(text: str, alphabet: str, item: Item) -> Any:
    """The numbers of the letters of a sequence; see `data.alphabets`."""
    try:
        codes = find_alphabet(alphabet).encode(text, item.where)
        if not len(codes):
            raise DataError("the sequence has no letter", where=item.where, fix=_SKIP)
    except DataError as error:
        raise _Missing("a letter outside the alphabet", error) from None
    return codes


def _read_any(item: Item) -> Any:
    """What there is to predict, an empty text where there is nothing."""
    try:
        return _read_input(item)
    except _Missing as missing:
        if missing.reason == "empty":
            return ""
        raise


def _read_given(item: Item, config: LabelledConfig, labelled: bool) -> Any:
    try:
        return read_label(item.label, config.target, config.separator, item.where)
    except DataError as error:
        if not labelled:
            return None  # what a file to predict says besides is not asked for
        raise _Missing("no label", error) from None


_SKIP = "correct or remove it, or leave out all such rows with --bad-rows skip"


def read_label(value: Any, target: Target, separator: str, where: str) -> Any:
    """A label as it is kept, from a field of a table or a JSON value.

    A whole number, true and false are labels as they are written in JSON, so that 1 and "1" are the same; 1.0, as
    tables with gaps have it, is 1.

    >>> read_label(1, "class", ",", "a.jsonl, line 1"), read_label(" b, a ", "labels", ",", "a.csv, line 2")
    ('1', ('a', 'b'))

    Raises:
        DataError: there is none, or it is of another type.
    """
    if target == "number":
        return _number(value, where)
    if target == "labels":
        if value is None or isinstance(value, str):
            parts = (value or "").split(separator)
        else:
            parts = value if isinstance(value, list) else [value]
        names = {_name(part, where) for part in parts if not (isinstance(part, str) and not part.strip())}
        return tuple(sorted(names))
    return _name(value, where)


def _name(value: Any, where: str) -> str:
    """The label that a value stands for."""
    if isinstance(value, str):
        value = value.strip()
        if value:
            return str(value)
        value = None
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float):
        if value.is_integer():
            return str(int(value))
        if not math.isnan(value):
            problem = "a label is a number with a fraction"
            fix = "--target number, to predict numbers"
            raise DataError(problem, expected="the name of a label", got=repr(value), where=where, fix=fix)
        value = None
    if value is None:
        raise DataError("the label is missing", where=where, fix=_SKIP)
    fix = "--target labels, for several labels at once" if isinstance(value, list) else _SKIP
    raise DataError("the label is no label", expected="a string or a number", got=_shown(value), where=where, fix=fix)


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except (ValueError, OverflowError):
        if value is None or value == "":
            raise DataError("the number is missing", where=where, fix=_SKIP) from None
        raise DataError(
            "the label is not a number", expected="a finite number", got=_shown(value), where=where, fix=_SKIP
        ) from None
    return number


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def _where(source: Source, line: int) -> str:
    return f"{source.name}, line {line}" if line else source.name


def find_labels(train: Labelled, config: LabelledConfig) -> list[str]:
    """The labels of a training part, sorted, whole numbers by their size.

    Raises:
        DataError: there is one only, so that there is nothing to tell apart.
    """
    labels = sorted({name for label in train.labels for name in _names(label, config)}, key=_order)
    if len(labels) < (1 if config.target == "labels" else 2):
        raise DataError(
            "the training part has one label only" if labels else "the training part has no label",
            expected="at least two labels, or there is nothing to tell apart" if labels else "at least one label",
            got=", ".join(map(repr, labels)) or None,
            where=train.where(0),
            fix="check --label, and the files",
        )
    return labels


def known_labels(parts: Mapping[Part, Labelled], labels: Sequence[str], config: LabelledConfig) -> dict[Part, Labelled]:
    """The parts without examples that have a label which is none of `labels`.

    Raises:
        DataError: there is one, and `config.bad_rows` is not "skip".
    """
    known, kept = set(labels), dict(parts)
    for part, examples in parts.items():
        strange = [at for at, label in enumerate(examples.labels) if not known.issuperset(_names(label, config))]
        if strange and config.bad_rows == "stop":
            name = next(name for name in _names(examples.labels[strange[0]], config) if name not in known)
            raise DataError(
                f"the label {name!r} is none that the model is trained on",
                expected="labels of the training part",
                got=f"{len(strange)} such examples in the {part} part",
                where=examples.where(strange[0]),
                fix=f"{nearest(name, labels)} Or leave out all such rows with --bad-rows skip",
            )
        if strange:
            kept[part] = examples.select(np.delete(np.arange(len(examples)), strange))
            examples.skipped["unknown label"] += len(strange)  # which the selection shares
    return kept


def _names(label: Any, config: LabelledConfig) -> tuple[str, ...]:
    found: tuple[str, ...] = label if config.target == "labels" else (label,)
    return found


def left_out(parts: Mapping[Part, Labelled]) -> Counter[str]:
    """How many rows were left out, by the reason. Parts that were drawn from the same rows count these once."""
    found: Counter[str] = Counter()
    for skipped in {id(part.skipped): part.skipped for part in parts.values()}.values():
        found.update(skipped)
    return found


def unread_files(parts: Mapping[Part, Labelled]) -> list[str]:
    """The files of which no example came, by their names."""
    names = {source.path: source.name for found in parts.values() for source in found.sources}
    read = {found.sources[number].path for found in parts.values() for number in set(found.files)}
    return [name for path, name in names.items() if path not in read]


def _order(label: str) -> tuple[bool, int, str]:
    """Whole numbers by their size, before all else."""
    digits = label.removeprefix("-")
    whole = digits.isascii() and digits.isdigit()
    return not whole, int(label) if whole and len(label) < 100 else 0, label


def duplicates(parts: Mapping[Part, Labelled]) -> dict[Part, int]:
    """How many examples of each part but the training part are inputs of that, too, word for word."""

    def key(value: Any) -> Any:
        return value if isinstance(value, str) else hashlib.sha256(np.ascontiguousarray(value).data).digest()

    seen = {key(value) for value in parts["train"].inputs}
    return {
        part: sum(key(value) in seen for value in examples.inputs)
        for part, examples in parts.items()
        if part != "train"
    }
