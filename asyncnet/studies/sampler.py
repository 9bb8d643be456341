"""Trials drawn by Optuna's TPE, in batches: what is drawn depends on the search and on the scores it was told, in order, and on nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from asyncnet.studies import space
from asyncnet.studies.space import Search


class Sampler:
    """Optuna's, asked for whole batches: the first trial is what the scenario itself says, where that lies within the ranges."""

    def __init__(self, search: Search, data: Mapping[str, Any]) -> None:
        import optuna

        self._search, self._optuna = search, optuna
        sampler = optuna.samplers.TPESampler(seed=search.sampler_seed, n_startup_trials=search.startup, multivariate=True, constant_liar=True)
        self._study = optuna.create_study(direction=search.direction, sampler=sampler)
        self._first = space.own(search, data)
        self._study.enqueue_trial(self._first)
        self._within = {key: space.distribution(search.space[key]) for key in sorted(search.space)}  # in whatever order they were written
        self._asked: list[Any] = []

    def batch(self) -> list[dict[str, Any]]:
        """The values of the next trials, by key."""
        self._asked = [self._study.ask(self._within) for _ in range(self._search.batch)]
        drawn = [{key: space.value(self._search.space[key], trial.params[key]) for key in self._within} for trial in self._asked]
        if self._asked[0].number == 0:
            drawn[0] |= {key: said for key, said in self._first.items() if isinstance(self._search.space[key], space.Range)}  # to its last digit
        return drawn

    def tell(self, scores: Sequence[float | None]) -> None:
        """What came of them, in order; None: nothing."""
        for trial, score in zip(self._asked, scores, strict=False):
            if score is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, score)


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing by itself: progress is ours."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
