"""Every step on the disk, watched."""

import functools
import os
from collections.abc import Callable
from typing import Any

STEPS = ("open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir")


def watch(patch: Callable[[Any, str, Any], None], before: Callable[..., None]) -> None:
    """Have `before` called ahead of each step on the disk; opening what is there is none."""

    def step(name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if name != "open" or args[1] & os.O_CREAT:
            before(name, call, *args)
        return call(*args, **kwargs)

    for name in STEPS:
        patch(os, name, functools.partial(step, name, getattr(os, name)))
