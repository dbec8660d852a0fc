"""What commands print when they are done: for people, or one JSON object."""

from __future__ import annotations

import json as json_module
import shlex
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from unrolled.runs.logs import finite
from unrolled.training.processes import is_first

__all__ = ["print_compared", "print_json", "print_next", "print_report", "print_trained", "print_trained_task"]


def print_trained(trained: Any, json: bool) -> None:
    """What training came to, and what to do next; said by the first process only."""
    if not is_first():
        return
    valid = trained.valid
    if json:
        print_json(
            {
                "run": str(trained.run),
                "task": "lm",
                "steps": trained.steps,
                "minutes": trained.minutes,
                "epochs": trained.epochs,
                "parameters": trained.parameters,
                "best_valid_nats_per_token": None if valid is None else valid.nats_per_token,
                "best_valid_bits_per_character": None if valid is None else valid.bits_per_character,
                "best_valid_perplexity": None if valid is None else valid.perplexity,
                "best_valid_perplexity_per_word": None if valid is None else valid.perplexity_per_word,
            }
        )
        return
    print(f"\ntrained {trained.steps:,} steps, {trained.epochs:.2f} epochs, {trained.minutes:.1f} minutes")
    if valid is not None:
        print(
            f"held out: {valid.nats_per_token:.4f} nats a symbol, {valid.bits_per_character:.3f} bits a character, "
            f"perplexity {valid.perplexity:.3f} a symbol, {valid.perplexity_per_word:.2f} a word{_hidden(valid)}\n  "
            f"({valid.tokens:,} symbols, state carried over; the checkpoint was chosen on these)"
        )
    run = shlex.quote(str(trained.run))
    print_next(
        trained.run,
        (f"unrolled sample {run} --temperature 0.7", "let it write"),
        (f"unrolled score {run} FILE --each line", "how likely each line of a text is to it"),
        (f"unrolled describe {run}", "its equations, shapes and diagram"),
        (f"unrolled resume {run} --{trained.budget} {2 * trained.spent:g}", "train it on, as long again"),
    )


def print_trained_task(trained: Any, json: bool) -> None:
    """What training came to, and what to do next."""
    if json:
        print_json(
            {
                "run": str(trained.run),
                "task": trained.task,
                "steps": trained.steps,
                "minutes": trained.minutes,
                "epochs": trained.epochs,
                "parameters": trained.parameters,
                "valid": trained.valid,
            }
        )
        return
    print(f"\ntrained {trained.steps:,} steps, {trained.epochs:.2f} epochs, {trained.minutes:.1f} minutes")
    if trained.summary:
        print(f"held out: {trained.summary}\n  (the checkpoint was chosen on these)")
    run = shlex.quote(str(trained.run))
    writes = [(f"unrolled sample {run} --count 5", "let it make some")] if trained.task == "generate" else []
    print_next(
        trained.run,
        *writes,
        (f"unrolled evaluate {run} --split test", "what it knows of the test part"),
        (f"unrolled predict {run}", "the steps ahead, as a table and a picture")
        if trained.task == "forecast"
        else (f"unrolled predict {run} FILE", "what it says of new inputs"),
        (f"unrolled resume {run} --{trained.budget} {2 * trained.spent:g}", "train it on, as long again"),
    )


def print_next(run: Any, *commands: tuple[str, str]) -> None:
    """Where a new run is, and commands that go on from it, each with what it does."""
    print(f"the run is in {run}\n\nnext:")
    for command, about in commands:
        print(f"  {command:<60} {about}")


def print_report(report: dict[str, Any], json: bool) -> None:
    """What `score` and `evaluate` say."""
    if json:
        print_json(report)
        return
    how = report["protocol"] if report["method"] == "static" else f"{report['protocol']}, {report['method']}"
    print(f"{report['split']}, {how} ({report['detail']}), checkpoint {report['checkpoint']}")
    left_out = f"; {report['skipped']:,} left out" if report["skipped"] else ""
    print(
        f"  {report['tokens']:,} symbols, {report['characters']:,} characters, {report['words']:,} words with line "
        f"ends{left_out}"
    )
    print(f"  {report['nats_per_token']:.4f} nats a symbol, perplexity {report['perplexity']:.4f}")
    hidden = _hidden(SimpleNamespace(**report))
    print(
        f"  {report['bits_per_character']:.4f} bits a character, perplexity {report['perplexity_per_word']:.4f} a word"
        f"{hidden}"
    )
    print(f"  log-likelihood {report['log_likelihood']:.2f} nats")


def _hidden(found: Any) -> str:
    """What figures that compare units were charged for; nothing where nothing is hidden."""
    if not found.hidden:
        return ""
    return f" (with {found.hidden_nats / found.hidden:.1f} nats for each of {found.hidden:,} unknown, spelt out)"


def print_json(value: Any) -> None:
    """One JSON object in one line; null for a number that is not finite."""
    print(json_module.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str))


def print_compared(found: Any, json: bool) -> None:
    """A report, and the models that stand beside the run."""
    report = asdict(found.own)
    if json:
        print_json({**report, "beside": [asdict(other) for other in found.beside]})
        return
    print_report(report, json)
    print("beside it, on the same symbols:")
    for other in found.beside:
        shares = " + ".join(f"{weight:.3f} {name}" for name, weight in other.weights.items())
        print(f"  {other.name}: {shares + '; ' if shares else ''}{other.about}")
        print(
            f"    {other.nats_per_token:.4f} nats a symbol, perplexity {other.perplexity:.4f}; "
            f"{other.bits_per_character:.4f} bits a character, perplexity {other.perplexity_per_word:.4f} a word"
        )
