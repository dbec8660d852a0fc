"""What a run came from: its text, and the run whose weights it began with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.cells import Equations
from unrolled.data.configuration import TextConfig
from unrolled.data.store import SplitSources, TokenStore, prepare
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, RunError
from unrolled.runs.directory import Run
from unrolled.runs.models import check_network, load_language_model, load_weights, section
from unrolled.tasks.language_model import LanguageModel
from unrolled.verbs.listening import Listener

__all__ = ["Origin", "describe_store", "open_store"]


def describe_store(store: TokenStore, sources: SplitSources) -> dict[str, Any]:
    """What a run's configuration says of its text, from which `open_store` finds it again."""
    return {
        "store": str(store.directory.resolve()),
        "fingerprint": store.fingerprint,
        "sources": [{"part": part, "path": str(source.path.resolve())} for part, source in sources.parts],
    }


@dataclass(frozen=True)
class Origin:
    """A run that another starts from.

    Attributes:
        path: its directory.
        network: its section of the network's options.
        model: its network.
        vocabulary: its symbols.
        step: of the checkpoint.
    """

    path: Path
    network: dict[str, Any]
    model: LanguageModel
    vocabulary: Vocabulary
    step: int

    @classmethod
    def open(cls, path: str | Path, checkpoint: str = "best") -> Origin:
        """Open a run of which a checkpoint is started from (`RunError` if it is damaged)."""
        run = Run.open(path)
        check_network(run)
        model, vocabulary, loaded = load_language_model(run, checkpoint)
        network = section(run, "model")
        assert isinstance(network, dict)
        return cls(run.path, network, model, vocabulary, loaded.step)

    @property
    def equations(self) -> Equations:
        """Of its cell, whose file need not be there any more."""
        return self.model.equations

    def give(self, model: LanguageModel, vocabulary: Vocabulary) -> None:
        """Put its weights into another model.

        Raises:
            RunError: that has another network or vocabulary.
        """
        _check_vocabulary(vocabulary, self.vocabulary, str(self.path))
        load_weights(model, self.model.state_dict(), f"--init-from {self.path}")


def open_store(run: Run, text: TextConfig, vocabulary: Vocabulary, listener: Listener) -> TokenStore:
    """The token store of a run; made anew from the sources where the cache has lost it."""
    data = section(run, "data")
    assert isinstance(data, dict)
    try:
        store = TokenStore.open(Path(data["store"]))
    except DataError as damage:
        parts: dict[str, list[str]] = {}
        for source in data["sources"]:
            parts.setdefault(source["part"], []).append(source["path"])
        try:
            sources = SplitSources.find(
                parts.get("text", ()),
                train=parts.get("train", ()),
                valid=parts.get("valid", ()),
                test=parts.get("test", ()),
            )
        except DataError as error:
            raise RunError(
                f"the text of the run {run.path} is gone, and so is the copy it was trained on: {error.problem}",
                where=error.where,
                got=f"{damage.problem} ({damage.where})",
                fix="put the text back; sampling and scoring work without it",
            ) from error
        store = prepare(sources, text, progress=listener.preparing)
    _check_vocabulary(store.vocabulary, vocabulary, str(run.path))
    if store.fingerprint != data["fingerprint"]:
        raise RunError(
            "the text has changed since the run began, and the copy it was trained on is gone",
            where=str(data["store"]),
            fix=f"put the old text back, or start a new run with --init-from {run.path}",
        )
    return store


def _check_vocabulary(found: Vocabulary, expected: Vocabulary, where: str) -> None:
    if found.fingerprint != expected.fingerprint:
        more = [symbol for symbol in found.symbols if symbol not in set(expected.symbols)]
        fewer = [symbol for symbol in expected.symbols if symbol not in set(found.symbols)]
        raise RunError(
            "the text has another vocabulary than the run",
            expected=f"{expected.size} symbols ({expected.unit}){_few(', among them', fewer)}",
            got=f"{found.size} symbols ({found.unit}){_few(', among them', more)}",
            where=where,
            fix="train on the same characters, use --unit byte in both, or start without --init-from",
        )


def _few(said: str, symbols: list[str]) -> str:
    return f"{said} {' '.join(map(repr, symbols[:8]))}" if symbols else ""
