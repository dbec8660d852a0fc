"""The kernels for GPUs without one: Triton's interpreter runs them, Triton's compiler compiles them for one.

Buffers that PyTorch hands out are full of NaN here (`fill_uninitialized_memory`), so that nothing is read unwritten.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unrolled.cells import BUILTIN, Equations, U, W, a, b, cell, find_cell, sigmoid, tanh
from unrolled.errors import ConfigurationError
from unrolled.kernels import gpu, gpu_graphs, reference
from unrolled.kernels.gpu_layout import Layout
from unrolled.kernels.gpu_source import steps_source, walk_source

triton = pytest.importorskip("triton", reason="Triton is made for Linux alone")

FILE = Path(__file__).parents[1] / "example_cells.py"


@cell
def waves(x, h, m):
    """Made up: two states, a vector inside, an output that is none of the states."""
    k = sigmoid(W.k @ x + U.k @ h + a.k * m + b.k)
    m = k * m - (1 - k) * tanh(W.m @ x + U.m @ h)
    return m * k + b.y, (tanh(m + a.h * h), m)


@cell
def alone(x, h):
    """Made up: every unit for itself, not linear in its state."""
    h = tanh(W.h @ x + a.h * h * sigmoid(W.z @ x + b.z))
    return h


OWN = {"waves": waves, "alone": alone}


def equations_of(name: str) -> Equations:
    return OWN[name] if name in OWN else find_cell(name if name in BUILTIN else f"{FILE}:{name}")


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Triton interprets, with NumPy; masked lanes may divide by zero."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    with np.errstate(all="ignore"):
        yield
    torch.use_deterministic_algorithms(False)


Case = tuple[list[torch.Tensor], Callable[..., list[torch.Tensor]]]


def draw(equations: Equations, batch: int, steps: int, hidden: int, resets: bool = False) -> Case:
    """Leaves in float64 (x, state, parameters), and a function from an `unroll` and leaves to outputs and gradients."""
    generator = torch.Generator().manual_seed(batch + 10 * steps + 100 * hidden)

    def normal(*shape: int) -> torch.Tensor:
        return 0.7 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs, states = hidden if equations.uses_raw_input else 4, len(equations.states)
    matrices = {name: kind != "vector" for name, kind in equations.parameters.items()}
    shapes = {name: equations.shape(name, inputs, hidden) for name in matrices}
    parameters = [normal(*shapes[name]) / (hidden**0.5 if matrices[name] else 1) for name in matrices]
    given = [normal(batch, steps, inputs), *(normal(batch, hidden) for _ in range(states)), *parameters]
    reset = torch.rand(batch, steps, generator=generator) < 0.3 if resets else None
    weights = [normal(batch, steps, hidden), *(normal(batch, hidden) for _ in range(states))]

    def outcome(unroll: Callable[..., Any], leaves: list[torch.Tensor]) -> list[torch.Tensor]:
        leaves = [leaf.detach().requires_grad_() for leaf in leaves]
        x, state, named = (
            leaves[0],
            tuple(leaves[1 : 1 + states]),
            dict(zip(matrices, leaves[1 + states :], strict=True)),
        )
        y, after = unroll(equations, named, x, state, reset)
        total = sum((value * weight).sum() for value, weight in zip((y, *after), weights, strict=True))
        slopes = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        return [value.detach() for value in (y, *after, *slopes)]

    return given, outcome


def judge(
    equations: Equations,
    parameters: dict[str, torch.Tensor],
    x: torch.Tensor,
    state: tuple[torch.Tensor, ...],
    resets: torch.Tensor | None,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The reference, step by step, the state set to zero where a sequence starts anew."""
    outputs = []
    for t in range(x.shape[1]):
        if resets is not None:
            state = tuple(torch.where(resets[:, t : t + 1], 0.0, value) for value in state)
        y, state, _ = reference.step(equations, parameters, x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def assert_agree(found: list[torch.Tensor], wanted: list[torch.Tensor], tolerance: float) -> None:
    for mine, value in zip(found, wanted, strict=True):
        assert mine.shape == value.shape
        assert (mine.double() - value).norm() <= tolerance * value.norm() + 1e-30


def check(name: str, batch: int, steps: int, hidden: int, resets: bool = False) -> None:
    given, outcome = draw(equations_of(name), batch, steps, hidden, resets)
    found = outcome(gpu.unroll, [leaf.float() for leaf in given])
    assert_agree(found, outcome(judge, [leaf.float().double() for leaf in given]), 1e-5)


WALKS = [
    ("rnn", 3, 17, 33, True),
    ("rnn", 1, 1, 1, False),
    ("lstm", 3, 17, 5, True),
    ("lstm", 1, 2, 33, False),
    ("lstm-peephole", 3, 2, 5, True),
    ("gru", 1, 17, 1, False),
    ("gru", 3, 2, 33, True),
    ("gru-reset-before", 3, 2, 33, True),
    ("waves", 3, 17, 5, True),
    ("four_stages", 1, 2, 5, True),
    ("every_function", 3, 2, 5, False),
    ("delay", 1, 2, 33, True),
    ("inner_maps", 3, 1, 5, False),
    ("clashing", 3, 2, 1, True),
    # Without a product in the loop: a program has few units, and these fill more than one.
    ("alone", 3, 17, 33, True),
    ("alone", 1, 1, 1, False),
    ("sru", 3, 2, 33, True),
    ("lru", 1, 17, 5, True),
    ("min_gru", 3, 17, 5, False),
    ("inner_loop", 1, 2, 33, False),
    ("forgetful", 3, 2, 5, True),
    ("average", 3, 2, 33, True),
]


@pytest.mark.parametrize(("name", "batch", "steps", "hidden", "resets"), WALKS)
@pytest.mark.usefixtures("interpreter")
def test_a_walk_over_time_agrees_with_the_reference(
    name: str, batch: int, steps: int, hidden: int, resets: bool
) -> None:
    check(name, batch, steps, hidden, resets)


STEPS = [
    ("rnn", 3, 17, 5, True),
    ("lstm", 3, 2, 33, True),
    ("lstm", 1, 1, 1, False),
    ("lstm-peephole", 1, 17, 5, False),
    ("gru", 3, 2, 5, True),
    ("gru-reset-before", 3, 17, 5, True),
    ("gru-reset-before", 1, 1, 33, False),
    ("waves", 3, 2, 33, True),
    ("four_stages", 3, 2, 5, True),
    ("delay", 3, 2, 5, True),
    ("clashing", 1, 2, 5, False),
]


@pytest.mark.parametrize(("name", "batch", "steps", "hidden", "resets"), STEPS)
@pytest.mark.usefixtures("interpreter")
def test_launches_step_by_step_agree_with_the_reference(
    name: str, batch: int, steps: int, hidden: int, resets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_SHARED", 0)
    check(name, batch, steps, hidden, resets)


@pytest.mark.parametrize("name", ["lstm", "gru-reset-before", "waves"])
@pytest.mark.usefixtures("interpreter")
def test_chunks_of_recorded_steps_are_the_sequence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, but that a recording is run instead of played: what it is given is its own, here as there."""

    def replay(key: Any, function: Callable[..., Any], arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: array.clone() for name, array in function({k: v.clone() for k, v in arrays.items()}).items()}

    monkeypatch.setattr(gpu, "_SHARED", 0)
    monkeypatch.setattr(gpu_graphs, "CHUNK", 3)
    monkeypatch.setattr(gpu_graphs, "recordable", lambda array: True)
    monkeypatch.setattr(gpu_graphs, "replay", replay)
    check(name, 3, 8, 5, resets=True)


def test_a_recording_is_made_once_for_its_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Recording:
        def __init__(self, function: Any, arrays: dict[str, torch.Tensor]) -> None:
            made.append(self)

        def __call__(self, arrays: dict[str, torch.Tensor]) -> Any:
            return self

    def play(key: str, length: int) -> Any:
        return gpu_graphs.replay(key, lambda arrays: arrays, {"x": torch.zeros(2, length)})

    monkeypatch.setattr(gpu_graphs, "_Graph", Recording)
    monkeypatch.setattr(gpu_graphs, "_graphs", {})
    monkeypatch.setattr(gpu_graphs, "_KEPT", 2)
    first, second = play("forward", 3), play("backward", 3)
    assert play("forward", 3) is first
    assert play("forward", 4) not in (first, second)
    assert play("forward", 3) is first  # used after `second`, which therefore went
    assert play("backward", 3) is not second
    assert len(made) == 4


@pytest.mark.usefixtures("interpreter")
def test_a_program_too_large_for_the_gpu_gives_way_to_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gpu._Loop.forward
    launched = []

    def short(loop: gpu._Loop, arrays: Any, steps: int, keep: bool) -> Any:
        launched.append(loop.tiling.walks)
        if loop.tiling.walks:
            raise triton.runtime.OutOfResources(262_144, 101_376, "shared memory")
        return whole(loop, arrays, steps, keep)

    monkeypatch.setattr(gpu._Loop, "forward", short)
    check("rnn", 3, 2, 5)
    assert launched == [True, False]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "shared"), [("lstm", 99 * 1024), ("lstm", 0), ("alone", 0)])
@pytest.mark.usefixtures("interpreter")
def test_short_dtypes_agree_within_theirs(
    name: str, shared: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors of the dtype, and float32 ones under autocast: products alone are then short."""
    monkeypatch.setattr(gpu, "_SHARED", shared)
    given, outcome = draw(equations_of(name), 3, 5, 5)
    short = [leaf.to(dtype) for leaf in given]
    found = outcome(gpu.unroll, short)
    assert {value.dtype for value in found} == {dtype}
    assert_agree(found, outcome(judge, [leaf.double() for leaf in short]), 2e-2)

    def autocast(*arguments: Any) -> Any:
        with torch.autocast("cpu", dtype):
            return gpu.unroll(*arguments)

    found = outcome(autocast, [leaf.float() for leaf in given])
    assert {value.dtype for value in found} == {torch.float32}
    assert_agree(found, outcome(judge, given), 2e-2)


@pytest.mark.parametrize("shared", [99 * 1024, 0])
@pytest.mark.usefixtures("interpreter")
def test_without_a_gradient_nothing_but_the_states_is_kept(shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_SHARED", shared)
    equations = find_cell("lstm")
    given, _ = draw(equations, 3, 2, 5)
    named = dict(zip(equations.parameters, (leaf.float() for leaf in given[3:]), strict=True))
    y, after = gpu.unroll(equations, named, given[0].float(), (given[1].float(), given[2].float()))
    assert not y.requires_grad
    wanted = judge(
        equations, {name: value.double() for name, value in named.items()}, given[0], tuple(given[1:3]), None
    )
    assert_agree([y, *after], [wanted[0], *wanted[1]], 1e-5)


def test_gates_are_added_up_once() -> None:
    """A gate's hidden map, its input map and its bias have one gradient: one array, and no sum beside it."""
    lstm, gru = Layout(find_cell("lstm")), Layout(find_cell("gru"))
    assert lstm.gradient == {0: 1, 1: 1}
    assert lstm.summed == ()
    assert gru.gradient == {0: 0, 1: 1}
    assert gru.summed == ()
    assert Layout(find_cell("lstm-peephole")).summed == ("p.i", "p.f", "p.o")


def test_tilings() -> None:
    most = 227 * 1024  # of an H100
    walks = {
        (name, hidden, dtype): gpu.tiling(find_cell(name), hidden, dtype, most).walks
        for name in ("rnn", "lstm", "lru")
        for hidden in (64, 128, 512)
        for dtype in (torch.float32, torch.bfloat16)
    }
    assert [key for key, walk in walks.items() if not walk] == [
        ("rnn", 512, torch.float32),
        ("rnn", 512, torch.bfloat16),
        ("lstm", 128, torch.float32),
        ("lstm", 512, torch.float32),
        ("lstm", 512, torch.bfloat16),
    ]
    assert gpu.tiling(find_cell("lstm"), 128, torch.bfloat16, 99 * 1024).walks is False


def test_what_cannot_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    equations, state = find_cell("rnn"), (torch.zeros(1, 2),)
    with pytest.raises(ConfigurationError, match=r"given tensors that are on none(.|\n)*got: tensors on cpu"):
        gpu.unroll(equations, {}, torch.zeros(1, 1, 2), state)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ConfigurationError, match=r"float64(.|\n)*expected: float32, bfloat16, float16"):
        gpu.unroll(equations, {}, torch.zeros(1, 1, 2), (state[0].double(),))
    assert gpu.serves(equations, 2, torch.float16)
    assert not gpu.serves(equations, 2, torch.float64)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not gpu.serves(equations, 2, torch.float16)
    with pytest.raises(ConfigurationError, match=r"need Triton(.|\n)*pip install 'unrolled\[gpu\]'"):
        gpu.unroll(equations, {}, torch.zeros(1, 1, 2), state)


def test_importing_needs_no_triton() -> None:
    code = "import sys; sys.modules['triton'] = None; import unrolled.kernels.gpu"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", [*BUILTIN, *OWN])
def test_the_source_of_every_cell_is_python(name: str) -> None:
    equations = equations_of(name)
    for source in (walk_source(equations, False), walk_source(equations, True), steps_source(equations)):
        compile(source, name, "exec")


def compiled_for_a_gpu(equations: Equations, tiling: gpu.Tiling, kernel: str, hidden: int, product: str) -> Any:
    """A kernel down to the machine code of sm_90, as it would be launched with aligned arrays."""
    function = getattr(gpu._module(equations, tiling.walks, interpreted=False), kernel)
    constants = {"H": hidden, "ROWS": tiling.rows, "UNITS": tiling.units, "KEEP": True, "RESETS": True}
    float32 = {"s", "n", "y", "p", "ds", "dy", "dp"}
    kinds = {
        name: "constexpr"
        if name in constants
        else "i32"
        if name in "BTt"
        else "*u8"
        if name == "r"
        else "*fp32"
        if name.rstrip("0123456789") in float32
        else f"*{product}"
        for name in function.arg_names
    }
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(kinds.values()) if kind[0] == "*"}
    source = triton.compiler.ASTSource(fn=function, signature=kinds, constexprs=constants, attrs=aligned)
    target = triton.backends.compiler.GPUTarget("cuda", 90, 32)
    return triton.compile(source, target=target, options={"num_warps": tiling.warps})


@pytest.mark.parametrize(
    ("name", "hidden", "product"),
    [("lstm", 64, "bf16"), ("gru-reset-before", 20, "fp32"), ("alone", 300, "fp16"), ("gru-reset-before", 512, "bf16")],
)
def test_kernels_compile_for_a_gpu(
    name: str, hidden: int, product: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    equations = equations_of(name)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[product]
    shared = 99 * 1024
    tiling = gpu.tiling(equations, hidden, dtype, shared)
    assert tiling.walks == (hidden < 512)
    steps = ("forward_0", "forward_1", "forward_2", "backward_top", "backward_2", "backward_1")
    for kernel in ("forward", "backward") if tiling.walks else steps:
        made = compiled_for_a_gpu(equations, tiling, kernel, hidden, product)
        assert made.metadata.shared <= shared
        # Products of short numbers go to the tensor cores, those of float32 are not rounded to TF32 for them.
        assert ("mma" in made.asm["ptx"]) == (product != "fp32" and tiling.rows > 1)
        if tiling.walks:
            assert "cp.async" in made.asm["ptx"]  # loaded ahead
