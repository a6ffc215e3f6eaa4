"""Numba's cache of compiled functions, and when it must be deleted.

Numba compiles a cached function again if its own file has changed, but not if a function that it calls has
changed in another file. Such a stale function may use an old layout of an array and write beyond its end.
"""

import contextlib
import hashlib
from pathlib import Path


def forget_old_kernels(folder: Path) -> None:
    """Delete numba's cache of a folder unless it was made from the present sources of the folder and of this
    package, whose functions are called from other folders."""
    sources = {*folder.glob("*.py"), *Path(__file__).parent.rglob("*.py")}
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(sources):
        digest.update(path.read_bytes())
    cache = folder / "__pycache__"
    stamp = cache / f"kernels-{digest.hexdigest()}"
    # If the folder cannot be written, numba has its cache elsewhere.
    with contextlib.suppress(OSError):
        if not stamp.exists():
            for old in (*cache.glob("*.nb[ic]"), *cache.glob("kernels-*")):
                old.unlink(missing_ok=True)
            cache.mkdir(exist_ok=True)
            stamp.touch()
