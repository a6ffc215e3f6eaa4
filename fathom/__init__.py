"""Fathom: train, evaluate and watch agents, from Python.

```python
import fathom

run = fathom.train("dqn", "CartPole-v1", steps=50_000, seed=1)
run.evaluate(episodes=30).mean
run.record()
```

Importing this module imports nothing heavy; its functions do.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom.errors import FathomError
from fathom.surroundings import prepare_caches, prepare_pygame

if TYPE_CHECKING:
    from fathom.runs.run import Run

__version__ = "0.2.0"
__all__ = ["FathomError", "fit", "inspect", "list_runs", "load", "resume", "sweep", "train"]


def _check_packages() -> None:
    """Raise ImportError where another package hides one of ours."""
    ours = Path(__file__).resolve().parents[1]
    if sys.argv[:1] == ["-m"]:  # python -m fathom: nobody else's packages are meant
        sys.path.insert(0, str(ours))
    for name in ("agents", "envs", "perception"):
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [str(spec.origin)])
        if not any(place and Path(place).resolve().parent == ours for place in places):
            what = f"{places[0]} hides it" if places else "there is none"
            raise ImportError(
                f"fathom needs its own package {name!r}, and {what}: start Python in another folder, or"
                " rename that package"
            )


_check_packages()
prepare_caches()
prepare_pygame()


def train(
    agent: str,
    environment: str,
    *,
    env_args: Mapping[str, Any] | None = None,
    ray: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train an agent in an environment; blocks until the end.

    Works in a thread, in a notebook, in a process of its own; threads of one process train one after the
    other.

    Args:
        agent: such as "dqn"; `fathom list` names them.
        environment: an id, "module:Id", or a class or function: "path/to/file.py:Name", "module:Name".
        env_args: the environment's own arguments: values of JSON.
        ray: address of a Ray cluster that searches the groups of alphago's games.
        progress: show it.
        options: the flags of `fathom train AGENT ENV` as keywords: those of the run (`steps`, `seed`,
            `name`, `runs_dir`, `record` …) and the agent's hyperparameters (`learning_rate` …).

    Returns:
        The run, complete.

    Raises:
        FathomError: something cannot be as asked for; its message says what to do.
    """
    from fathom.display import Display
    from fathom.environments import resolve
    from fathom.environments.constructor import argument_text
    from fathom.runs.cluster import workers_at
    from fathom.runs.launcher import defaults_for, new_training, removing_unsuitable
    from fathom.runs.run import Run
    from fathom.runs.runner import learner_of
    from fathom.runs.runner import train as train_run
    from fathom.runs.trained_run import open_run

    if not isinstance(environment, str):
        raise FathomError(
            'an environment is given by its reference, such as "CartPole-v1" or "path/to/file.py:Class",'
            f" not by {environment!r}"
        )
    if not isinstance(env_args or {}, Mapping):
        raise FathomError(f"env_args must be a dictionary of names and values, not {env_args!r}")
    texts = {name: argument_text(value) for name, value in (env_args or {}).items()}
    spec = resolve(environment, texts, open_run)
    defaults = defaults_for(agent, spec.reference, preset_file=_preset(options))
    run_options, config = _split(options, defaults.options, defaults.config)
    defaults = dataclasses.replace(defaults, options=run_options, config=config)
    display = Display(quiet=not progress)
    with workers_at(ray, agent, run_options.threads, display.message) as workers:
        run = new_training(agent, spec, defaults, display.message)
        with removing_unsuitable(run):
            train_run(run, display, learner=functools.partial(learner_of, workers=workers))
    return Run.open(run.folder, trust=True)


def fit(
    task: str,
    *,
    data: str | Path = "",
    data_args: Mapping[str, Any] | None = None,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Fit a perception task to data; blocks until the end.

    Args:
        task: such as "digits"; `fathom list` names them. One of your own is "path/to/file.py:Class" or
            "module:Class".
        data: a name, a path or "scheme:name"; the task's own default if not given.
        data_args: options of the data.
        progress: show it.
        options: the flags of `fathom fit TASK` as keywords.

    Returns:
        The run, complete.

    Raises:
        FathomError: something cannot be as asked for; its message says what to do.
    """
    from fathom.display import Display
    from fathom.runs.launcher import fit_defaults, new_fit
    from fathom.runs.run import Run
    from fathom.runs.runner import train as train_run
    from fathom.runs.task_learner import TaskLearner
    from fathom.runs.tasks import resolve_task

    task = resolve_task(task)
    given = {**options, "data": str(data)} if data else options
    fit_options, config = _split(given, *fit_defaults(task, preset_file=_preset(options)))
    display = Display(quiet=not progress)
    run, read = new_fit(task, fit_options, config, data_args or {}, display.message)
    train_run(run, display, learner=functools.partial(TaskLearner, data=read))
    return Run.open(run.folder, trust=True)


def load(run: str | Path | Run, runs_dir: str | Path = "runs", *, trust: bool = False) -> Run:
    """Open a run by its folder, or by its name under `runs_dir`; a run itself is read again.

    Args:
        trust: let a run from elsewhere import, start and read what its `run.toml` names.

    Raises:
        FathomError: there is no such run.
    """
    from fathom.runs.run import Run

    reference = run.folder if isinstance(run, Run) else run
    if not isinstance(reference, (str, Path)):
        raise FathomError(f"a run is given by its name or folder, not by {reference!r}")
    trust = trust or (isinstance(run, Run) and run.trust)
    return Run.find(reference, Path(runs_dir), trust)


def resume(
    run: str | Path | Run,
    steps: int | None = None,
    *,
    runs_dir: str | Path = "runs",
    progress: bool = True,
    trust: bool = False,
    **changes: Any,
) -> Run:
    """Go on with a run exactly where it was, to its end, or with changes that are written to `run.toml`.

    Args:
        steps: new number of steps in all, to extend the run.
        runs_dir: folder in which a run's name is looked up.
        progress: show it.
        trust: as for `load`; the run then counts as made here.
        changes: as for `Run.resume`: `learning_rate`, `env_args`, `ray`, `evaluation_episodes` …

    Raises:
        FathomError: it cannot go on.
    """
    from fathom.display import Display

    resumed = load(run, runs_dir, trust=trust)
    resumed.resume(steps, display=Display(quiet=not progress), **changes)
    return resumed


def sweep(
    learner: str,
    source: str | Path = "",
    *,
    vary: Mapping[str, Any] | None = None,
    seeds: str | Sequence[int] = "0",
    arguments: Mapping[str, Any] | None = None,
    progress: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """Train many runs that differ in hyperparameters and seeds, in processes of their own; blocks until the end.

    A sweep of the same name and settings that was killed goes on where it was.

    Args:
        learner: an agent or a task.
        source: the agent's environment, or the task's data.
        vary: a range such as "1e-4:1e-2:log", or a list of values, by the name of a hyperparameter.
        seeds: of each trial: a list, or a text such as "0-4".
        arguments: of the environment or the data.
        progress: show it.
        options: the flags of `fathom sweep` as keywords: `trials`, `jobs`, `name`, `steps`, hyperparameters …

    Returns:
        The contents of `sweep.json`; its `best` has `params`, `mean`, `interval` and the names of its `runs`.

    Raises:
        FathomError: something cannot be as asked for; its message says what to do.
    """
    from agents import AGENTS
    from fathom.commands.sweep import FitSweepFlags, TrainSweepFlags
    from fathom.sweeps.display import SweepDisplay
    from fathom.sweeps.plan import fit_sweep, training_sweep
    from fathom.sweeps.report import report
    from fathom.sweeps.space import refuse_fixed
    from fathom.sweeps.sweep import carry_out

    refuse_fixed(tuple(vary or ()), options)
    specs = {name: _listed(values) for name, values in (vary or {}).items()}
    given = {
        **options,
        "vary": tuple(f"{name}={text}" for name, text in specs.items()),
        "seeds": _listed(seeds),
    }
    if learner in AGENTS:
        from fathom.environments import resolve
        from fathom.environments.constructor import argument_text
        from fathom.runs.launcher import defaults_for
        from fathom.runs.trained_run import open_run

        texts = {name: argument_text(value) for name, value in (arguments or {}).items()}
        spec = resolve(str(source), texts, open_run)
        request = defaults_for(learner, spec.reference, TrainSweepFlags, _preset(options))
        run_options, config = _split(given, request.options, request.config)
        request = dataclasses.replace(request, options=run_options, config=config)
        planned = training_sweep(learner, spec, request)
    else:
        from fathom.runs.launcher import fit_defaults
        from fathom.runs.tasks import resolve_task

        task = resolve_task(learner)
        defaults = fit_defaults(task, FitSweepFlags, _preset(options))
        data = {"data": str(source)} if source else {}
        planned = fit_sweep(task, *_split(given | data, *defaults), arguments or {})
    return report(planned, carry_out(planned, SweepDisplay(quiet=not progress)))


def inspect(
    run: str | Path | Run,
    what: str = "layers",
    *,
    runs_dir: str | Path = "runs",
    device: str = "auto",
    checkpoint: int | str = "latest",
    trust: bool = False,
    **options: Any,
) -> tuple[list[list[Any]], list[Path]]:
    """Look inside a fit or an agent that sees images, and write pictures into the run's folder.

    Args:
        what: "layers", "filters", "saliency", "fool", "dream" or "style".
        runs_dir: folder in which a run's name is looked up.
        options: the other flags of `fathom inspect` as keywords: `layer`, `epsilon`, `images` …

    Returns:
        A table, whose first row is the head, and the files of the pictures and the video.

    Raises:
        FathomError: there is nothing to see, or an option does not fit.
    """
    from fathom.arguments import nearest
    from fathom.commands.inspect import InspectFlags, options_of
    from fathom.errors import one_sentence
    from fathom.inspection.look import look

    known = [item.name for item in dataclasses.fields(InspectFlags)]
    if unknown := [name for name in options if name not in known]:
        raise FathomError(f"there is no option {unknown[0]!r}{nearest(unknown[0], known)}")
    for name in ("images", "epsilon"):  # one stands for a list of one
        if name in options:
            given = options[name]
            options[name] = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if "images" in options:
        options["images"] = tuple(
            Path(one) if isinstance(one, str) else one for one in options["images"]
        )
    for name in ("style", "content", "vgg"):
        if isinstance(options.get(name), str):
            options[name] = Path(options[name])
    try:
        chosen = options_of(what, InspectFlags(**options))
    except ValueError as error:
        raise FathomError(one_sentence(error)) from error  # type: ignore[arg-type]
    opened = load(run, runs_dir, trust=trust)
    return look(opened, what, device, checkpoint, warnings.warn, chosen)


def list_runs(runs_dir: str | Path = "runs") -> list[Run]:
    """All runs under a folder, the newest first."""
    from fathom.runs.run import Run

    return Run.list(Path(runs_dir))


def _listed(values: Any) -> str:
    """Values as a flag lists them."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return str(values)
    return ",".join(str(value) for value in values)


def _preset(options: Mapping[str, Any]) -> Path | None:
    """The preset's file among keywords."""
    given = options.get("preset")
    return None if given is None else Path(given)


def _split(given: Mapping[str, Any], options: Any, config: Any) -> tuple[Any, Any]:
    """Put keywords into the options of a run and the hyperparameters, whichever has them."""
    from fathom.arguments import nearest
    from fathom.errors import one_sentence
    from fathom.runs.config import build_config

    of_run = {item.name for item in dataclasses.fields(options)}
    of_learner = {item.name for item in dataclasses.fields(config)}
    if unknown := [name for name in given if name not in of_run | of_learner]:
        hint = nearest(unknown[0], sorted(of_run | of_learner))
        raise FathomError(f"there is no option {unknown[0]!r}{hint}")
    asked = {name: value for name, value in given.items() if name in of_run}
    for name in ("runs_dir", "preset"):
        if asked.get(name) is not None:
            asked[name] = Path(asked[name])
    if isinstance(asked.get("wrap"), (str, list)):
        asked["wrap"] = (asked["wrap"],) if isinstance(asked["wrap"], str) else tuple(asked["wrap"])
    if type(asked.get("resize")) is int:
        asked["resize"] = str(asked["resize"])
    for name in ("weights", "encoder"):
        if asked.get(name) is not None:
            asked[name] = str(getattr(asked[name], "folder", asked[name]))
    table = dataclasses.asdict(config) | {k: v for k, v in given.items() if k not in of_run}
    try:
        options = dataclasses.replace(options, **asked)
    except ValueError as error:
        raise FathomError(one_sentence(error)) from error  # type: ignore[arg-type]
    return options, build_config(type(config), table)
