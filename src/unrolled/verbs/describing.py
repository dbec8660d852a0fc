"""`describe`, `cells` and `runs`: what there is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unrolled.cells import BUILTIN, Equations, as_latex, as_text, find_cell
from unrolled.errors import CellError, ConfigurationError
from unrolled.runs.directory import CONFIG, DEFAULT_ROOT, Run, RunSummary, list_runs
from unrolled.verbs.describing_bags import BagDescription, describe_bag
from unrolled.verbs.describing_ngrams import FittedDescription, describe_fitted

__all__ = ["CellLine", "Description", "cells", "describe", "runs"]


@dataclass(frozen=True)
class Description:
    """A cell, or the network of a run.

    Attributes:
        name: of the cell or run.
        cell: of the cell.
        about: the docstring of the cell.
        equations: one line each.
        latex: the same in LaTeX.
        shapes: every parameter with its shape; for a run under its name in the checkpoint.
        parameters: how many numbers these are.
        layers: how many recurrent layers.
        sizes: V, E, D, H as far as they are known.
        states: the states of the cell.
        stages: products of a time step that wait for each other.
        linear: whether the cell is linear in its state.
        config: the configuration of the run; empty for a cell.
    """

    name: str
    cell: str
    about: str
    equations: list[str]
    latex: str
    shapes: dict[str, list[int]]
    parameters: int
    layers: int
    sizes: dict[str, int]
    states: list[str]
    stages: int
    linear: bool
    config: dict[str, Any]


def describe(
    what: str | Path, *, input_size: int = 128, hidden_size: int = 128, output_size: int | None = None
) -> Description | FittedDescription | BagDescription:
    """The equations, shapes and parameter count of a run's network, or of one layer of a cell.

    Args:
        what: the directory of a run, or a cell's name, or FILE.py:NAME.
        input_size: D of the layer, for a cell.
        hidden_size: H of the layer, for a cell.
        output_size: V of an output layer y = O h + b on top, for a cell; none if not given.

    Raises:
        RunError, CellError: there is no such thing, or it is damaged.
        ConfigurationError: a size is not positive.
    """
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("output_size", output_size)):
        if size is not None and size < 1:
            raise ConfigurationError(f"{name} is too small", expected="at least 1", got=str(size))
    path = Path(what)
    if str(what) not in BUILTIN and ((path / CONFIG).exists() or (DEFAULT_ROOT / path / CONFIG).exists()):
        run = Run.open(path)
        if "fitted" not in run.config:
            return _run(run)
        return describe_bag(run) if run.config.get("task") == "classify" else describe_fitted(run)
    try:
        equations = find_cell(str(what))
    except CellError:
        if path.is_dir():
            Run.open(path)  # says what is wrong with the directory
        raise
    equations.check_sizes(input_size, hidden_size)
    shapes = {name: list(equations.shape(name, input_size, hidden_size)) for name in equations.parameters}
    sizes = {"D": input_size, "H": hidden_size}
    if output_size is not None:
        shapes |= {"output.weight": [output_size, hidden_size], "output.bias": [output_size]}
        sizes["V"] = output_size
    return _described(str(what), equations, shapes, sizes, 1, {})


def _run(run: Run) -> Description:
    from unrolled.runs.models import build_language_model, learns_from_examples

    if learns_from_examples(run):
        return _of_task(run)
    model, vocabulary = build_language_model(run)
    stack = model.recurrent
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    embedded = {"E": stack.input_size} if "embedding.weight" in shapes else {}
    sizes = {"V": vocabulary.size, **embedded, "D": stack.input_size, "H": stack.hidden_size}
    config = {key: value for key, value in run.config.items() if key != "equations"}
    found = _described(run.name, stack.equations, shapes, sizes, len(stack.layers), config)
    return replace(found, parameters=model.size)  # what is tied stands under two names


def _of_task(run: Run) -> Description:
    """The network of a run that learnt from examples, whatever it consists of besides its recurrent layers."""
    from unrolled.layers import Recurrent
    from unrolled.runs.models import read_sections

    kind, equations, sections = read_sections(run)
    model = kind.build(equations, sections, run.vocabulary)
    stacks = [module for module in model.modules() if isinstance(module, Recurrent)]
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    sizes = {"D": stacks[0].input_size, "H": stacks[0].hidden_size} if stacks else {}
    config = {key: value for key, value in run.config.items() if key != "equations"}
    layers = len(stacks[0].layers) if stacks else 0
    return replace(_described(run.name, equations, shapes, sizes, layers, config), parameters=model.size)


def _described(
    name: str,
    equations: Equations,
    shapes: dict[str, list[int]],
    sizes: dict[str, int],
    layers: int,
    config: dict[str, Any],
) -> Description:
    from unrolled.cells.derivation import derive

    derivation = derive(equations)
    return Description(
        name=name,
        cell=equations.name,
        about=equations.doc,
        equations=as_text(equations),
        latex=as_latex(equations),
        shapes=shapes,
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        layers=layers,
        sizes=sizes,
        states=list(equations.states),
        stages=max((product.level for product in derivation.products), default=0),
        linear=derivation.is_linear_in_state,
        config=config,
    )


@dataclass(frozen=True)
class CellLine:
    """A line of the list of cells: its name, its states, its parameter matrices, the first line of its docstring."""

    name: str
    states: list[str]
    matrices: int
    about: str


def cells() -> list[CellLine]:
    """The built-in cells."""
    lines = []
    for name in BUILTIN:
        equations = find_cell(name)
        matrices = sum(kind != "vector" for kind in equations.parameters.values())
        lines.append(CellLine(name, list(equations.states), matrices, equations.doc.splitlines()[0]))
    return lines


def runs(root: str | Path = DEFAULT_ROOT) -> list[RunSummary]:
    """The runs below a directory, the latest first."""
    return list_runs(root)
