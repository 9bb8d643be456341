"""What the package takes from inside Ray: in one file, and still there."""

import importlib
import re
from pathlib import Path

import pytest

from asyncnet.actors import ray_internals, session
from support.imports import FILES, SHIPPED, imported, named

HERE = Path("actors/ray_internals.py")
DOCUMENTED = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_TMPDIR", "RAY_USAGE_STATS_ENABLED"}
ray = importlib.import_module("ray")
INSIDE = Path(ray.__file__).parent


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_only_one_file_takes_anything_from_inside_ray(path):
    if named(path) == str(HERE):
        return
    text = path.read_text()
    assert not [name for name in imported(path) if re.match(r"ray\._", name)]
    assert not re.search(r"\bray\._|_raylet", text)
    assert set(re.findall(r"\bRAY_\w+", text)) <= DOCUMENTED
    assert not re.search(r"[\"'](raylet|gcs_server|ray::)[\"']", text)


def test_the_docstring_names_all_of_it():
    (path,) = (path for path in FILES["actors"] if named(path) == str(HERE))
    code = path.read_text().removeprefix(f'"""{ray_internals.__doc__}"""')
    taken = {*re.findall(r"\bRAY_[A-Za-z_]+", code), *(name.rpartition(".")[2] for name in imported(path) if name.startswith("ray."))}
    assert len(taken) > 8
    told = ray_internals.__doc__ + " ".join(ray_internals.QUIET | ray_internals.CONTROL_TIMEOUT)
    assert not [name for name in taken if name not in told]


TAKEN = [("ray._raylet", "GcsClient"), ("ray._raylet", "AuthenticationTokenLoader"), ("ray._private.ray_constants", "ENABLE_RAY_CLUSTER")]


@pytest.mark.parametrize(("module", "name"), TAKEN)
def test_what_is_taken_is_there(module, name):
    """Whether the control store still answers `knock` as it did is seen where there is one (test_session.py)."""
    assert hasattr(importlib.import_module(module), name), f"ray {ray.__version__} has no {module}.{name}: actors/ray_internals.py says what goes without it"


def test_the_token_can_be_forgotten():
    loader = importlib.import_module("ray._raylet").AuthenticationTokenLoader.instance()
    assert callable(loader.reset_cache), f"ray {ray.__version__}: a second session of a process would show the token of the first"


@pytest.mark.parametrize("name", sorted((ray_internals.QUIET.keys() | ray_internals.CONTROL_TIMEOUT.keys()) - {"SPT_NOENV", "RAY_USAGE_STATS_ENABLED"}))
def test_rays_processes_still_know_the_settings_that_they_are_given(name):
    """They read a setting by its name in the environment; one that they do not know is passed over without a word."""
    setting = name.removeprefix("RAY_").encode()
    binary = next(INSIDE.glob("core/src/ray/raylet/raylet*")).read_bytes()
    assert setting in binary, f"ray {ray.__version__}: its raylet knows no {name}"


def test_the_file_that_says_what_auto_means_is_the_one_that_ray_writes(tmp_path, monkeypatch):
    from ray._common import utils

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    path = Path(utils.get_ray_address_file(None))
    assert path.name == "ray_current_cluster"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    with pytest.raises(ValueError, match="no cluster"):
        ray_internals.found("auto")
    path.write_text("127.0.0.1:6379\n")
    assert ray_internals.found("auto") == "127.0.0.1:6379"


def test_loopback_switches_what_ray_looks_at_and_puts_it_back():
    from ray._private import ray_constants

    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    with ray_internals.loopback():
        assert session.os.environ[name] == "0"
        assert ray_constants.ENABLE_RAY_CLUSTER is False
    assert name not in session.os.environ
    assert before == ray_constants.ENABLE_RAY_CLUSTER
