"""Cells that no library has, one of them made up here: beside our own LSTM, and beside a plain PyTorch loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from benchmarks.agreement import TOLERANCES
from benchmarks.peers.eager_loops import EagerTraining
from benchmarks.registry import Case, Contender, Work
from benchmarks.works.training import CLIP, RATE, Shape, Training
from unrolled.cells import Equations, U, W, b, cell, p, sigmoid, tanh
from unrolled.training.configuration import Precision

__all__ = ["CELLS", "made_up", "works"]

_UPDATES = 16


@cell
def made_up(x, h, m):  # type: ignore[no-untyped-def]
    """A cell that is in no book: a memory that is averaged, seen through a curve that falls again for large values."""
    k = sigmoid(W.k @ x + U.k @ h + p.k * m + b.k)
    n = tanh(W.n @ x + U.n @ h + b.n)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    m = k * m + (1 - k) * n
    h = o * m / (1 + m * m)
    return h, m


CELLS: dict[str, Equations | str] = {
    "lstm-peephole": "lstm-peephole",
    "lstm-coupled": "lstm-coupled",
    "made-up": made_up,
}


def _beside_lstm(name: str, precision: Precision) -> Case:
    """GFLOP/s of products, so that a cell with fewer gates is compared with the LSTM at what it has to do."""
    ours, lstm = (Training(Shape(equations, 2, 512, 64, 128, precision)) for equations in (CELLS[name], "lstm"))
    symbols = 64 * 128 / 1e9
    return Case(
        ours=Contender("unrolled", ours.step, ours.results),
        peers=(Contender("our LSTM", lstm.step, lstm.results, lstm.flop * symbols, lstm.reference),),
        reference=ours.reference,
        tolerance=TOLERANCES[precision],
        amount=ours.flop * symbols,
        limit=lambda: replace(limit := ours.limit(), figure=limit.figure * ours.flop / 1e9),
        note="products only are counted, for both",
    )


def _beside_loop(name: str) -> Case:
    ours = Training(Shape(CELLS[name], 1, 128, 1, 128), _UPDATES)
    peer = EagerTraining(ours.start, name, torch.from_numpy(ours.ids), CLIP, RATE)
    return Case(
        ours=ours.contender(),
        peers=(Contender("PyTorch loop", peer.step, peer.results, amount=128),),
        reference=ours.reference,
        tolerance=TOLERANCES["float32"],
        limit=ours.limit,
    )


def works() -> list[Work]:
    """Each cell large, in both precisions, and small."""
    found = []
    for name in CELLS:
        for precision in ("float32", "bfloat16"):
            about = f"training step, {name} 2x512, B 64, T 128, {precision} products, per operation of a product"
            build = partial(_beside_lstm, name, precision)  # type: ignore[arg-type]
            found.append(Work(f"cell-{name}-2x512-{precision}", about, "GFLOP/s", 0.85, 2, build))
        about = f"training step, {name} 1x128, B 1, T 128, float32"
        found.append(Work(f"cell-{name}-1x128", about, "char/s", 5.0, 2, partial(_beside_loop, name)))
    return found
