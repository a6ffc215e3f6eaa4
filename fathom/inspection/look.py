"""One look inside a run: choose the view, write its pictures into the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fathom.errors import FathomError
from fathom.files import reporting_disk_errors
from fathom.inspection import episodes, views
from fathom.inspection.subject import FitSubject, Subject, subject_of
from fathom.runs.pictures import save_pictures, text_as_it_is
from fathom.runs.process import MISFITS, misfit, random_generators, threads_for
from fathom.runs.run import Run
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
    view = view_of(subject_of(run, warn, device, checkpoint), what, options)
    with reporting_disk_errors(run.folder):
        paths = save_pictures(run, view.pictures)
        return view.table, [*paths, *view.videos]


def view_of(subject: Subject, what: str, options: Mapping[str, Any]) -> views.View:
    """What there is to see, before anything but videos is written; see `look`."""
    run = subject.run
    try:
        with threads_for(run.config), random_generators(), text_as_it_is():
            return _view(subject, what, options)
    except DataError as error:
        raise FathomError(str(error)) from error
    except MISFITS as error:
        raise FathomError(
            f"{run.folder} cannot be inspected for {what}: {misfit(error)}"
        ) from error


def _view(subject: Subject, what: str, options: Mapping[str, Any]) -> views.View:
    if what == "layers":
        return views.layers(subject)
    if what == "filters":
        return views.find_filters(subject, options["layer"], options["seed"])
    if what == "saliency":
        if isinstance(subject, FitSubject):
            return views.look_at(subject, options["images"])
        if options["images"]:
            raise FathomError("an agent is looked at while it plays, so it takes no --images")
        return episodes.attention(subject, options["seed"], options["max_seconds"])
    if what == "fool":
        if isinstance(subject, FitSubject):
            if options["episodes"] is not None:
                raise FathomError("a fit is fooled by its test images, so it takes no --episodes")
            return views.fool(subject, options["epsilon"], options["seed"])
        count = options["episodes"] or 2
        return episodes.fool(subject, options["epsilon"], count, options["seed"])
    if what == "dream":
        return views.dream(subject, options["images"], options["layer"], options["seed"])
    return views.paint(subject, options["content"], options["style"], options["vgg"])
