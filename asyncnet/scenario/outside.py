"""What a user brings from outside the package: rules, tasks, and modules that register environments; and how it reaches every process of a run.

A file is made into a module whose name holds a digest of its text, so that all processes find its compiled code under one name, and an edited file is another
module. What a scenario needs of all this (`needed`) travels as text beside it: to the process that compiles, to the conductor, to Ray's hosts, into the run's
directory. There a module that can be imported by its name is imported, and must be of that very text; any other is made from the text.

The code that a run's directory holds is executed if it has been brought on this machine before (its digest is noted in the cache folder), or on demand.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Literal

from asyncnet import tasks
from asyncnet.kernels.kernel import cache_folder
from asyncnet.kernels.reach import GIVEN, called, give, reached, text_of
from asyncnet.nodes import world
from asyncnet.nodes.family import bind
from asyncnet.optimizers import OPTIMIZERS
from asyncnet.rules import RULES
from asyncnet.scenario import reading
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.scenario.model import Model
from asyncnet.scenario.reading import LARGEST_FILE
from asyncnet.scenario.registry import Registry, where
from asyncnet.scenario.schema import Scenario, follow
from asyncnet.text import in_a_line, printable

REGISTRIES: dict[str, Registry] = {"rule": RULES, "task": tasks.TASKS}


class Outside(Model):
    """A module from outside: what it is for, the name of its rule or task, where it was found, and the digest of its text."""

    kind: Literal["rule", "task", "import", "part"]  # a part: what the kernels of a rule or task take from other modules
    name: str
    module: str
    file: str
    sha256: str


_imported: dict[str, ModuleType] = {}  # what `--import` brought, by name


def register(what: str | Path | ModuleType, kind: Literal["rule", "task", "condition", "import"] | None = None) -> ModuleType | None:
    """Have a rule, a task or a condition known by its name: from a file, the name of a module, or a module; "import": a module that registers environments.

    Returns the module, of a condition None. Raises ScenarioError for a file that lacks something, or whose name stands for another text already.
    """
    if kind == "condition" or (kind is None and str(what).endswith(".toml")):
        reading.register(Path(str(what)))
        return None
    if kind not in (*REGISTRIES, "import", None):
        raise ScenarioError("kind", "", f"rule, task, condition or import; got {kind!r}")
    module = what if isinstance(what, ModuleType) else _from_file(Path(what), kind) if _is_file(what) else _by_name(str(what))
    if module.__name__ == "__main__":
        raise ScenarioError(str(getattr(module, "__file__", "__main__")), "", "a program cannot be registered: put the rule, or task, into a file of its own")
    try:
        _enter(module, kind or _kind(module))
        note_as_known(hashlib.sha256(_text(module)).hexdigest())
    except ScenarioError:
        if module.__name__.startswith(GIVEN) and not any(module in registry.values() for registry in REGISTRIES.values()):
            sys.modules.pop(module.__name__, None)
        raise
    return module


def _is_file(what: str | Path) -> bool:
    return isinstance(what, Path) or what.endswith(".py") or "/" in what


def _from_file(path: Path, kind: str | None) -> ModuleType:
    """The module in a file; environments are often registered by the name of their module, so such a file keeps its own."""
    try:
        if path.is_fifo():
            raise ScenarioError(str(path), "", "a pipe, not a file")
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise ScenarioError(str(path), "", in_a_line(error)) from None
    if len(text) > LARGEST_FILE:
        raise ScenarioError(str(path), "", f"larger than {LARGEST_FILE} bytes")
    if not path.stem.isidentifier():
        raise ScenarioError(str(path), "", f"{path.stem!r} cannot be the name of a module: letters, digits and _")
    if kind != "import":
        return _made(f"{GIVEN}{hashlib.sha256(text).hexdigest()[:12]}.{path.stem}", text, str(path))
    if path.stem in sys.modules or importlib.util.find_spec(path.stem):
        module = _by_name(path.stem)
        if _text(module) != text:
            raise ScenarioError(str(path), "", f"there is another module {path.stem} here ({getattr(module, '__file__', 'built in')}); rename the file")
        return module
    return _made(path.stem, text, str(path))


def _made(name: str, text: bytes, file: str) -> ModuleType:
    """The module of that name and text."""
    if name in sys.modules:
        return sys.modules[name]
    made = ModuleType(name)
    made.__file__, made.__package__, made.__spec__ = file, name.rpartition(".")[0], ModuleSpec(name, None, origin=file)
    made.__registered__ = file
    give(name, text)
    sys.modules[name] = made
    try:
        text.decode("utf-8")
        exec(compile(text, file, "exec"), made.__dict__)
    except (Exception, SystemExit) as error:  # whatever somebody's file raises
        del sys.modules[name]
        raise ScenarioError(file, "", _said(error, file)) from None
    return made


def _said(error: Exception, file: str) -> str:
    """What went wrong in a file, and in which of its lines."""
    if isinstance(error, ScenarioError):
        return str(error)
    line, step = error.lineno if isinstance(error, SyntaxError) else None, error.__traceback__
    while step is not None:
        line = step.tb_lineno if step.tb_frame.f_code.co_filename == file else line
        step = step.tb_next
    what = error.msg if isinstance(error, SyntaxError) else in_a_line(error)
    return f"{f'line {line}: ' if line else ''}{type(error).__name__}: {what}"


def raised_in(error: Exception) -> ScenarioError | None:
    """What to say of an exception that the text of a file from outside raised: file, line and error; None if it was ours."""
    ours, file, step = f"{Path(__file__).parent.parent}/", "", error.__traceback__
    theirs = {str(module.__file__) for registry in REGISTRIES.values() for module in registry.values()}
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        file = "" if name.startswith(ours) else name if name in theirs else file
        step = step.tb_next
    if type(error).__module__.startswith("numba."):  # its text names the files and lines that it went through, the innermost last
        names = {Path(name).name: name for name in theirs}
        through = [(Path(name).name, line) for name, line in re.findall(r'File "([^"]+)", line (\d+)', str(error)) if Path(name).name in names]
        what = next((line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Failed in")), "")
        if through:
            why = f"line {through[-1][1]}: {type(error).__name__}: {what} (NUMBA_DISABLE_JIT=1 runs it as plain Python)"
            return ScenarioError(names[through[-1][0]], "", why)
    return ScenarioError(file, "", _said(error, file)) if file else None


def _by_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ScenarioError(
                name, "", "no module of that name can be imported; a file is named with its path and ends in .py, such as ./my_rule.py"
            ) from None
        raise ScenarioError(name, "", in_a_line(error)) from None
    except (Exception, SystemExit) as error:  # whatever somebody's module raises
        raise ScenarioError(name, "", f"{type(error).__name__}: {in_a_line(error)}") from None


def _kind(module: ModuleType) -> str:
    for kind, registry in REGISTRIES.items():
        if registry.claims(module):
            return kind
    raise ScenarioError(where(module), "Settings", "neither a rule's (made from CoagentSettings or the like) nor a task's (made from Task)")


def _enter(module: ModuleType, kind: str) -> None:
    if kind == "import":
        _imported[module.__name__] = module
        return
    registry = REGISTRIES[kind]
    registry.prove(module)
    if module.NAME not in registry:
        _bind(module, kind)
    registry.add(module)
    follow()


def _bind(module: ModuleType, kind: str) -> None:
    """Find out whether its kernels are those that its machine asks for."""
    if kind == "rule":
        for key in ("HIDDEN", "OUTPUT"):
            bind(_part(module, key, "machine"), rule=_part(module, key, "kernels"), optimizer=OPTIMIZERS["adam"])
    elif hasattr(module, "reset"):
        bind(world, task=module)
    elif not (hasattr(module, "make") or hasattr(module, "kernels")):
        raise ScenarioError(where(module), "reset", "missing; a task brings kernels (reset, step), or make(task, seed) for one that is stepped in Python")


def _part(module: ModuleType, key: str, part: str) -> ModuleType:
    """The machine or the kernels of a rule's hidden nodes, or of its output's."""
    name = getattr(getattr(module, key), part)
    try:
        return importlib.import_module(name)
    except (ImportError, ValueError):
        known = [getattr(getattr(each, side), part) for each in RULES.values() for side in ("HIDDEN", "OUTPUT")]
        raise ScenarioError(where(module), f"{key}.{part}", f"no module {name}; {near(name, dict.fromkeys(known))}") from None


def _text(module: ModuleType) -> bytes:
    try:
        return text_of(module.__name__)
    except (OSError, TypeError, AttributeError):
        raise ScenarioError(called(module.__name__), "", "has no file whose text could be kept") from None


def _about(module: ModuleType, kind: str) -> tuple[Outside, str]:
    text = _text(module)
    file = printable(str(getattr(module, "__registered__", None) or module.__file__))
    name = module.NAME if kind in REGISTRIES else module.__name__
    try:
        return Outside(kind=kind, name=name, module=module.__name__, file=file, sha256=hashlib.sha256(text).hexdigest()), text.decode("utf-8")
    except UnicodeDecodeError:
        raise ScenarioError(file, "", "not UTF-8 text") from None


def needed(scenario: Scenario) -> list[tuple[Outside, str]]:
    """What a scenario needs from outside, in the order in which it is to be taken in, each with its text."""
    found = {name: _about(module, "import") for name, module in _imported.items()}
    names = [("rule", scenario.rule.name), ("task", scenario.task.name), *([("rule", scenario.critic.name)] if scenario.critic else [])]
    for kind, name in names:
        registry = REGISTRIES[kind]
        if name not in registry or name in registry.shipped:
            continue
        module = registry[name]
        kernels = [_part(module, key, "kernels") for key in ("HIDDEN", "OUTPUT")] if kind == "rule" else [tasks.kernels(scenario.task)]
        for part in [part for each in kernels for part in reached(each.__name__)]:
            if part.partition(".")[0] != "asyncnet" and part != module.__name__:
                found.setdefault(part, _about(sys.modules[part], "part"))
        found[module.__name__] = _about(module, kind)
    return list(found.values())


def packed(scenario: Scenario) -> list[dict[str, str]]:
    """The same as plain data, for another process."""
    return [{**about.model_dump(), "text": text} for about, text in needed(scenario)]


def receive(given: Iterable[Mapping[str, str]]) -> None:
    """Take in what another process sent; raises ScenarioError for what cannot be had here in that very text."""
    for each in given:
        about = {key: value for key, value in each.items() if key != "text"}
        take_in(Outside(**about), each["text"].encode(), each["file"])


def take_in(about: Outside, text: bytes, file: str) -> None:
    """Take in one module; `file` names it where something is wrong."""
    if about.module in sys.modules or (not about.module.startswith(GIVEN) and _findable(about.module)):
        module = _by_name(about.module)
    elif "." in about.module and not about.module.startswith(GIVEN):
        raise ScenarioError(about.module, "", f"is not installed here; this run needs it for its {about.kind}")
    else:
        module = _made(about.module, text, about.file)
    if _text(module) != text:
        found = getattr(module, "__registered__", None) or module.__file__
        raise ScenarioError(str(found), "", f"is not what this run began with ({file}): edited since, or another")
    if about.kind != "part":
        _enter(module, about.kind)


def _findable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _known() -> Path | None:
    folder = cache_folder()
    return folder and folder / "brought"


def note_as_known(sha256: str) -> None:
    """Note that a user of this machine has brought a file of that digest."""
    if folder := _known():
        try:
            folder.mkdir(exist_ok=True)
            (folder / sha256).touch()
        except OSError:
            pass  # then a run's directory is asked about


def is_known(sha256: str) -> bool:
    """Whether a file of that digest was brought on this machine before."""
    folder = _known()
    return folder is not None and (folder / sha256).exists()
