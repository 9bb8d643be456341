"""The page is for this machine's own user: read-only, on the loopback, behind a token; and a run's directory is trusted for nothing."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

import asyncnet
from asyncnet.runs.traffic import TRAFFIC
from asyncnet.scenario.schema import check
from asyncnet.viewer.source import Source
from support.interrupted import edited
from support.places import ROOT
from support.small import small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return asyncnet.run(check(small(), "small"), out=tmp_path_factory.mktemp("runs")).run_dir


def ask(url, path=None, host=None, method="GET"):
    """(status, headers, body) of a request, to another path, or by another name."""
    found = urlsplit(url)
    connection = http.client.HTTPConnection(found.hostname, found.port, timeout=20)
    try:
        connection.request(method, found.path if path is None else path, headers={"Host": host or found.netloc})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_nobody_is_let_in_without_the_token_or_by_another_name(run):
    with asyncnet.watch(run) as page, asyncnet.watch(run) as other:
        found = urlsplit(page.url)
        assert found.hostname == "127.0.0.1"
        token = found.path.strip("/")
        assert len(token) >= 32
        assert ask(page.url)[0] == 200
        assert ask(page.url, f"{found.path}state")[0] == 200
        wrong = urlsplit(other.url).path
        assert wrong != found.path
        for path in (
            "/",
            "/state",
            "/index.html",
            wrong,
            f"{wrong}state",
            f"/{token[:-1]}/",
            f"/{token}x/state",
            f"//{token}/",
            "/%00/",
            f"{wrong}../{token}/state",
        ):
            status, _, body = ask(page.url, path)
            assert status == 403, path
            assert b"token" in body
            assert token.encode() not in body
        assert ask(page.url, host=f"localhost:{found.port}")[0] == 200
        for host in ("evil.example", f"evil.example:{found.port}", "127.0.0.1", f"127.0.0.1.evil.example:{found.port}", f"0.0.0.0:{found.port}"):
            assert ask(page.url, host=host)[0] == 403, host


def test_nothing_can_be_written_and_only_the_pages_own_files_are_there(run):
    with asyncnet.watch(run) as page:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert ask(page.url, method=method)[0] == 405, method
        base = urlsplit(page.url).path
        for path in ("summary.json", "../source.py", "..%2fsource.py", "%2e%2e/source.py", "__init__.py", "state/more", "config.toml"):
            assert ask(page.url, base + path)[0] in (403, 404), path
        for query in ("rows=x", "progress=1e9", "rows=0x10"):
            assert ask(page.url, f"{base}state?{query}")[0] == 400, query
        for query in ("rows=-5", "rows=999999999", "generation=%ff%00", f"generation={'x' * 5000}"):
            assert ask(page.url, f"{base}state?{query}")[0] == 200, query


def test_the_page_may_load_and_ask_for_nothing_from_elsewhere(run):
    with asyncnet.watch(run) as page:
        names = ["index.html", *re.findall(r'(?:href|src)="([\w.]+)"', ask(page.url)[2].decode())]
        assert {"main.js", "watch.css"} <= set(names)
        for name in ("", *names):
            status, headers, body = ask(page.url, urlsplit(page.url).path + name)
            assert status == 200
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert (headers["referrer-policy"], headers["cache-control"], headers["x-content-type-options"]) == ("no-referrer", "no-store", "nosniff")
            assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", body), "no outside resource is named"


def test_the_page_is_gone_when_it_is_closed(run):
    before = [thread.name for thread in __import__("threading").enumerate()].count("watch")
    with asyncnet.watch(run) as page:
        assert ask(page.url)[0] == 200
    with pytest.raises(OSError, match="refused"):
        ask(page.url)
    assert [thread.name for thread in __import__("threading").enumerate()].count("watch") == before


def test_what_cannot_be_served_is_one_line(run, tmp_path, command, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = command("watch", run, "--port", port)
        assert (code, out) == (64, "")
        assert err == f"asyncnet: --port: {port} cannot be had: Address already in use\n"
    for arguments, said in (
        ((run, "--port", 70000), "asyncnet: --port: from 0 to 65535, got 70000\n"),
        ((tmp_path,), f"asyncnet: {tmp_path}: is not the directory of a run (there is no run.json in it)\n"),
        ((tmp_path / "nowhere",), f"asyncnet: {tmp_path / 'nowhere'}: is not the directory of a run (there is no run.json in it)\n"),
    ):
        assert command("watch", *arguments) == (64, "", said)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert command("watch", run) == (64, "", "asyncnet: watch: needs uvicorn: pip install 'asyncnet[watch]'\n")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_ends_cleanly_when_interrupted(how, run):
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from asyncnet.cli import main; main(['watch', {!r}])"
    words = [sys.executable, "-c", listens.format(str(run))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        url = process.stdout.readline().strip()
        kept = http.client.HTTPConnection(urlsplit(url).hostname, urlsplit(url).port)  # a browser keeps its connection
        kept.request("GET", urlsplit(url).path)
        assert kept.getresponse().read().startswith(b"<!doctype html>")
        process.send_signal(how)
        assert process.wait(30) == 130
        kept.close()
        assert (process.stdout.read(), process.stderr.read()) == ("", "")
    with pytest.raises(OSError, match="refused"):
        ask(url)


def told(source, generation="", rows=0, progress=0):
    return json.loads(source.answer(generation, rows, progress))


def test_what_has_come_since_is_told_and_nothing_twice(run, tmp_path):
    lines = (run / TRAFFIC).read_text().splitlines(keepends=True)
    rows = [json.loads(lines[1]) | {"seconds": float(n), "decisions": n} for n in range(4)]
    path = tmp_path / "run"
    path.mkdir()
    (path / "run.json").write_bytes((run / "run.json").read_bytes())
    source = Source(path)
    first = told(source)
    assert (first["team"], first["rows"]) == (None, [])
    with (path / TRAFFIC).open("a") as file:

        def write(text):
            file.write(text)
            file.flush()

        write(lines[0] + json.dumps(rows[0]) + "\n" + json.dumps(rows[1])[:20])
        second = told(source, first["generation"])
        assert [node["name"] for node in second["team"]["nodes"]] == ["world", "actor.1", "actor.2", "actor.3"]
        assert [row["decisions"] for row in second["rows"]] == [0]
        write(json.dumps(rows[1])[20:] + "\n" + json.dumps(rows[2]) + "\n")
        third = told(source, first["generation"], rows=1)
        assert (third["team"], [row["decisions"] for row in third["rows"]]) == (None, [1, 2])
        assert told(source, first["generation"], rows=3)["rows"] == []
    (path / TRAFFIC).write_text(lines[0] + json.dumps(rows[3]) + "\n")
    anew = told(source, first["generation"], rows=3)
    assert anew["generation"] != first["generation"], "older rows were left out: all is told again"
    assert [row["decisions"] for row in anew["rows"]] == [3]
    assert anew["team"] is not None


def test_a_link_that_points_to_a_newer_run_shows_that_one(run, tmp_path):
    latest = tmp_path / "latest"
    source = Source(latest)
    nothing = told(source)
    assert nothing["about"]["standing"] == "nothing yet"
    assert nothing["team"] is None
    latest.symlink_to(run)
    found = told(source, nothing["generation"])
    assert found["generation"] != nothing["generation"]
    assert (found["about"]["name"], found["about"]["standing"]) == ("small", "finished")
    assert found["about"]["summary"]["verdict"] == "pass"
    second = asyncnet.run(check(small(seed=7), "small"), out=tmp_path / "others").run_dir
    latest.unlink()
    latest.symlink_to(second)
    again = told(source, found["generation"], rows=9)
    assert again["about"]["seed"] == "7"
    assert len(again["rows"]) > 0
    assert again["team"] is not None


def copied(run, folder):
    path = folder / "run"
    path.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (path / file.name).write_bytes(file.read_bytes())
    return path


def test_a_run_whose_process_is_gone_is_dead(run, tmp_path):
    path = copied(run, tmp_path)
    process = json.loads((path / "run.json").read_text())["process"]
    edited(path / "run.json", status="running", process=process | {"began": process["began"] - 1000.0})
    (path / "summary.json").unlink()
    assert told(Source(path))["about"]["standing"] == "dead: its process is gone"


HOSTILE = {
    "no JSON": "{",
    "not UTF-8": b"\xff\xfe",
    "deep": "[" * 100_000,
    "a number too large": '{"seconds":1.0,"now":1,"decisions":99999999999999999999,"episodes":0,"ticks":[],"learned":[],"sent":[],"delivered":[],"lost":[]}',
    "negative": '{"seconds":-1.0,"now":1,"decisions":1,"episodes":0,"ticks":[0,0,0,0],"learned":[0,0,0,0],"sent":[],"delivered":[],"lost":[]}',
    "of another team": '{"seconds":1.0,"now":1,"decisions":1,"episodes":0,"ticks":[1],"learned":[1],"sent":[],"delivered":[],"lost":[]}',
    "NaN": '{"seconds":NaN,"now":1,"decisions":1,"episodes":0,"ticks":[0,0,0,0],"learned":[0,0,0,0],"sent":[],"delivered":[],"lost":[]}',
    "an unknown key": '{"seconds":1.0,"__proto__":{"x":1}}',
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_line_that_is_none_is_left_out_and_counted(line, run, tmp_path):
    path = copied(run, tmp_path)
    kept = (path / TRAFFIC).read_bytes().splitlines()
    (path / TRAFFIC).write_bytes(b"\n".join([*kept, line if isinstance(line, bytes) else line.encode(), kept[-1], b""]))
    found = told(Source(path))
    assert len(found["rows"]) == len(kept)
    assert found["about"]["trouble"] == "lines of traffic.jsonl and metrics.jsonl that could not be read: 1"


@pytest.mark.parametrize(
    "edit",
    [
        lambda team: team["links"]["src"].__setitem__(0, 4),
        lambda team: team["links"]["channel"].append(0),
        lambda team: team["nodes"][1].update(layer=9),
        lambda team: team.update(layers=[]),
        lambda team: team["nodes"][0].update(name="x" * 10_000),
        lambda team: team["nodes"].extend(team["nodes"] * 500),
        lambda team: team["nodes"][1].update(period=-1.0),
    ],
)
def test_a_team_that_does_not_fit_together_is_not_drawn(edit, run, tmp_path):
    path = copied(run, tmp_path)
    first, *rows = (path / TRAFFIC).read_text().splitlines()
    team = json.loads(first)
    edit(team)
    (path / TRAFFIC).write_text("\n".join([json.dumps(team), *rows, ""]))
    found = told(Source(path))
    assert (found["team"], found["rows"]) == (None, [])
    assert "could not be read" in found["about"]["trouble"]


def test_a_file_that_is_none_is_not_waited_for(run, tmp_path):
    path = copied(run, tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes((path / TRAFFIC).read_bytes())
    for make in (lambda file: file.symlink_to(secret), os.mkfifo, lambda file: file.mkdir()):
        (path / TRAFFIC).unlink()
        make(path / TRAFFIC)
        began = time.monotonic()
        assert told(Source(path))["team"] is None
        assert time.monotonic() - began < 20, "a pipe would be waited for without end"
        if (path / TRAFFIC).is_dir():
            break
    edited(path / "run.json", status=5)
    assert told(Source(path))["about"]["standing"] == "cannot be read"


def test_what_is_said_of_a_run_can_be_printed(run, tmp_path):
    path = copied(run, tmp_path)
    about = json.loads((path / "run.json").read_text())
    edited(path / "run.json", status="failed: \x1b[31m", scenario=about["scenario"] | {"name": "a\nb\x1b" + "x" * 5000, "under": "lossy", "seed": {"a": [1]}})
    found = told(Source(path))["about"]
    assert found["name"].isprintable()
    assert len(found["name"]) <= 200
    assert (found["standing"], found["under"]) == ("failed: \\x1b[31m", [])
    for under in (5, None, {"a": 1}):
        edited(path / "run.json", scenario=about["scenario"] | {"under": under})
        assert told(Source(path))["about"]["under"] == []
