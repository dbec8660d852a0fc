"""What the tasks that learn from labelled examples share: whatever the model, the data is read in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

from unrolled.data.labelled import read_unlabelled
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.text import Source
from unrolled.tasks.kinds import Kind, Options

__all__ = ["LabelledKind"]


class LabelledKind(Kind):
    """A task whose section "data" is a `LabelledConfig`."""

    whole: ClassVar[dict[str, Any]] = {"hold_out": 0.0, "folds": None, "fold": None}

    def read_inputs(
        self, sources: Sequence[Source], options: Options, form: str | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        return read_unlabelled(sources, cast("LabelledConfig", options["data"]), form)
