"""What libraries need to know of the machine before they are first imported, by their environment variables."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

_KERNELS = Path(__file__).parents[1] / "envs" / "__pycache__"
"""Numba's cache lies beside the sources if it can."""


def prepare_caches() -> None:
    """Name a private temporary folder to libraries whose usual places cannot be written, as in a container.

    Without a cache numba refuses to work and matplotlib complains; without a home both would write into a
    folder called `~`.
    """
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or not os.path.isdir(home):
        home = os.environ["HOME"] = private_folder()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    for variable, works in (
        ("NUMBA_CACHE_DIR", _writable(_KERNELS) or _writable(cache)),
        ("MPLCONFIGDIR", _writable(cache) and _writable(config)),
    ):
        if not works and variable not in os.environ:
            os.environ[variable] = os.path.join(private_folder(), variable.lower())


def prepare_pygame() -> None:
    """Keep pygame from greeting, from playing sound, and from looking for a display where there is none."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def private_folder() -> str:
    """A temporary folder of this user alone, the same for every process: what lies there is loaded as code."""
    import tempfile

    if not hasattr(os, "getuid"):  # Windows, where the temporary folder is the user's own
        return tempfile.mkdtemp(prefix="fathom-")
    folder = os.path.join(tempfile.gettempdir(), f"fathom-{os.getuid()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if private and found.st_uid == os.getuid():
            return folder
    except OSError:
        pass
    return tempfile.mkdtemp(prefix="fathom-")


def _writable(path: str | Path) -> bool:
    """Whether a folder can be written, or made."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
