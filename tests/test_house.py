"""The floor plan: imports run one way, without a circle; files, classes and functions stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.conftest import ROOT

# A room may import its own modules and those of lower floors; rooms of one floor do not import each other.
FLOORS = [
    ["common"],
    ["data"],
    ["model", "reference"],
    ["recognition", "results"],
    ["training", "page"],
    ["benchmarks"],
    ["docs"],
]
SCRIPTS = ["train.py", "infer.py", "compare.py", "evaluate.py", "sweep.py", "demo.py"]

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for rooms in FLOORS
    for room in rooms
    for path in (ROOT / room).rglob("*.py")
} | {script.removesuffix(".py"): ROOT / script for script in SCRIPTS}


def imports(name: str, late: bool = True) -> Iterator[str]:
    """Modules of the project that a module imports; without `late`, those alone that it imports when it is imported."""
    tree = ast.parse(FILES[name].read_text())
    ignored: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            ignored |= {inner for child in node.body for inner in ast.walk(child)}
        if not late and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            ignored |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in FILES or node.module in FILES:
                    yield inner if inner in FILES else node.module


def room(name: str) -> str:
    return name.partition(".")[0]


def floor(name: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS) if room(name) in rooms), len(FLOORS))


def test_no_arrow_leads_up() -> None:
    up = [
        f"{name} imports {imported}"
        for name in FILES
        for imported in imports(name)
        if room(imported) != room(name) and floor(imported) >= floor(name)
    ]
    assert up == []


def test_no_circle() -> None:
    graph = {name: set(imports(name)) - {name} for name in FILES}
    for name in FILES:  # a package's own module is imported before what is in it
        graph[name] -= {imported for imported in graph[name] if name.startswith(imported + ".")}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' imports '.join(reversed(error.args[1]))}")
    assert len(order) == len(FILES)


def _sizes() -> Iterator[tuple[str, int, int]]:
    """Every file, class and function by its name, with its lines and its limit."""
    for name, path in FILES.items():
        text = path.read_text()
        yield name, text.count("\n"), 320
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{name}.{node.name}", lines, 200 if isinstance(node, ast.ClassDef) else 60


def test_files_classes_and_functions_are_small() -> None:
    assert [f"{name}: {lines} lines, at most {most}" for name, lines, most in _sizes() if lines > most] == []


def test_training_is_small() -> None:
    assert sum(path.read_text().count("\n") for path in (ROOT / "training").rglob("*.py")) <= 2600
