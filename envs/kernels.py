"""Compiled functions on the disk that may no longer be used.

numba keeps what it compiled beside the source, and compiles a function again when its own file has changed;
when a function that it calls has, in another file, it does not. Such a stale function may write where the
new layout of an array ends.
"""

import contextlib
import hashlib
from pathlib import Path


def forget_old_kernels(folder: Path) -> None:
    """Delete numba's cache of a folder unless it is from the present sources: those of the folder, and
    of this package, whose functions others call."""
    sources = {*folder.glob("*.py"), *Path(__file__).parent.rglob("*.py")}
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(sources):
        digest.update(path.read_bytes())
    cache = folder / "__pycache__"
    stamp = cache / f"kernels-{digest.hexdigest()}"
    # Where nothing can be written, numba keeps its cache elsewhere.
    with contextlib.suppress(OSError):
        if not stamp.exists():
            for old in (*cache.glob("*.nb[ic]"), *cache.glob("kernels-*")):
                old.unlink(missing_ok=True)
            cache.mkdir(exist_ok=True)
            stamp.touch()
