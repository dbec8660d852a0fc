"""`evaluate` and `score` with other models beside a run: an n-gram model of the same text, and mixtures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unrolled.data.configuration import TextConfig
from unrolled.data.store import Part, Tokens, TokenStore
from unrolled.data.vocabulary import Floats
from unrolled.errors import ConfigurationError, RunError
from unrolled.evaluation import STATIC, Evaluation, Likelihood, Methods
from unrolled.evaluation.mixture import evaluate_nats, find_weights, mix, symbol_nats
from unrolled.runs.configuration import load_section
from unrolled.runs.models import is_fitted, section
from unrolled.tasks.language_model import LanguageModel, streams_for
from unrolled.tasks.ngram import NGram
from unrolled.tasks.ngram_configuration import NGramConfig
from unrolled.tasks.ngram_model import NGramModel
from unrolled.tasks.ngram_task import NGramTask, resets_lines
from unrolled.verbs.evaluating import choose_methods
from unrolled.verbs.listening import Listener
from unrolled.verbs.methods import MethodOptions
from unrolled.verbs.origins import open_store
from unrolled.verbs.using import LanguageModelRun, Report, open_run

__all__ = ["NGRAM", "Beside", "Comparison", "compare", "fit_opponent", "score_mixed"]

NGRAM = "ngram"
"""In the place of a run: an n-gram model that is fitted to the text of the run it is beside."""


@dataclass(frozen=True)
class Beside:
    """A model beside a run, on the same symbols.

    Attributes:
        name: "ngram", the directory of a run, or "mixture".
        about: what it is, and how it was found.
        tokens: symbols that were predicted.
        nats_per_token: mean surprisal of a symbol.
        bits_per_character: bits a character costs, what is hidden included.
        perplexity: exp(nats_per_token).
        perplexity_per_word: exp of the nats that a word costs, what is hidden included.
        log_likelihood: ln p of all the symbols, in nats.
        weights: of a mixture, by the names of its models.
    """

    name: str
    about: str
    tokens: int
    nats_per_token: float
    bits_per_character: float
    perplexity: float
    perplexity_per_word: float
    log_likelihood: float
    weights: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A run and what is beside it.

    Attributes:
        own: what `evaluate` or `score` says of the run alone.
        beside: the others, then the mixture.
    """

    own: Report
    beside: list[Beside]


def compare(
    model: LanguageModelRun,
    split: Part = "valid",
    *,
    mixed_with: Sequence[str | Path] = (),
    baseline: Literal["ngram"] | None = None,
    **methods: Any,
) -> Comparison:
    """A run on a part of its own text, with others beside it.

    Args:
        model: the run.
        split: "train", "valid" or "test".
        mixed_with: runs with the same vocabulary, or "ngram"; each is shown, and the mixture of all with the run, its
            weights found on the validation part.
        baseline: "ngram" to fit one to the training part of the run's text, order and discounts chosen on the
            validation part, and show it.
        methods: fields of `MethodOptions`, for the run; others are read as they are.

    Raises:
        ConfigurationError: there is no validation part to find weights on; or nothing is to be shown beside.
        RunError: a run has another vocabulary, or is damaged.
        DataError: the split is empty, or the text is gone.
    """
    listener, text = model.listener, _text(model)
    own = model.evaluate(split, **methods)
    store = open_store(model.run, text, model.vocabulary, listener)
    tokens, valid = store.split(split), store.split("valid")
    if mixed_with:
        _check_tunable(valid)
    others = _others(model, store, text, mixed_with, baseline)
    beside, held_out = [], []
    for other in others:
        nats = other.nats(tokens, text, listener)
        beside.append(
            _beside(other.name, other.about, evaluate_nats(nats, model.vocabulary, tokens, documents=text.documents))
        )
        if other.mixed:
            held_out.append((nats, nats if split == "valid" else other.nats(valid, text, listener)))
    if not held_out:
        return Comparison(own, beside)
    numbers = {name: value for name, value in own.numbers.items() if name in {f.name for f in fields(MethodOptions)}}
    done, roots = _methods(model, store, text, {**methods, **numbers})
    network = _Other(own.run, "", model.model, True, is_fitted(model.run), done, roots)
    first = network.nats(tokens, text, listener)
    tuned = first if split == "valid" else network.nats(valid, text, listener)
    names = [own.run, *(other.name for other in others if other.mixed)]
    weights = _weights([tuned, *(nats for _, nats in held_out)])
    nats = mix(np.stack([first, *(nats for nats, _ in held_out)]), weights)
    found = evaluate_nats(nats, model.vocabulary, tokens, documents=text.documents)
    about = f"weights found on {np.isfinite(tuned).sum():,} symbols of valid"
    about += ", which is this part" if split == "valid" else ""
    if own.method != "static":
        about += f"; {own.run} {own.method}"
    shares = dict(zip(names, weights.tolist(), strict=True))
    return Comparison(own, [*beside, _beside("mixture", about, found, shares)])


def score_mixed(
    model: LanguageModelRun,
    text: str,
    name: str = "text",
    *,
    mixed_with: Sequence[str | Path],
    skip_unknown: bool = False,
) -> Comparison:
    """How likely a text is to a run and to others, and to their mixture; see `compare`.

    The first symbol is charged with its frequency in the training text, whatever the model.
    """
    own = model.score(text, name, skip_unknown=skip_unknown)
    configured = _text(model)
    store = open_store(model.run, configured, model.vocabulary, model.listener)
    valid = store.split("valid")
    _check_tunable(valid)
    others = [
        _Other(own.run, "", model.model, True, is_fitted(model.run)),
        *_others(model, store, configured, mixed_with, None),
    ]
    weights = _weights([other.nats(valid, configured, model.listener) for other in others])
    nats = []
    for other in others:
        reader = copy.copy(model)
        # What there is to say of the text was said.
        reader.model, reader.listener = other.model, Listener()
        nats.append([symbol.nats for symbol in reader.each(text, alternatives=0, skip_unknown=skip_unknown)])
    mixed = mix(np.array(nats), weights)

    def likelihood(values: Any) -> Likelihood:
        more: dict[str, Any] = {"words": own.words, "hidden": own.hidden, "hidden_nats": own.hidden_nats}
        return Likelihood(own.tokens, own.characters, float(np.sum(values)), **more)

    beside = [_beside(o.name, o.about, likelihood(v)) for o, v in zip(others[1:], nats[1:], strict=True)]
    shares = dict(zip([other.name for other in others], weights.tolist(), strict=True))
    about = f"weights found on {len(valid) - 1:,} symbols of valid"
    return Comparison(own, [*beside, _beside("mixture", about, likelihood(mixed), shares)])


def fit_opponent(store: TokenStore, text: TextConfig, listener: Listener) -> tuple[NGram, str]:
    """The n-gram model that a text can be read with best: everything about it chosen on the validation part.

    That is its order, its discounts and, where symbols are words, whether lines reset the context. Without a validation
    part it is of order 5, with estimated discounts.

    Returns:
        the model, and what it is in words.
    """
    train, valid, vocabulary = (store.split("train"), store.split("valid"), store.vocabulary)
    tunable = len(valid) > 1
    lines: list[Any] = ["reset", "carry"] if tunable and resets_lines(NGramConfig(), vocabulary) else [None]
    found: list[tuple[float, NGram]] = []
    for choice in lines:
        config = NGramConfig(discounts="tuned" if tunable else "estimated", lines=choice)
        listener.doing("fitting n-grams" + (f", context at line ends: {choice}" if choice else ""))
        task = NGramTask(
            train,
            valid,
            vocabulary,
            config,
            documents=text.documents,
            reading=lambda _, done, total: listener.reading(done, total),
        )
        model = task.fit()
        found.append((task.validate(model) or 0.0, model))
    best = min(found, key=lambda each: each[0])[1]
    context = "reset at line ends" if best.boundary is not None else "carried on"
    how = "order and discounts chosen on valid" if tunable else "discounts estimated"
    return best, f"Kneser-Ney {best.order}-grams, {best.ngrams:,} of all orders, context {context}; {how}"


@dataclass(frozen=True, eq=False)
class _Other:
    """A model beside a run, and whether it is mixed with it."""

    name: str
    about: str
    model: LanguageModel
    mixed: bool
    fitted: bool
    methods: Methods = STATIC
    roots: Any = None

    def nats(self, tokens: Any, text: TextConfig, listener: Listener) -> Floats:
        """-ln p of every symbol of a text; an n-gram model reads it in one stream."""
        return symbol_nats(
            self.model,
            tokens,
            documents=text.documents,
            streams=1 if self.fitted else streams_for(len(tokens)),
            methods=self.methods,
            roots=self.roots,
            progress=listener.reading,
        )


def _others(
    model: LanguageModelRun,
    store: TokenStore,
    text: TextConfig,
    mixed_with: Sequence[str | Path],
    baseline: str | None,
) -> list[_Other]:
    """What is beside a run."""
    if baseline not in (None, NGRAM):
        raise ConfigurationError(f"there is no baseline {baseline!r}", expected=NGRAM)
    if not mixed_with and baseline is None:
        raise ConfigurationError("nothing is to be shown beside the run", fix="name a run, or ngram")
    found = []
    own_ngram = NGRAM in map(str, mixed_with)
    if baseline is not None or own_ngram:
        ngram, about = fit_opponent(store, text, model.listener)
        found.append(_Other(NGRAM, about, NGramModel(ngram), own_ngram, True))
    for path in mixed_with:
        if str(path) != NGRAM:
            found.append(_open(model, path))
    return found


def _open(model: LanguageModelRun, path: str | Path) -> _Other:
    device = str(next(model.model.parameters()).device)
    other = open_run(path, device=device, threads=None, listener=model.listener)
    if other.vocabulary.fingerprint != model.vocabulary.fingerprint:
        raise RunError(
            f"{other.run.path} has another vocabulary than {model.run.path}: they cannot be mixed",
            expected=f"{model.vocabulary.size} symbols ({model.vocabulary.unit}), the same ones",
            got=f"{other.vocabulary.size} symbols ({other.vocabulary.unit})",
            fix="train both on the same text with the same --unit, --min-count and --vocabulary-size; or: --mix ngram",
        )
    about = f"checkpoint {other.step}"
    texts = [section(run, "data") for run in (model.run, other.run)]
    if texts[0]["fingerprint"] != texts[1]["fingerprint"]:  # type: ignore[index]
        about += "; its text is another: make sure that this part is not in it"
        model.listener.note(f"{other.run.path} was trained on another text: make sure that this part is not in it")
    return _Other(str(other.run.path), about, other.model, True, is_fitted(other.run))


def _methods(
    model: LanguageModelRun, store: TokenStore, text: TextConfig, given: dict[str, Any]
) -> tuple[Methods, Any]:
    options = load_section(MethodOptions, given, "options of methods")
    done, roots, _ = choose_methods(
        options, model.model, model.vocabulary, store, text.documents, "carried", model.listener
    )
    return done, roots


def _text(model: LanguageModelRun) -> TextConfig:
    return load_section(TextConfig, section(model.run, "text"), f"{model.run.path / 'config.json'}, text")


def _check_tunable(valid: Tokens) -> None:
    if len(valid) < 2:
        raise ConfigurationError(
            "weights of a mixture are found on the validation part, and there is none",
            fix="use --baseline to see the models side by side, or train with another --split",
        )


def _weights(nats: Sequence[Floats]) -> Floats:
    stacked = np.stack(nats)
    return find_weights(stacked[:, np.isfinite(stacked).all(0)])


def _beside(name: str, about: str, found: Evaluation | Likelihood, weights: dict[str, float] | None = None) -> Beside:
    return Beside(
        name,
        about,
        found.tokens,
        found.nats_per_token,
        found.bits_per_character,
        found.perplexity,
        found.perplexity_per_word,
        -found.nats,
        weights or {},
    )
