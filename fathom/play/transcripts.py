"""Where the transcript of a chat goes."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

from fathom.errors import FathomError
from fathom.play.user_cache import cache_folder, writable_folder


def new_transcript(run_name: str) -> Path:
    """Return a file for a chat, named after the run and the time.

    It lies in `chats` in the current folder. If that cannot be written it lies in the user's cache folder,
    and else in a temporary one: never in the run, which may be one that ships with Fathom.
    """
    folder = writable_folder(Path("chats")) or cache_folder("chats") or Path(tempfile.mkdtemp())
    return folder / f"{run_name}-{datetime.now():%Y-%m-%d-%H%M%S-%f}.jsonl"


def check_transcript(path: Path) -> None:
    """Raise FathomError unless a transcript and its text can be written to new files."""
    if path.suffix != ".jsonl":
        raise FathomError(f"the name of a transcript ends in .jsonl, and this is {path}")
    for file in (path, path.with_suffix(".txt")):
        if file.exists():
            raise FathomError(f"{file} exists already: choose another --transcript")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)
        path.unlink()
    except OSError as error:
        raise FathomError(
            f"{path} cannot be written: {error.strerror}; choose another --transcript"
        ) from error
