"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import unrolled

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def defined_names(path: Path, body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements at the top of a file define; in a package's own file, what it re-exports too."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.ImportFrom(module=module, level=level, names=names) if path.name == "__init__.py":
                if level or (module or "").partition(".")[0] == "unrolled":
                    yield from (alias.asname or alias.name for alias in names)
            case ast.If() | ast.Try():
                yield from defined_names(path, statement.body + statement.orelse)


def forbidden_uses(tree: ast.Module) -> Iterator[str]:
    """Whatever runs code out of data: each use as `line: what`. SymPy's `sympify` runs strings, unless it is strict."""
    modules = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
    functions = {"eval", "exec", "parse_expr", "sympify"}
    strict = {
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and any(word.arg == "strict" and getattr(word.value, "value", None) is True for word in node.keywords)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = {alias.name.partition(".")[0] for alias in names} & modules
            case ast.ImportFrom(module=module, names=names):
                found = {(module or "").partition(".")[0]} & modules | {alias.name for alias in names} & functions
            case ast.Name(id=name):
                found = {name} & functions
            case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save" as name):
                found = {f"torch.{name}"}
            case ast.Attribute(attr="parse_expr" | "sympify" as name) if node not in strict:
                found = {name}
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=value)) if value is not False:
                found = {"allow_pickle"}
            case _:
                continue
        yield from (f"{getattr(node, 'lineno', '?')}: {name}" for name in sorted(found))


@pytest.mark.parametrize("path", [path for path in SOURCES if "__all__" in path.read_text()], ids=module_name)
def test_all_is_exactly_the_public_names(path: Path) -> None:
    tree = ast.parse(path.read_text())
    defined = {*defined_names(path, tree.body)}
    module = importlib.import_module(module_name(path))
    listed = {name for name in module.__all__ if name != "__version__"}
    assert listed == {name for name in defined if not name.startswith("_")}
    assert [name for name in listed if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_runs_code_out_of_data(path: Path) -> None:
    assert [*forbidden_uses(ast.parse(path.read_text()))] == []


def test_the_search_for_forbidden_uses_finds_them() -> None:
    bad = (
        "import pickle\nfrom pickle import loads\neval('1')\nexec('1')\ntorch.load('f')\nsympy.sympify('x')\n"
        "numpy.load('f', allow_pickle=True)\n"
    )
    good = "model.eval()\nloader.exec_module(module)\nnumpy.load('f', allow_pickle=False)\njson.load(file)\n"
    good += "sympy.sympify(1, strict=True)\n"
    assert [use.partition(":")[0] for use in forbidden_uses(ast.parse(bad))] == ["1", "2", "3", "4", "5", "6", "7"]
    assert [*forbidden_uses(ast.parse(good))] == []


def test_a_file_fits_in_one_sitting() -> None:
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 450} == {}


def test_importing_the_package_is_light() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import unrolled"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "unrolled" in imported
    assert imported & {"cyclopts", "numpy", "rich", "sympy", "torch"} == set()


def test_the_version_is_stated_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == unrolled.__version__
