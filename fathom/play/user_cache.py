"""The user's cache folder: what can be made again, kept outside of runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path | None:
    """Make and return `fathom/NAME` in $XDG_CACHE_HOME or ~/.cache; None if it cannot be written."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    parent = Path(home) if os.path.isabs(home) else Path.home() / ".cache"
    return writable_folder(parent / "fathom" / name)


def writable_folder(folder: Path) -> Path | None:
    """Make and return a folder; None if it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
