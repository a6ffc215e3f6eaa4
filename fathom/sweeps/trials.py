"""The trials of a sweep: chosen by a sampler, judged by a pruner, kept in Optuna's journal.

Trials are chosen in generations. Every choice and every verdict is a function of the sweep's settings and of the
trials of earlier generations, so it does not matter which run of a generation ends first, nor when the sweep is
killed: Optuna's samplers keep the state of their random generator in memory only, hence each trial has a sampler of
its own, seeded by the sweep's seed and the trial's number. The journal is JSON lines; a trial is added in one line.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from fathom.errors import FathomError
from fathom.files import Folder
from fathom.sweeps.folder import JOURNAL, SweepFolder
from fathom.sweeps.space import Choices, Dimension, Range, grid

Direction = Literal["maximize", "minimize"]
STUDY = "sweep"
STARTUP, JUDGED_FROM = 10, 5
"""Trials that are drawn at random before the sampler models them; trials with a result before the pruner acts."""
SEED_STRIDE = 100_000
"""Step of a trial's report on segment s with its first n seeds: (n − 1) times this, plus s."""
_MOST_JOURNAL = 1 << 28


class Trials:
    """The trials of a sweep, as its journal has them.

    Args:
        space: of the sweep; its lists are a grid where the sweep has no number of trials.
    """

    def __init__(self, sweep: SweepFolder, space: Mapping[str, Dimension]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._config = sweep.config
        self._grid = grid(space) if self._config.trials is None else []
        self.count = len(self._grid) or self._config.trials or 1
        """Trials of the whole sweep."""
        self._distributions = {name: _distribution(one) for name, one in space.items()}
        self._direction: Direction = "minimize" if self._config.minimize else "maximize"
        _mend(sweep.files)
        try:
            self._storage = JournalStorage(
                JournalFileBackend(str(sweep.folder / JOURNAL), _NoLock())  # type: ignore[arg-type]
            )
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=STUDY,
                direction=self._direction,
                load_if_exists=True,
            )
            self.trials()
        except (ValueError, KeyError, TypeError, AssertionError, RuntimeError) as error:
            raise FathomError(
                f"{sweep.folder / JOURNAL} cannot be read: it is no journal of a sweep"
            ) from error

    def trials(self) -> list[FrozenTrial]:
        """All that were chosen, in order."""
        return self._study.get_trials(deepcopy=False)

    def next_generation(self) -> list[FrozenTrial]:
        """The trials of the generation to do: those that are chosen, and the rest of it, chosen now; empty at the end."""
        size = self.count if self._grid else self._config.generation
        known = self.trials()
        unfinished = [one.number for one in known if not one.state.is_finished()]
        if len(known) >= self.count and not unfinished:
            return []
        first = (unfinished[0] if unfinished else len(known)) // size * size
        last = min(first + size, self.count)
        for number in range(len(known), last):
            self._study.add_trial(_running(self._choose(number, first), self._distributions))
        return self.trials()[first:last]

    def _choose(self, number: int, first: int) -> dict[str, Any]:
        """The hyperparameters of a trial whose generation begins with the trial `first`."""
        if self._grid:
            return self._grid[number]
        known = self.trials()
        seed = int(np.random.SeedSequence([self._config.seed, number]).generate_state(1)[0])
        study = optuna.create_study(
            direction=self._direction,
            sampler=optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP, constant_liar=True
            ),
        )
        study.add_trials(known[:first])
        study.add_trials([_running(one.params, self._distributions) for one in known[first:]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return study.ask(fixed_distributions=self._distributions).params

    def judge(self, first: int) -> Judge:
        """The judge of the generation that begins with the trial `first`."""
        earlier = [one for one in self.trials()[:first] if one.state.is_finished()]
        return Judge(earlier, self._direction, self._config.prune and not self._grid)

    def tell(
        self,
        number: int,
        reports: Mapping[int, float],
        scores: Sequence[float],
        pruned: bool,
        why: str,
    ) -> None:
        """Write down the outcome of a trial; nothing where it is written.

        Args:
            reports: values by step, as `SEED_STRIDE` numbers them.
            scores: of each seed; empty where the trial failed.
            why: it was pruned, or failed.
        """
        trial = self.trials()[number]
        if trial.state.is_finished():
            return
        for step, report in reports.items():
            self._storage.set_trial_intermediate_value(trial._trial_id, step, report)
        self._storage.set_trial_user_attr(trial._trial_id, "scores", list(scores))
        self._storage.set_trial_user_attr(trial._trial_id, "why", why)
        if not scores:
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        else:
            state = TrialState.PRUNED if pruned else TrialState.COMPLETE
            self._storage.set_trial_state_values(
                trial._trial_id, state, [sum(scores) / len(scores)]
            )

    def importance(self) -> dict[str, float]:
        """How much of the variance of the scores each hyperparameter explains (fANOVA, Hutter et al. 2014); of complete
        trials. Empty where there is nothing to explain."""
        done = [one for one in self.trials() if one.state == TrialState.COMPLETE]
        names = [
            name for name in self._distributions if len({str(one.params[name]) for one in done}) > 1
        ]
        if len(done) < 4 or not names or len({one.value for one in done}) < 2:
            return {}
        study = optuna.create_study(direction=self._direction)
        study.add_trials(done)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)


class Judge:
    """Tells where trials of one generation fall behind the median of earlier ones (Golovin et al. 2017)."""

    def __init__(self, earlier: Sequence[FrozenTrial], direction: Direction, prunes: bool) -> None:
        self._prunes = prunes
        self._study = optuna.create_study(direction=direction)
        self._study.add_trials(earlier)
        # From the second segment on: after the first one most agents are still as good as chance.
        self._pruner = optuna.pruners.MedianPruner(n_startup_trials=JUDGED_FROM, n_warmup_steps=1)

    def verdict(self, trial: FrozenTrial, reports: Mapping[int, float]) -> int | None:
        """The step of the first report after which a trial is to end; None where it is to go on."""
        if not self._prunes:
            return None
        values: dict[int, float] = {}
        for step, value in reports.items():
            values[step] = value
            seen = optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                intermediate_values=dict(values),
            )
            if self._pruner.prune(self._study, seen):
                return step
        return None


class _NoLock:
    """The journal's lock: whoever writes it holds the sweep's own."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _running(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.RUNNING, params=dict(params), distributions=dict(distributions)
    )


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    assert isinstance(dimension, Range)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _mend(files: Folder) -> None:
    """Cut off a line of the journal that a crash tore apart."""
    if files.kind(JOURNAL) is None:
        return
    content = files.read(JOURNAL, _MOST_JOURNAL)
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        files.replace(JOURNAL, whole)
