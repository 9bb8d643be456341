"""A run says with which commit of asyncnet it ran."""

import subprocess

from asyncnet.runs import provenance


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_asyncnets_own_checkout_and_says_if_it_is_dirty(tmp_path, monkeypatch):
    top = tmp_path / "top"
    (top / "asyncnet" / "runs").mkdir(parents=True)
    for name in ("asyncnet/runs/provenance.py", "pyproject.toml"):
        (top / name).write_text("")
    git(tmp_path, "init", "-q", top)
    monkeypatch.setattr(provenance, "__file__", str(top / "asyncnet" / "runs" / "provenance.py"))
    assert provenance._commit() is None
    git(top, "add", ".")
    git(top, "commit", "-qm", "one")
    commit = git(top, "rev-parse", "HEAD")
    assert provenance._commit() == commit
    (top / "untracked").write_text("")
    assert provenance._commit() == commit
    (top / "pyproject.toml").write_text("changed")
    assert provenance._commit() == f"{commit}-dirty"
    inside = top / "env" / "lib" / "asyncnet" / "runs"  # an environment inside somebody's repository
    inside.mkdir(parents=True)
    (inside / "provenance.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(inside / "provenance.py"))
    assert provenance._commit() is None
    git(top, "add", ".")
    assert provenance._commit() is None


def test_the_commit_of_an_installed_wheel_is_the_one_it_was_installed_from(tmp_path, monkeypatch):
    import importlib.metadata

    (tmp_path / "asyncnet").mkdir()
    info = tmp_path / "asyncnet-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asyncnet\nVersion: 0.1.0\n")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "asyncnet" / "runs" / "provenance.py"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: importlib.metadata.PathDistribution(info))
    assert provenance._commit() is None
    (info / "direct_url.json").write_text('{"url": "x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}')
    assert provenance._commit() == "abc"
    for odd in ("[]", "{", '{"vcs_info": 7}'):
        (info / "direct_url.json").write_text(odd)
        assert provenance._commit() is None
