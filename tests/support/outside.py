"""What tests bring from outside the package: the tutorial's rule, and registries that are afterwards as they were."""

import re
import sys
from contextlib import contextmanager

from asyncnet.kernels.reach import GIVEN
from asyncnet.scenario import outside, reading
from asyncnet.scenario.schema import follow
from support.places import ROOT

RULE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.S).group(1)
USING = ("rule.name=reinforce-baseline", "rule.learning_rate=0.01")


def using(*more):
    """Words of the command line that have a scenario use the tutorial's rule, and more settings."""
    return [word for text in (*USING, *more) for word in ("--set", text)]


@contextmanager
def afterwards_as_before():
    """Within, what is registered is registered; afterwards it is gone."""
    known = {kind: dict(registry) for kind, registry in outside.REGISTRIES.items()}
    imported, conditions = dict(outside._imported), dict(reading._registered)
    try:
        yield
    finally:
        for kind, registry in outside.REGISTRIES.items():
            registry.clear()
            registry.update(known[kind])
            registry.version += 1
        follow()
        for name in outside._imported.keys() - imported.keys():
            sys.modules.pop(name, None)
        for place, before in ((outside._imported, imported), (reading._registered, conditions)):
            place.clear()
            place.update(before)
        for name in [name for name in sys.modules if name.startswith(GIVEN)]:
            del sys.modules[name]
