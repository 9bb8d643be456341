"""Who may import whom, what is never imported, and that the package is found however it is started."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.imports import FILES, FOLDERS, PYTHON, SHIPPED, UNSAFE, imported, named, package
from support.places import ROOT

EACH_SHIPPED = pytest.mark.parametrize("path", SHIPPED, ids=named)


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def test_the_walk_sees_every_way_to_import():
    path = ROOT / "actors" / "seen.py"
    text = "import a.b\nfrom c import d\ndef f():\n    import e as x\n    import importlib\n    importlib.import_module('g.h')\n    __import__('i')\n"
    assert set(imported(path, text)) == {"a.b", "c.d", "e", "importlib", "g.h", "i"}
    assert set(imported(path, "from . import wire\nfrom .frames import pack\n")) == {"asyncnet.actors.wire", "asyncnet.actors.frames.pack"}
    assert all(FILES[folder] for folder in FOLDERS)


@pytest.mark.parametrize("path", FILES["asyncnet"], ids=named)
def test_the_core_imports_neither_ray_nor_zmq_nor_an_actor(path):
    assert not roots(path) & {"ray", "zmq"}
    assert not [name for name in imported(path) if within(name, "asyncnet.actors")]


def at_run_time(path: Path) -> str:
    """A file's text without what is there for type checkers only."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return ast.unparse(tree)


def test_no_two_modules_import_each_other_however_late():
    modules = {".".join([*package(path), path.stem]).removesuffix(".__init__"): path for path in SHIPPED}
    taken = {}
    for module, path in modules.items():
        names = imported(path, at_run_time(path))
        taken[module] = {name if name in modules else name.rpartition(".")[0] for name in names} & modules.keys() - {module}
    assert len(taken["asyncnet.team.draw"]) > 3
    order = list(TopologicalSorter(taken).static_order())  # CycleError names those that do
    assert order.index("asyncnet.team.network") < order.index("asyncnet.team.draw") < order.index("asyncnet.actors.engine")


@pytest.mark.parametrize("path", FILES["actors"], ids=named)
def test_actors_know_no_rule_and_no_scenario_by_name(path):
    known = [name for name in imported(path) if within(name, "asyncnet.rules") or within(name, "asyncnet.scenarios") or within(name, "asyncnet.tasks")]
    assert not known
    names = [*(file.stem for file in FILES["asyncnet"] if file.parent.name == "rules"), *(file.stem for file in (ROOT / "scenarios").rglob("*.toml"))]
    strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not strings & {spelled for name in names if name != "__init__" for spelled in (name, name.replace("_", "-"))}


def said(data: object) -> Iterator[str]:
    """Every key and every text in plain data."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from (key, *said(value))
    elif isinstance(data, list):
        for item in data:
            yield from said(item)


def test_scenarios_reach_an_engine_by_name_only():
    """They are data: one file of Python without a statement, and no word in the others that is an engine, a part of one, or a module to import."""
    files = [path for path in (ROOT / "scenarios").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    (code,) = (path for path in files if path.suffix != ".toml")
    assert code == ROOT / "scenarios" / "__init__.py"
    assert [type(statement) for statement in ast.parse(code.read_text()).body] == [ast.Expr]
    engines = {"engine", "ray", "zmq", "embedded", "compiled", "readable", "actors", "asyncnet", "time", "pack", "wire", "address"}
    for path in files:
        words = set(said(tomllib.loads(path.read_text()))) if path != code else set()
        assert not words & engines, path
        assert not [word for word in words if re.match(r"[\w.]+:\w", word)], path


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_nobody_imports_the_bare_names_actors_and_scenarios(path):
    assert not roots(path) & {"actors", "scenarios"}


@EACH_SHIPPED
def test_nothing_that_runs_code_when_read_is_imported(path):
    assert not roots(path) & UNSAFE
    assert not re.search(r"allow_pickle\s*=\s*True", path.read_text())


@EACH_SHIPPED
def test_every_module_says_what_it_is(path):
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said
    assert said.splitlines()[0].endswith((".", ":", "?"))


def python(code: str, cwd: Path, **environment: str) -> str:
    """What a fresh Python prints, without a user's own folders or an inherited path."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


LOADED = "import json, sys; print(json.dumps([name for name in ('numba', 'ray', 'zmq', 'gymnasium', 'numpy', 'pydantic') if name in sys.modules]))"


def test_importing_asyncnet_starts_neither_numba_nor_ray():
    assert json.loads(python(f"import asyncnet; {LOADED}", ROOT)) == []


def test_listing_and_validating_import_no_ray_and_no_wire():
    run = "import sys\nfrom asyncnet.cli import main\ntry:\n    main({})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n" + LOADED
    for arguments in (["validate", "cartpole-free"], ["list", "--json"]):
        out = python(run.format(arguments), ROOT)
        assert not {"ray", "zmq"} & set(json.loads(out.splitlines()[-1])), arguments


FINDS = """
import asyncnet, asyncnet.scenarios, asyncnet.scenario.reading, importlib.util, json
print(json.dumps([asyncnet.__file__, asyncnet.scenarios.__file__, importlib.util.find_spec("asyncnet.actors").origin,
                  importlib.util.find_spec("asyncnet.actors.host").origin, sorted(asyncnet.scenario.reading.shipped())]))
"""


def test_a_bare_checkout_finds_all_three_folders_from_anywhere():
    main, scenarios, actors, host, shipped = json.loads(python(FINDS, Path("/"), PYTHONPATH=str(ROOT)))
    assert [Path(name) for name in (main, scenarios, actors, host)] == [
        ROOT / "asyncnet" / "__init__.py",
        ROOT / "scenarios" / "__init__.py",
        ROOT / "actors" / "__init__.py",
        ROOT / "actors" / "host.py",
    ]
    assert shipped == sorted(path.stem for path in (ROOT / "scenarios").glob("*.toml"))


def test_a_checkout_finds_them_without_site_packages_too(tmp_path):
    """No editable install can have helped: the interpreter is told to read no .pth file; only the libraries' folder is added by hand."""
    libraries = {str(Path(__import__(name).__file__).parent.parent) for name in ("numpy", "pydantic")}
    code = f"import sys; sys.path += {sorted(libraries)!r}\n{FINDS}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[3] == str(ROOT / "actors" / "host.py")


def test_a_bare_import_would_be_a_second_module_and_so_is_banned():
    code = "import sys, importlib; one = importlib.import_module('asyncnet.actors.frames'); import actors.frames as two; print(one is two)"
    assert python(code, ROOT, PYTHONPATH=str(ROOT)).strip() == "False"
