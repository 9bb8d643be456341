"""What the package takes from inside numba: named in one table, in one folder, capped to versions that were tested, and still what it was there."""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import numba
import numpy as np
import pytest
from numba import types

from asyncnet.kernels import arithmetic, numba_internals
from asyncnet.kernels.kernel import _HOW, entry
from asyncnet.kernels.numba_internals import calls
from asyncnet.kernels.pointer import HANDLE, address, call
from support.imports import PYTHON, SHIPPED, imported, named
from support.places import ROOT

FOLDER = ROOT / "asyncnet" / "kernels" / "numba_internals"
PUBLIC = re.compile(r"numba(\.(types|extending)(\.\w+)?)?")
ROW = re.compile(r"^    (\w+) +(numba[\w.]+|llvmlite) +(\w+(?: \w+)*)  +\S", re.MULTILINE)
TABLE = {f"{module}.{name}": set(files.split()) for name, module, files in ROW.findall(numba_internals.__doc__)}


def private(path):
    """What a file takes from inside numba or llvmlite."""
    return {name for name in imported(path) if re.match(r"(numba|llvmlite)\b", name) and not PUBLIC.fullmatch(name)}


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_only_one_folder_takes_anything_from_inside_numba(path):
    assert path.parent == FOLDER or not private(path)
    if path.parent != FOLDER:
        text = ast.unparse(ast.parse(path.read_text()))
        assert not re.search(r"\._cache\b|\.overloads\b|\.targetctx\b|\.fndesc\b|\.call_conv\b|CACHE_DIR", text)


def test_the_table_names_what_the_folder_takes_and_who_takes_it():
    taken = {}
    for path in FOLDER.glob("*.py"):
        for name in private(path):
            taken.setdefault(name, set()).add(path.stem)
    assert len(taken) > 5
    assert taken == TABLE


def test_nobody_asks_a_kernel_for_its_python_text_but_by_the_one_helper():
    asks = {named(path) for path in PYTHON for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute) and node.attr == "py_func"}
    assert asks == {"asyncnet/kernels/numba_internals/caches.py"}  # plain.as_python asks by name: only compiled kernels have one


@pytest.mark.parametrize("package", ["numba", "llvmlite", "ray"])
def test_the_versions_of_what_is_used_from_inside_are_capped_and_these_are_within(package):
    (wanted,) = (line for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] if line.startswith(package))
    least, below = re.fullmatch(rf"{package}>=(\d+\.\d+),<(\d+\.\d+)", wanted).groups()

    def number(text):
        return tuple(int(part) for part in text.split(".")[:2])

    assert number(least) <= number(version(package)) < number(below)
    assert number(below)[0] == number(least)[0], "not past a version that promises nothing"


SIGNATURES = {
    "numba.np.arrayobj.make_array": "array_type",
    "numba.np.arrayobj.populate_array": "array data shape strides itemsize meminfo parent",
    "numba.core.cgutils.create_struct_proxy": "fe_type kind",
    "numba.core.cgutils.alloca_once_value": "builder value name zfill",
    "numba.core.cgutils.for_range_slice": "builder start stop step intp inc",
    "numba.core.typing.templates.AttributeTemplate.resolve": "self value attr",
    "numba.core.caching.CompileResultCacheImpl.get_filename_base": "self fullname abiflags",
    "numba.core.caching.CompileResultCacheImpl.check_cachable": "self cres",
    "numba.core.caching.FunctionCache._index_key": "self sig codegen",
    "numba.core.caching.FunctionCache.load_overload": "self sig target_context",
    "numba.core.caching.FunctionCache.save_overload": "self sig data",
    "numba.core.caching.FunctionCache.enable": "self",
    "numba.core.caching.IndexDataCacheFile": "cache_path filename_base source_stamp",
    "numba.core.caching.IndexDataCacheFile.save": "self key data",
    "numba.core.caching.IndexDataCacheFile.load": "self key",
    "numba.core.caching.IndexDataCacheFile._save_data": "self name data",
    "numba.core.caching.IndexDataCacheFile._load_data": "self name",
    "numba.core.caching.IndexDataCacheFile._data_path": "self name",
    "numba.core.caching._CacheLocator.ensure_cache_path": "self",
    "numba.extending.intrinsic": "args kwargs",
    "numba.core.cpu.CPUContext.codegen": "self",
    "numba.core.callconv.CPUCallConv.get_function_type": "self restype argtypes",
    "numba.core.callconv.CPUCallConv.return_status_propagate": "self builder status",
    "numba.core.codegen.CPUCodegen.magic_tuple": "self",
    "numba.core.codegen.JITCodeLibrary.get_pointer_to_function": "self name",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_what_is_called_inside_numba_takes_the_arguments_that_it_took(name):
    parts = name.split(".")
    at = next(n for n in range(len(parts) - 1, 0, -1) if _module(parts[:n]))
    found = importlib.import_module(".".join(parts[:at]))
    for part in parts[at:]:
        found = getattr(found, part, None)
        assert found is not None, f"numba {numba.__version__} has no {name}: asyncnet/kernels/numba_internals says what it is for"
    took = " ".join(inspect.signature(found).parameters)
    assert took == SIGNATURES[name], f"numba {numba.__version__}: {name}({took}) took ({SIGNATURES[name]})"


def _module(parts):
    try:
        importlib.import_module(".".join(parts))
    except ImportError:
        return False
    return True


@entry
def eleven(state, config, now, kind, port, seq, stamp, payload, out, numbers):
    """A `handle` whose result tells its arguments apart."""
    if kind == 9:
        raise ValueError("nine")
    state[0] = payload[0]
    out[0, 0] = numbers[0]
    return now + 10 * kind + 100 * port + 1000 * seq + 10000 * stamp


@entry
def called(at, kind):
    """What `eleven` returns when it is called by its address."""
    state, config, payload, out, numbers = np.zeros(1), np.zeros(1), np.full(1, 7.0), np.zeros((1, 1), np.int64), np.full(1, 8.0)
    flags = call(at, state, config, 1, kind, 3, 4, 5, payload, out, numbers)
    return flags, state[0], out[0, 0]


def test_the_calling_convention_brings_every_argument_over_and_an_exception_back():
    assert called(address(eleven), 2) == (54321, 7.0, 8)
    with pytest.raises(ValueError, match="nine"):
        called(address(eleven), 9)
    with pytest.raises(TypeError, match="not float64"):
        calls.address(eleven, HANDLE, types.float64)


@entry
def kept_one(x):
    """Something to be kept."""
    return x + 1


def test_a_dispatcher_asks_its_cache_before_it_compiles_and_hands_over_what_it_compiled(monkeypatch):
    asked = []
    for name in ("load_overload", "save_overload"):
        found = getattr(type(kept_one._cache), name)
        monkeypatch.setattr(type(kept_one._cache), name, lambda self, *given, name=name, found=found: asked.append((name, *given)) or found(self, *given))
    kept_one(1.5)
    assert [step[:2] for step in asked][:1] == [("load_overload", (types.float64,))], f"numba {numba.__version__} does not ask `_cache.load_overload`"
    assert asked[0][2] is kept_one.targetctx
    made = kept_one.overloads[types.float64,]
    if len(asked) > 1:  # it was not on disk
        assert asked[1] == ("save_overload", (types.float64,), made)
    assert kept_one._cache.holds((types.float64,), kept_one.targetctx)
    assert not kept_one._cache.holds((types.complex128,), kept_one.targetctx)


def test_the_key_of_kept_code_is_of_types_machine_and_byte_code():
    cache, codegen = kept_one._cache, kept_one.targetctx.codegen()
    key = cache._index_key((types.int64,), codegen)
    assert key[:2] == ((types.int64,), codegen.magic_tuple())
    assert key == cache._index_key((types.int64,), codegen) != cache._index_key((types.float64,), codegen)
    assert repr(key) == repr(cache._index_key((types.int64,), codegen)), "files are named by it"
    assert not re.search(r" at 0x[0-9a-f]+", repr(key)), "another process has to come to the same"


def sum_of(a, b):
    """A sum and products, as kernels have them."""
    s = arithmetic.total(a) + arithmetic.dot(a, b)
    for i in range(a.size):
        s += a[i] * b[i]
    return s


def test_no_instruction_has_leave_to_change_a_sum():
    """Neither order nor rounding: no `fast`, `reassoc` or `contract`, so plain Python comes to the same bits."""
    made = numba.njit(**_HOW)(sum_of)
    made(np.ones(9), np.ones(9))
    (text,) = made.inspect_llvm().values()
    added = re.findall(r"= f(?:add|mul|sub|div)\b[^\n]*", text)
    assert any("<4 x double>" in line for line in added)
    assert not [line for line in added if re.search(r"\b(fast|reassoc|contract|nnan|ninf|nsz|arcp|afn)\b", line)]
    assert "llvm.fmuladd" not in text
    assert "llvm.fma." not in text


UNTOUCHED = """
import json, os, sys
import numba
from numba import config
def settings():
    return {name: repr(getattr(config, name)) for name in dir(config) if name.isupper()}
before, around = settings(), {name: value for name, value in os.environ.items() if name.startswith("NUMBA")}
sys.path.insert(0, "tests")
from support.small import small
from asyncnet import api
from asyncnet.loop.compiled import compiled_loop
from asyncnet.scenario.schema import check
seen = []
made = api.run(check(small(), "test"), out=None)
assert made.record.stopped == "finished"
after = settings()
changed = {name: (before.get(name), after.get(name)) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
print(json.dumps([len(before), changed, around == {name: value for name, value in os.environ.items() if name.startswith("NUMBA")}]))
"""


def test_no_setting_of_numbas_is_changed_by_importing_and_running(tmp_path):
    """CACHE_DIR least of all: another package's kernels would be kept among ours."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "of somebody else")}
    done = subprocess.run([sys.executable, "-c", UNTOUCHED], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    count, changed, same = json.loads(done.stdout)
    assert count > 50
    assert changed == {}
    assert same
    assert not (tmp_path / "of somebody else").exists(), "and what we compile is kept where we say"
