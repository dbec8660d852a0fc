"""`train next`: from sequences of items to a model of what comes next, beside popularity and Markov chains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast, get_args

import numpy as np
import torch

from unrolled.cells import Equations
from unrolled.data.labelled_splits import stratified
from unrolled.data.preparation import Progress
from unrolled.data.ragged import Ragged
from unrolled.data.sessions import Sessions, cut_items, read_events, read_sequences, read_unfinished
from unrolled.data.store import PARTS, Part, SplitSources
from unrolled.data.tables import TableFormat, table_format
from unrolled.data.text import Source
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError, DataError, RunError, nearest
from unrolled.tasks.events.configuration import DEFAULTS, EventsConfig, NextConfig
from unrolled.tasks.events.model import EventBatch, NextItem
from unrolled.tasks.events.opponents import Opponents
from unrolled.tasks.events.ranking import CUTS, Ranks, ranks_of
from unrolled.tasks.kinds import Chosen, Kind, Options, Prepared, told_parts
from unrolled.tasks.supervised import Examples, SupervisedModel, batches_in_order

__all__ = ["EventExamples", "Next"]


@dataclass(frozen=True, eq=False)
class EventExamples:
    """n sessions of at least two events; see `tasks.supervised.Examples`.

    Attributes:
        sessions: the items of each; 0 is the unknown one.
        lengths: (n,) events that are predicted, one less than there are.
        opponents: of the same training part; None where that is not at hand.
    """

    sessions: Ragged
    lengths: IntArray
    opponents: Opponents | None

    def batch(self, rows: IntArray) -> EventBatch:
        """Some of them."""
        ids, lengths = self.sessions.padded(rows)
        return EventBatch(torch.from_numpy(ids), torch.from_numpy(lengths - 1))


class Next(Kind):
    """Many to many, one step ahead: the next item of a session after each.

    Attributes:
        shown: how many items a prediction has, the likeliest.
    """

    name = "next"
    about = "the next item of a session"
    loss = "nats an event"
    sections: ClassVar[dict[str, type[Any]]] = {"data": EventsConfig, "model": NextConfig}
    defaults: ClassVar[dict[str, Any]] = DEFAULTS
    shown: int = 10

    def prepare(
        self,
        sources: SplitSources,
        options: Options,
        vocabulary: Mapping[str, Any] | None = None,
        told: Progress | None = None,
    ) -> Prepared:
        config = cast("EventsConfig", options["data"])
        parts = _read(sources, config, told)
        if not len(parts["train"]):
            raise DataError("there is nothing to train on", fix="another --split")
        if vocabulary is None:
            counts = Counter(item for items in parts["train"].items for item in items)
            kept = sorted(item for item, count in counts.items() if count >= config.min_count)
            if len(kept) < 2:
                raise DataError("there are too few items", expected="at least two", got=", ".join(kept) or "none")
            vocabulary = {"items": kept}
        numbers = _numbers(vocabulary)
        cut = {part: _cut(found, numbers, config.max_length) for part, found in parts.items()}
        opponents = Opponents(cut["train"], cut["valid"], len(numbers) + 1)
        found = {part: EventExamples(cut[part], cut[part].lengths - 1, opponents) for part in PARTS}
        if not len(found["train"].lengths):
            raise DataError("no session has two events", expected="at least one, to learn what follows what")
        said = told_parts({part: len(parts[part]) for part in PARTS})
        events = told_parts({part: int(found[part].lengths.sum()) for part in PARTS})
        facts = {
            "sessions": said,
            "events": f"{events}; {len(numbers):,} items",
        }
        strange = [int((cut[part].values == 0).sum()) for part in ("valid", "test")]
        if sum(strange):
            facts["unknown"] = (
                f"{strange[0]:,} to validate and {strange[1]:,} to test are of unknown items: never found"
            )
        return Prepared(cast("Mapping[Part, Examples]", found), dict(vocabulary), facts)

    def choose(self, equations: Equations, options: Options, prepared: Prepared, work: float) -> Chosen:
        model = cast("NextConfig", options["model"])
        hidden = model.hidden_size or 128
        dropout = 0.3 if model.dropout is None else model.dropout
        sized = replace(model, hidden_size=hidden, embedding_size=model.embedding_size or hidden, dropout=dropout)
        return Chosen({**options, "model": sized}, batch=32, learning_rate=3e-3)

    def build(self, equations: Equations, options: Options, vocabulary: Mapping[str, Any]) -> SupervisedModel:
        return NextItem(equations, len(_numbers(vocabulary)) + 1, cast("NextConfig", options["model"]))

    def evaluate(
        self,
        model: SupervisedModel,
        examples: Examples,
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        network, found = cast("NextItem", model), cast("EventExamples", examples)
        own = _of_network(network, found).describe()
        beside = {} if found.opponents is None else found.opponents.ranks(found.sessions, told)
        return {
            "sessions": len(found.lengths),
            "events": int(found.lengths.sum()),
            "loss": own["nats"],
            **own,
            "opponents": {name: ranks.describe() for name, ranks in beside.items()},
        }

    def all_examples(
        self,
        sources: Sequence[Source],
        options: Options,
        vocabulary: Mapping[str, Any],
        told: Progress | None = None,
    ) -> Examples:
        # Without opponents: fitted to what they are measured on, they would beat anything.
        found = cast("EventExamples", super().all_examples(sources, options, vocabulary, told))
        return replace(found, opponents=None)

    def summary(self, report: Mapping[str, Any]) -> str:
        rows = {report.get("opponent", "network"): report, **report["opponents"]}
        width = max(map(len, rows))
        head = [f"hit@{k}" for k in CUTS] + [f"MRR@{k}" for k in CUTS[1:]] + ["nats"]
        lines = [f"{report['events']:,} events of {report['sessions']:,} sessions"]
        lines.append(f"{'':<{width}}  {'  '.join(f'{name:>6}' for name in head)}")
        for name, row in rows.items():
            values = [row["hit_rate"][str(k)] for k in CUTS] + [row["mrr"][str(k)] for k in CUTS[1:]]
            shown = [f"{value:>6.4f}" for value in values] + ["     -" if row["nats"] is None else f"{row['nats']:.4f}"]
            lines.append(f"{name:<{width}}  {'  '.join(shown)}")
        return "\n  ".join(lines)

    def read_inputs(
        self, sources: Sequence[Source], options: Options, form: str | None = None
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """Sequences, as the run's were read where they come in tables, else a line each."""
        config, forms = cast("EventsConfig", options["data"]), ("lines", *get_args(TableFormat))
        if form not in (None, *forms):
            raise ConfigurationError(f"there is no format {form!r} of sequences", fix=nearest(str(form), forms))
        for source in sources:
            kind = cast("TableFormat | None", table_format(source) if form is None else form)
            if kind is None or form == "lines":
                for line, items in read_unfinished([source], separator=config.separator, errors=config.errors):
                    yield {"line": line}, items
            elif config.session is not None:
                found = read_events([source], config.session, config.item, config.time, kind=kind, errors=config.errors)
                for name, items in zip(found.names, found.items, strict=True):
                    yield {"session": name}, items
            elif config.sequence is not None:
                for line, items in read_unfinished(
                    [source], config.sequence, separator=config.separator, kind=kind, errors=config.errors
                ):
                    yield {"line": line}, items
            else:
                raise DataError(
                    "the run was trained on lines, and which column holds the items is not known",
                    where=source.name,
                    fix="--format lines, or write a sequence a line",
                )

    def predict(
        self, model: SupervisedModel, lines: Iterable[Any], options: Options, vocabulary: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        config, numbers = cast("EventsConfig", options["data"]), _numbers(vocabulary)
        names, network = vocabulary["items"], cast("NextItem", model)
        for line in lines:
            items = tuple(map(str, line)) if isinstance(line, list | tuple) else cut_items(str(line), config.separator)
            items = items[-config.max_length :]
            ids = torch.tensor([[numbers.get(item, 0) for item in items] or [0]], device=network.device)
            with torch.no_grad():
                logits = network(ids, torch.tensor([ids.shape[1]], device=network.device))[0, -1, 1:]
            likely, places = logits.float().softmax(0).topk(min(self.shown, len(names)))
            pairs = zip(places.tolist(), likely.tolist(), strict=True)
            unknown = sorted({item for item in items if item not in numbers})
            yield {
                "items": [{"item": names[place], "probability": share} for place, share in pairs],
                **({"unknown": unknown} if unknown else {}),
            }

    def opponent(
        self, prepared: Prepared, part: Part, options: Options, told: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """The strongest of those that `evaluate` has anyway: chains that back off, how far chosen on validation."""
        found = cast("EventExamples", prepared.parts[part])
        assert found.opponents is not None
        name, ranks = list(found.opponents.ranks(found.sessions).items())[-1]
        own = ranks.describe()
        counts = {"sessions": len(found.lengths), "events": int(found.lengths.sum())}
        return {"opponent": name, **counts, "loss": own["nats"], **own, "opponents": {}}


def _read(sources: SplitSources, config: EventsConfig, told: Progress | None) -> dict[Part, Sessions]:
    """The sessions of each part."""

    def read(files: Sequence[Any]) -> Sessions:
        if not files:
            return Sessions()
        if config.session is not None:
            return read_events(files, config.session, config.item, config.time, errors=config.errors, told=told)
        return read_sequences(files, config.sequence, separator=config.separator, errors=config.errors, told=told)

    if not sources.text:
        return {"train": read(sources.train), "valid": read(sources.valid), "test": read(sources.test)}
    found = read(sources.text)
    if (config.split_by or ("time" if config.time is not None else "chance")) == "chance":
        drawn = stratified([0] * len(found), config.shares, config.split_seed)
        return {part: found.select(rows.tolist()) for part, rows in drawn.items()}
    order = np.argsort(found.begins, kind="stable")
    ends = [int(len(found) * sum(config.shares[: n + 1]) / 100) for n in range(3)]
    pieces = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])
    return {part: found.select(rows.tolist()) for part, rows in zip(PARTS, pieces, strict=True)}


def _cut(found: Sessions, numbers: Mapping[str, int], longest: int) -> Ragged:
    """Sessions as numbers, in stretches; what has one event alone says nothing of what follows."""
    stretches = []
    for items in found.items:
        ids = np.array([numbers.get(item, 0) for item in items], np.int64)
        # The last event of a stretch is the first of the next, so that each event is predicted once.
        stretches += [ids[at : at + longest] for at in range(0, max(len(ids) - 1, 0), longest - 1)]
    return Ragged.of((each for each in stretches if len(each) > 1), np.empty(0, np.int64))


def _numbers(vocabulary: Mapping[str, Any]) -> dict[str, int]:
    """The items by their numbers, from 1: 0 is the unknown one."""
    try:
        return {str(item): number for number, item in enumerate(vocabulary["items"], 1)}
    except (KeyError, TypeError) as error:
        raise RunError("the vocabulary is not that of next items", got=repr(error), where="vocabulary.json") from None


@torch.no_grad()
def _of_network(model: NextItem, examples: EventExamples) -> Ranks:
    ranks, nats = [np.empty(0)], [np.empty(0)]
    for _, batch in batches_in_order(examples):
        logits, items = model.targets(batch)
        losses = torch.nn.functional.cross_entropy(logits, items, reduction="none").double().cpu().numpy()
        wanted = items.cpu().numpy()
        known = wanted > 0
        ranks.append(np.where(known, ranks_of(logits.cpu().numpy(), wanted), np.inf))
        nats.append(np.where(known, losses, np.inf))
    return Ranks(np.concatenate(ranks), np.concatenate(nats))
