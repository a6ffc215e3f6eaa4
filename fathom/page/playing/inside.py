"""What a network sees, on the page: the views of `fathom inspect` that need no files, without writing any."""

from __future__ import annotations

from collections.abc import Iterator

from fathom.display import number
from fathom.errors import FathomError, printable
from fathom.inspection.look import view_of
from fathom.inspection.subject import FitSubject, Subject
from fathom.inspection.views import layers
from fathom.page.playing.live import Message, Reply, text_in, with_pictures
from fathom.runs.pictures import as_png

_TITLES = {
    "inspect-filters": "Filters of the first layer",
    "inspect-activation": "Images that activate units most",
    "inspect-saliency": "What decides for the class, for one test image of each",
}
_MOST_ROWS = 200


class Inside:
    """A look into the network of a run."""

    interval = None

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def begin(self) -> Iterator[Reply]:
        subject = self._subject
        names = [row[0] for row in layers(subject).table[1:]]
        classified = isinstance(subject, FitSubject) and subject.classified
        looks = ["filters", "saliency"] if classified else ["filters"]
        yield {"type": "inside", "layers": names, "looks": looks}

    def tick(self) -> Iterator[Reply]:
        return iter(())

    def close(self) -> None:
        return

    def handle(self, message: Message) -> Iterator[Reply]:
        what = message["do"]
        if what not in ("filters", "saliency"):
            raise FathomError(f"there is nothing called {what[:40]!r} to look at here")
        if what == "saliency" and not isinstance(self._subject, FitSubject):
            raise FathomError("an agent is looked at while it plays")
        yield {"type": "busy"}
        options = {"layer": text_in(message, "layer"), "seed": 0, "images": ()}
        view = view_of(self._subject, what, options)
        cells = [[_cell(cell) for cell in row] for row in view.table[: _MOST_ROWS + 1]]
        titles = [_TITLES[name] for name in view.pictures]
        pictures = [as_png(picture) for picture in view.pictures.values()]
        yield with_pictures({"type": "view", "table": cells, "titles": titles}, pictures)


def _cell(cell: object) -> str:
    return number(cell) if isinstance(cell, int | float) else printable(str(cell))
