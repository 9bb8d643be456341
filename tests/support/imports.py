"""What the project's files import."""

import ast
from collections.abc import Iterator
from pathlib import Path

from support.places import ROOT

FOLDERS = {"asyncnet": "asyncnet", "actors": "asyncnet.actors", "scenarios": "asyncnet.scenarios"}  # folder -> import name
FILES = {folder: sorted((ROOT / folder).rglob("*.py")) for folder in FOLDERS}
SHIPPED = [path for folder in FOLDERS for path in FILES[folder]]
PYTHON = [*SHIPPED, *(path for folder in ("tests", "benchmarks", "docs") for path in sorted((ROOT / folder).rglob("*.py")))]
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
LOADERS = {"import_module", "__import__", "find_spec", "reload"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def package(path: Path) -> list[str]:
    """The parts of the package that a shipped file belongs to."""
    folder, *rest = path.relative_to(ROOT).parent.parts
    return [*FOLDERS.get(folder, folder).split("."), *rest]


def imported(path: Path, text: str | None = None) -> Iterator[str]:
    """Every dotted name that a file (or `text` in its place) imports, wherever in it; relative ones made absolute; with what it takes from each module."""
    for node in ast.walk(ast.parse(path.read_text() if text is None else text, str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package(path)[: len(package(path)) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            if name in LOADERS:
                yield node.args[0].value
