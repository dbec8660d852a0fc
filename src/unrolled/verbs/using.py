"""`sample`, `score` and `evaluate`: what a trained language model is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from unrolled.data.configuration import TextConfig
from unrolled.data.store import PARTS, Part
from unrolled.data.vocabulary import WHITE_SPACE, IntArray, Unknown, Vocabulary
from unrolled.decoding import Sampler, generate
from unrolled.errors import ConfigurationError, DataError, PromptError, nearest
from unrolled.evaluation import FIRST_SYMBOL, Evaluation, Likelihood, Surprisal, evaluate, score, surprisals
from unrolled.evaluation.reading import NGramReader, Reader
from unrolled.evaluation.words import Word, word_surprises
from unrolled.layers.outputs import FullSoftmax
from unrolled.layers.watching import current
from unrolled.runs.configuration import load_section
from unrolled.runs.directory import Run
from unrolled.runs.models import is_fitted, load_language_model, section
from unrolled.tasks.language_model import LanguageModel
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.defaults import choose_device, choose_threads
from unrolled.verbs.evaluating import choose_methods
from unrolled.verbs.listening import Listener, counted
from unrolled.verbs.methods import MethodOptions
from unrolled.verbs.origins import open_store

if TYPE_CHECKING:
    from unrolled.decoding.beam import Branches
    from unrolled.decoding.engine import Engine
    from unrolled.decoding.engine_source import Precision
    from unrolled.tasks.ngram_model import NGramModel

__all__ = ["LanguageModelRun", "Report", "open_run"]


@dataclass(frozen=True)
class Report:
    """What `score` and `evaluate` say, under the names that `--json` prints.

    Attributes:
        task: "lm".
        split: the part of the run's text, or the name of the text that was scored.
        protocol: what the model may use, and how the first symbol is treated.
        tokens: symbols that were predicted.
        characters: characters these stand for.
        words: words these stand for, a line end counting as one.
        nats_per_token: mean surprisal of a symbol.
        bits_per_character: bits a character costs, what is hidden behind the unknown symbol included.
        perplexity: exp(nats_per_token).
        perplexity_per_word: exp of the nats that a word costs, what is hidden included.
        log_likelihood: ln p of all the symbols, in nats.
        checkpoint: the step of the checkpoint.
        hidden: unknown symbols among the tokens that hide a text.
        hidden_nats: what the hidden texts cost by a back-off over characters, in nats.
        coverage: the share of the tokens that hide nothing.
        skipped: characters left out because the model does not know them.
        detail: the rest of the protocol in words.
        run: the directory of the run.
        streams: with carried state, parallel streams that each began empty.
        window: with windows, their length in symbols.
        chosen_on_this_part: whether the checkpoint is the one that did best on this part.
        method: what was done besides reading: "static", or dynamic evaluation, a cache, a temperature.
        numbers: of these methods, by the names of `MethodOptions`.
        tuned_on: on what those that were not given were found.
    """

    task: str
    split: str
    protocol: str
    tokens: int
    characters: int
    words: int
    nats_per_token: float
    bits_per_character: float
    perplexity: float
    perplexity_per_word: float
    log_likelihood: float
    checkpoint: int
    hidden: int = 0
    hidden_nats: float = 0.0
    coverage: float = 1.0
    skipped: int = 0
    detail: str = ""
    run: str = ""
    streams: int | None = None
    window: int | None = None
    chosen_on_this_part: bool = False
    method: str = "static"
    numbers: dict[str, Any] = field(default_factory=dict)
    tuned_on: str = ""


class LanguageModelRun:
    """A trained language model, ready to be used.

    Args:
        path: the run's directory.
        checkpoint: "best" (the last, where nothing was validated), "last" or a step.
        device: "cpu", "cuda", "mps" or "auto".
        threads: processor threads; as many as there are cores if not given.
        precision: of the weights while sampling and scoring on the processor: "float32", "bfloat16" or "int8", in
            which a text costs up to 0.5% more nats.
        listener: hears what was left out of a prompt, and how far reading has come.
    """

    def __init__(
        self,
        path: str | Path,
        checkpoint: str = "best",
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: Precision = "float32",
        listener: Listener | None = None,
    ) -> None:
        torch.set_num_threads(choose_threads(threads))
        self.run = Run.open(path)
        self.listener = listener or Listener()
        self.model: LanguageModel
        self.vocabulary: Vocabulary
        self.model, self.vocabulary, loaded = load_language_model(self.run, checkpoint)
        self.model.to(choose_device(device))
        self.step, self.precision = loaded.step, precision
        self._packed: tuple[object, Engine] | None = None

    def stream(
        self,
        *,
        prompt: str = "",
        length: int = 500,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> Iterator[str]:
        """Text after a prompt, piece by piece as it is made; see `decoding.generate`.

        Raises:
            PromptError: the model knows no character of the prompt.
            ConfigurationError: an option is out of range.
        """
        if length < 0:
            raise ConfigurationError("length is a number of symbols", expected="at least 0", got=str(length))
        ids, unknown = self.vocabulary.encode_known(prompt)
        words = self.vocabulary.unit == "word"
        if prompt and len(ids) == 0 and not words:
            raise PromptError("the model knows no character of the prompt", got=_listed(unknown), fix=self._alphabet())
        if unknown:
            where = "read as unknown" if self.vocabulary.unknown is not None else "left out"
            what = _some(unknown, "word" if words else "character")
            self.listener.note(f"{what} not known to the model and {where}: {_listed(unknown)}")
        sampler = Sampler(temperature, top_k, top_p, seed)
        steps = self._engine() or self.model.stepping()
        made = generate(steps, self.vocabulary, length=length, prompt=ids.tolist(), sampler=sampler, stop=stop)
        return _without_space(made) if words and prompt.endswith(tuple(WHITE_SPACE.decode())) else made

    def sample(self, **options: Any) -> str:
        """The whole text after a prompt; the options are those of `stream`."""
        return "".join(self.stream(**options))

    def score(self, text: str, name: str = "text", *, skip_unknown: bool = False) -> Report:
        """How likely a text is: p(x_1 ... x_T), the first symbol charged with its frequency in the training text.

        Raises:
            PromptError: the text is empty, or has characters that the model does not know (unless they are skipped).
        """
        ids, unknown = self._read(text, skip_unknown)
        folded = self.vocabulary.unknown is not None
        found = score(
            self.model,
            self.vocabulary,
            ids,
            hidden=[piece.text for piece in unknown] if folded else (),
            extent=self.vocabulary.extent(text),
            engine=self._engine(),
            progress=self.listener.reading,
        )
        more: dict[str, Any] = {"skipped": 0 if folded else len(unknown), "streams": 1}
        return self._report(found, name, "carried", detail=f"first symbol: {FIRST_SYMBOL}", **more)

    def each(self, text: str, *, alternatives: int = 3, skip_unknown: bool = False) -> Iterator[Surprisal]:
        """The surprisal of every symbol of a text, with the likeliest alternatives; see `score`."""
        ids, _ = self._read(text, skip_unknown)
        options: dict[str, Any] = {"alternatives": alternatives, "progress": self.listener.reading}
        return surprisals(self.model, self.vocabulary, ids, engine=self._engine(), **options)

    def reader(self) -> Reader:
        """The model to read texts with, side by side and piece by piece."""
        first = self.vocabulary.unigram()
        if is_fitted(self.run):
            return NGramReader(cast("NGramModel", self.model), first)
        return Reader(self.model, first, self._engine())

    def branches(self) -> Branches:
        """The model to step through symbol by symbol, in several ways side by side."""
        return self._engine() or self.model.stepping()

    def each_word(self, text: str, *, skip_unknown: bool = False) -> Iterator[Word]:
        """The surprisal of every word of a text, whatever the unit; see `evaluation.words` and `score`."""
        ids, unknown = self._read(text, skip_unknown)
        options: dict[str, Any] = {"engine": self._engine(), "progress": self.listener.reading}
        return word_surprises(self.vocabulary, text, surprisals(self.model, self.vocabulary, ids, **options), unknown)

    def _engine(self) -> Engine | None:
        """The model's engine, packed again where its weights have changed; none where PyTorch has to run the model:
        elsewhere than on the processor, in float64, with an output layer that is not one matrix, or where somebody
        watches."""
        weights = list(self.model.parameters())
        if any(weight.device.type != "cpu" or weight.dtype == torch.float64 for weight in weights):
            if self.precision != "float32":
                fix = "leave --precision out, or use --device cpu"
                raise ConfigurationError(f"precision {self.precision} is for a model on the processor", fix=fix)
            return None
        if current() is not None or (self.precision == "float32" and not isinstance(self.model.output, FullSoftmax)):
            return None
        key = tuple((weight.data_ptr(), weight._version) for weight in weights)
        if self._packed is None or self._packed[0] != key:
            self._packed = (key, self.model.engine(self.precision))
        return self._packed[1]

    def _read(self, text: str, skip_unknown: bool) -> tuple[IntArray, list[Unknown]]:
        """The ids of a text, and what of it is not known: folded into the unknown symbol, or left out."""
        ids, unknown = self.vocabulary.encode_known(text)
        if unknown and self.vocabulary.unknown is None:
            if not skip_unknown:
                first = unknown[0]
                line = text.count("\n", 0, first.position) + 1
                column = first.position - (text.rfind("\n", 0, first.position) + 1) + 1
                raise PromptError(
                    f"the text has {counted(len(unknown), 'character')} that the model does not know",
                    got=_listed(unknown),
                    where=f"first in line {line}, column {column}",
                    fix="leave them out with --skip-unknown, or train with --min-count 2 or --unit byte",
                )
            what = _some(unknown, "character")
            self.listener.note(f"{what} not known to the model and left out: {_listed(unknown)}")
        return ids, unknown

    def evaluate(
        self, split: Part = "valid", protocol: str = "carried", *, window: int | None = None, **methods: Any
    ) -> Report:
        """The loss of a part of the run's own text; see `evaluation.evaluate`.

        Args:
            split: "train", "valid" or "test".
            protocol: "carried" or "windows".
            window: symbols of a window; as long as the sequences of training if not given.
            methods: fields of `MethodOptions`: dynamic evaluation, a cache, a temperature. The run stays as it is.

        Raises:
            ConfigurationError: no such split, protocol or method.
            DataError: the split is empty, or the text is gone.
        """
        if split not in PARTS:
            raise ConfigurationError(f"unknown split {split!r}", fix=nearest(split, PARTS))
        where = f"{self.run.path / 'config.json'}"
        text = load_section(TextConfig, section(self.run, "text"), f"{where}, text")
        training = load_section(TrainingConfig, self.run.config.get("training", {}), f"{where}, training")
        options = load_section(MethodOptions, methods, "options of methods")
        if is_fitted(self.run) and options != MethodOptions():
            raise ConfigurationError(
                "dynamic evaluation, a cache and a temperature are for networks",
                got=f"{self.run.path}, an n-gram model",
                fix="evaluate it without them",
            )
        store = open_store(self.run, text, self.vocabulary, self.listener)
        tokens = store.split(split)
        if len(tokens) < 2:
            raise DataError(
                f"the run's text has no {split} part",
                got=f"split {text.split}",
                fix="evaluate another part, or train with another --split",
            )
        done, roots, tuned_on = choose_methods(
            options, self.model, self.vocabulary, store, text.documents, protocol, self.listener
        )
        found: Evaluation = evaluate(
            self.model,
            self.vocabulary,
            tokens,
            protocol,  # type: ignore[arg-type]
            window=training.length if window is None else window,
            documents=text.documents,
            streams=1 if is_fitted(self.run) else None,
            methods=done,
            roots=roots,
            progress=self.listener.reading,
        )
        best = self.run.pointer("best")
        chosen = split == "valid" and best is not None and int(best) == self.step
        caveats = ["the checkpoint was chosen on this part"] if chosen else []
        if tuned_on:
            caveats.append(f"numbers found on {tuned_on}" + (", which is this part" if split == "valid" else ""))
        how = counted(found.detail, "stream") if protocol == "carried" else f"windows of {found.detail} symbols"
        return self._report(
            found,
            split,
            protocol,
            streams=found.detail if protocol == "carried" else None,
            window=found.detail if protocol == "windows" else None,
            chosen_on_this_part=chosen,
            detail="; ".join([how, *done.details, *caveats]),
            method=done.name,
            numbers=done.numbers,
            tuned_on=tuned_on,
        )

    def _report(self, found: Likelihood, split: str, protocol: str, **more: Any) -> Report:
        return Report(
            task="lm",
            split=split,
            protocol=protocol,
            tokens=found.tokens,
            characters=found.characters,
            words=found.words,
            nats_per_token=found.nats_per_token,
            bits_per_character=found.bits_per_character,
            perplexity=found.perplexity,
            perplexity_per_word=found.perplexity_per_word,
            log_likelihood=-found.nats,
            hidden=found.hidden,
            hidden_nats=found.hidden_nats,
            coverage=found.coverage,
            checkpoint=self.step,
            run=str(self.run.path),
            **more,
        )

    def _alphabet(self) -> str:
        known = "".join(symbol for symbol in self.vocabulary.symbols if symbol.isprintable())[:80]
        return f"use characters it was trained on, such as: {known}"


def open_run(
    path: str | Path,
    checkpoint: str = "best",
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
    listener: Listener | None = None,
) -> LanguageModelRun:
    """Open a trained run, to sample from it, score with it and evaluate it; see `LanguageModelRun`.

    Raises:
        RunError: there is no such run, or it is damaged.
    """
    options: dict[str, Any] = {"device": device, "threads": threads, "precision": precision, "listener": listener}
    return LanguageModelRun(path, checkpoint, **options)


def _without_space(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces without the space before the first word, where the prompt has one."""
    yield next(pieces, "").removeprefix(" ")
    yield from pieces


def _some(unknown: Sequence[Unknown], what: str) -> str:
    return f"{counted(len(unknown), what)} {'is' if len(unknown) == 1 else 'are'}"


def _listed(unknown: Sequence[Unknown]) -> str:
    shown = list(dict.fromkeys(piece.text for piece in unknown))[:10]
    places = ", ".join(str(piece.position + 1) for piece in unknown[:10])
    more = " ..." if len(unknown) > 10 else ""
    return f"{' '.join(repr(text) for text in shown)} at {places}{more}"
