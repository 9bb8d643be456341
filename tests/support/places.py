"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / "tests"
GOLDEN = TESTS / "golden"
SCENARIOS = ROOT / "scenarios"
