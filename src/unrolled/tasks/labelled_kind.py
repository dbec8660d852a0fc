"""What the tasks that learn from labelled examples share: whatever the model, the data is read in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from unrolled.data.labelled import read_unlabelled
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.preparation import Progress
from unrolled.data.store import SplitSources
from unrolled.data.text import Source
from unrolled.tasks.kinds import Kind, Options
from unrolled.tasks.supervised import Examples

__all__ = ["LabelledKind"]


class LabelledKind(Kind):
    """A task whose section "data" is a `LabelledConfig`."""

    def all_examples(
        self,
        sources: Sequence[Source],
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Progress | None = None,
    ) -> Examples:
        # Other files are not cut, into folds neither.
        data = replace(cast("LabelledConfig", options["data"]), hold_out=0.0, folds=None, fold=None)
        return self.prepare(SplitSources(train=sources), {**options, "data": data}, vocabulary, told).parts["train"]

    def read_inputs(
        self, sources: Sequence[Source], options: Options, form: str | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        return read_unlabelled(sources, cast("LabelledConfig", options["data"]), form)
