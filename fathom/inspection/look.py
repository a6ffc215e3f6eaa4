"""One look inside a run: choose the view, write its pictures into the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fathom.errors import FathomError
from fathom.files import reporting_disk_errors
from fathom.inspection import views
from fathom.inspection.subject import FitSubject, Subject, subject_of
from fathom.runs.process import random_generators, threads_for
from fathom.runs.run import Run
from fathom.runs.task_learner import save_pictures
from perception.data.source import DataError


def look(
    run: Run,
    what: str,
    device: str,
    checkpoint: int | str,
    warn: Callable[[str], None],
    options: Mapping[str, Any],
) -> tuple[list[list[Any]], list[Path]]:
    """Look inside a run; gives the table, whose first row is the head, and the files of the pictures.

    Args:
        options: by the names of the flags of `fathom inspect`.

    Raises:
        FathomError: there is nothing to see, or an option does not fit.
    """
    subject = subject_of(run, warn, device, checkpoint)
    try:
        with threads_for(run.config), random_generators():
            view = _view(subject, what, options)
    except DataError as error:
        raise FathomError(str(error)) from error
    with reporting_disk_errors(run.folder):
        return view.table, [*save_pictures(run, view.pictures), *view.videos]


def _view(subject: Subject, what: str, options: Mapping[str, Any]) -> views.View:
    fit = isinstance(subject, FitSubject)
    if what == "layers":
        return views.layers(subject)
    if what == "filters":
        return views.find_filters(subject, options["layer"], options["seed"])
    if what == "saliency" and isinstance(subject, FitSubject):
        return views.look_at(subject, options["images"])
    if what == "fool" and isinstance(subject, FitSubject):
        return views.fool(subject, options["epsilon"], options["seed"])
    raise FathomError(f"{what} is not there yet {fit}")
