"""The end of a run as names and values, for tables and for notebooks."""

from __future__ import annotations

from typing import Any

NAMES = {  # figures of a summary, as they are shown
    "decisions": "decisions",
    "mean_reward": "mean reward",
    "last_mean_reward": "mean reward, last 10 %",
    "mean_squared_error": "mean squared error",
    "last_mean_squared_error": "mean squared error, last 10 %",
    "episodes": "episodes",
    "mean_return": "mean return",
    "last_mean_return": "mean return, last 100 episodes",
    "on_time": "actions on time",
    "final": "actions not revised later",
    "missing": "decisions without an action",
    "action_delay": "actions late by, decisions",
    "decisions_per_second": "decisions per second",
}

MOST_NAMED = 4  # of those that were lost and are back


def ended(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The end of a run as names and values; where it is kept is not among them."""
    shown = []
    for key, name in NAMES.items():
        value = summary[key]
        if value is None or said_better(key, summary) or (key in ("episodes", "missing") and value == 0):
            continue
        shown.append((name, number(key, value)))
    for channel, row in summary["links"].items():
        if "wire_p50_us" in row:
            shown.append((f"{channel} on the wire", f"p50 {row['wire_p50_us']:,.0f} us, p99 {row['wire_p99_us']:,.0f} us, beside any injected delay"))
    if restarts := summary.get("measured", {}).get("restarts", []):
        lost = ", ".join(f"{row['lost_s']:.1f} s of {row['host']}" for row in restarts[:MOST_NAMED]) + (", ..." if len(restarts) > MOST_NAMED else "")
        shown.append(("lost and back", f"{len(restarts)} times; what they had learned since is gone: {lost}"))
    for row in summary.get("faults", []):
        shown.append((row["fault"], "not known" if row["struck"] is None else f"struck {row['struck']:,} times"))
    shown.append(("digest", summary["digest"][:16]))
    shown.append(("verdict", summary["verdict"] + "".join(f"; {reason}" for reason in summary["reasons"])))
    return shown


def said_better(key: str, figures: dict[str, Any]) -> bool:
    """Whether a figure is another's with the sign changed, and that one says what it is."""
    return key.endswith("mean_reward") and figures.get("mean_squared_error") is not None


def number(key: str, value: float) -> str:
    """A figure of a summary as it is shown."""
    if key in ("on_time", "final", "missing"):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:,.4g}"
