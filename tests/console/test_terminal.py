"""In a window of 80 columns, and in narrower ones, nothing that must be read or copied is cut; and after an interrupt the printed command goes on."""

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
import time

import pytest
from rich.console import Console

from asyncnet import console
from asyncnet.console import progress
from asyncnet.console.output import show
from asyncnet.console.progress import Progress, spark
from asyncnet.scenario.schema import check
from support.places import ROOT
from support.small import small

PATH = "/somebody/s folder of runs/gymnasium__weight-max__cartpole-weight-max__s1__20261128T232959Z-51aad2"
WIDTHS = pytest.mark.parametrize("width", [120, 80, 60, 40])
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def row(done=0.5, decisions=1000, **more):
    return {"decisions": decisions, "done": done, "rollout/mean_reward": 0.25, "world/on_time": 0.875, **more}


def printed(renderable, width):
    """What is seen in a window of that width: its lines."""
    seen = Console(width=width, force_terminal=True, color_system=None, file=io.StringIO())
    seen.print(renderable)
    return seen.file.getvalue().splitlines()


def joined(lines):
    """The text of folded lines, without the blanks between."""
    return "".join("".join(lines).split())


@WIDTHS
def test_progress_is_folded_and_never_cut(width, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    terminal = console.Terminal(Console(width=width, file=io.StringIO()))
    terminal.begin("cartpole-weight-max, lossy, seed 1", PATH)
    for step in range(1, 6):
        clock[0] += 10.0
        terminal.row(row(step / 10, 1000 * step, **{"rollout/episodes": 12 * step, "rollout/ep_rew_mean": 20.0 * step}))
    lines = printed(terminal.table(), width)
    assert max(map(len, lines)) <= width - 2, "a terminal writes ^C where the cursor is"
    text = joined(lines)
    assert "50%" in lines[0]
    assert 0.35 * width < lines[0].count("━") < 0.55 * width
    for said in (PATH, "0:00:50, about 0:00:50 left", "5,000, 100 a second", "100.0, mean of the last 100 episodes", "▁▃▅▇█", "88%", "60"):
        assert joined([said]) in text, said
    assert "…" not in text


def test_a_study_says_how_its_runs_are_and_where_it_is(monkeypatch):
    terminal = console.Terminal(Console(width=60, file=io.StringIO()))
    terminal.begin("my-study", PATH)
    terminal.study(0.25, "3 of 12 runs, 2 under way, 1 failed, about 65 s left; run 4 failed: because")
    text = joined(printed(terminal.table(), 60))
    for said in ("25%", "my-study", PATH, "3 of 12 runs, 2 under way, 1 failed, about 65 s left; run 4 failed: because"):
        assert joined([said]) in text
    assert text.count("left") == 1


def test_a_curve_in_a_line_shows_the_values_it_is_of():
    assert spark([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert spark([5.0, 5.0]) == spark([1.0]) == spark([]) == spark([float("nan"), 1.0]) == ""
    assert spark([1.0, float("inf"), float("nan"), 0.0]) == "█▁"
    assert spark([*[0.0] * 500, *[1.0] * 500], 4) == "▁▁██"


def test_the_curve_is_of_returns_only_once_an_episode_has_ended():
    known = Progress()
    known.row(row(0.1, 10))
    assert known.scores == [0.25]
    known.row(row(0.2, 20, **{"rollout/episodes": 1, "rollout/ep_rew_mean": 9.0}))
    known.row(row(0.3, 30, **{"rollout/episodes": 2, "rollout/ep_rew_mean": 11.0}))
    assert known.scores == [9.0, 11.0]


@pytest.fixture
def window(monkeypatch):
    """Standard output as a window of some width; gives what was printed."""

    class Window(io.StringIO):
        def isatty(self):
            return True

    def of(width):
        seen = Window()
        monkeypatch.setattr(sys, "stdout", seen)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        return lambda: ESCAPES.sub("", seen.getvalue()).splitlines()

    return of


SCORES = ("mean_reward", "last_mean_reward", "mean_squared_error", "last_mean_squared_error", "mean_return", "last_mean_return", "decisions_per_second")
SUMMARY = dict.fromkeys(SCORES, 0.5) | dict.fromkeys(("on_time", "final", "missing", "action_delay"), 1.0)
SUMMARY |= {"decisions": 386_675, "episodes": 3, "digest": "0f051d537741777d" * 4, "verdict": "unknown", "links": {}, "run_dir": PATH}
SUMMARY["reasons"] = ["no checkpoint could be written at 12.345678 s: No space left on device", "links.reward: " + "x" * 100]


@WIDTHS
def test_the_end_of_a_run_is_never_cut(width, window):
    seen = window(width)
    console.show_summary(SUMMARY)
    lines = seen()
    assert any(line.rstrip().endswith(" 0f051d537741777d") for line in lines), "the digest stands in one line"
    assert lines[-1] == f"{'run':{lines[-1].index(PATH)}}{PATH}", "the path stands in one line, which the window wraps"
    assert all(len(line) <= width for line in lines[:-1])
    for reason in SUMMARY["reasons"]:
        assert joined([reason]) in joined(lines)


@WIDTHS
def test_no_word_of_a_table_is_cut_or_folded_where_a_line_for_each_has_room(width):
    head = ["seed", "mean reward", "digest", "verdict"]
    rows = [[str(n), "12,345.678", f"{n:016x}", "unknown"] for n in (1, 2)]
    seen = Console(width=width, file=io.StringIO())
    show(seen, head, rows, right=("mean reward",))
    lines = seen.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    for word in (*head[2:], *(word for row in rows for word in row)):
        assert any(re.search(rf"(^|\s){re.escape(word)}($|\s)", line) for line in lines), word


@pytest.mark.parametrize(("tty", "term", "kind"), [(True, "xterm", console.Terminal), (True, "dumb", console.Plain), (False, "xterm", console.Plain)])
def test_lines_are_plain_where_no_window_obeys(tty, term, kind, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: tty, raising=False)
    monkeypatch.setenv("TERM", term)
    assert type(console.reporter()) is kind


OWNS = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from asyncnet.__main__ import main"  # Ctrl-C goes to who owns the terminal


def in_a_window(words, folder, until="", send=b"", columns=80, **environment):
    """Start a command in a terminal of its own, write to it when it has said something, and give (exit code, all that it printed)."""
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    running = subprocess.Popen(
        [sys.executable, "-c", f"{OWNS}; main()", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment},
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
    )
    os.close(screen)
    seen, ends = b"", time.monotonic() + 200
    try:
        while time.monotonic() < ends:
            seen += os.read(keyboard, 65536)
            if until and until.encode() in seen:
                os.write(keyboard, send)
                until = ""
    except OSError:  # EIO: as Linux says that the last one has let go of it
        pass
    finally:
        os.close(keyboard)
        running.kill()
    return running.wait(30), seen.decode()


def test_after_ctrl_c_in_a_terminal_the_printed_command_finishes_the_run(tmp_path):
    (tmp_path / "it.toml").write_text(check(small(task={"decisions": 1000}), "small").toml())
    out = "a folder; with 'signs'"
    code, seen = in_a_window(["run", "it.toml", "--out", out, "--log", "csv", "--set", "task.decisions=400000"], tmp_path, "a second", b"\x03")
    assert code == 130
    assert "\x1b[?25l" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l"), "the cursor is seen again"
    text = ESCAPES.sub("", seen).replace("\r", "")
    (path,) = (tmp_path / out).glob("multi*")
    lines = text.splitlines()
    command = next(line for line in lines if line.startswith("asyncnet resume "))
    assert shlex.split(command) == ["asyncnet", "resume", f"{out}/{path.name}", "--log", "csv"]
    assert any(line.startswith("run ") and line.endswith(f"  {out}/{path.name}") for line in lines), "the path stands whole"
    assert re.search(r"^digest +[0-9a-f]{16} *$", text, re.M)
    logged = (path / "log.csv").read_text().splitlines()
    code, seen = in_a_window(shlex.split(command)[1:], tmp_path, NO_COLOR="1")
    assert code == 0, seen
    assert "\x1b[3" not in seen.replace("\x1b[?", ""), "no colour was asked for"
    assert "not finished" not in seen
    assert (path / "summary.json").is_file()
    steps = [int(line.partition(",")[0]) for line in (path / "log.csv").read_text().splitlines()[1:]]
    assert steps == sorted(set(steps))
    assert len(steps) > len(logged)
    assert steps[-1] == 400_000


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_key_is_whole_in_a_narrow_table(width):
    keys = (
        ("links.feedback.delay.value", "constant", "number >= 0 <= 1e+09", "", "ticks"),
        (
            "links.feedback.delay",
            "exponential, lognormal",
            "constant | uniform | exponential | lognormal",
            "absent",
            "ticks that a message takes; a number is a constant",
        ),
    )
    console = Console(file=io.StringIO(), width=width)
    show(console, ("key", "of", "what", "default", "for"), keys)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [sum(word == key for line in lines for word in line.split()) for key, *_ in keys] == [1, 1]
