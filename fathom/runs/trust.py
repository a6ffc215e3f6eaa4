"""Which runs were made here: a signature of `run.toml`, by a key that stays on this machine.

A run's folder is data, but some of what `run.toml` can ask for is more: a file to import, a program to play
against. That is done only for a run whose `run.toml` was written here, or that the user trusts by `--trust`.
`run.toml` is signed by HMAC-SHA256 (RFC 2104) with a random key in the user's state folder.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import gymnasium
import platformdirs

from fathom.environments import EnvironmentSpec
from fathom.environments.constructor import load_constructor
from fathom.environments.wrappers import HARMLESS_WRAPPERS
from fathom.errors import FathomError
from fathom.files import Folder, UnsafeFileError

SIGNATURE = "signature"
_KEY, _KEY_BYTES, _MOST = "key", 32, 1_000
_OURS = ("envs.", "ale_py.", "ale_py:", "gymnasium.envs.")
"""Beginnings of the entry points of environments that ship with Fathom and what it requires."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]*")
"""The name of something that ships, not a path, an address or a command with arguments."""


def signature(config: bytes) -> str | None:
    """The signature of the contents of a `run.toml`; None where the key cannot be read or made."""
    key = _key()
    return None if key is None else hmac.new(key, config, hashlib.sha256).hexdigest()


def is_signed(files: Folder, config: bytes) -> bool:
    """Whether a run's folder holds this machine's signature of the contents of its `run.toml`."""
    try:
        lines = files.read(SIGNATURE, _MOST).split()
    except (OSError, UnsafeFileError):
        return False
    expected = signature(config)
    return expected is not None and any(
        hmac.compare_digest(line, expected.encode()) for line in lines
    )


def sign(files: Folder, config: bytes, before: bytes | None) -> bool:
    """Sign what `run.toml` is about to hold, so that it holds a signed text at every moment.

    Args:
        before: what it holds now, if that is signed.

    Returns:
        Whether it could be signed.
    """
    lines = [signature(text) for text in (config, before) if text is not None]
    if None in lines:
        return False
    files.replace(SIGNATURE, "".join(f"{line}\n" for line in lines).encode())
    return True


def refuse_imports(folder: Path, reference: str, wrappers: Sequence[str]) -> None:
    """Raise FathomError where an environment, or a wrapper round it, imports what does not ship with Fathom."""
    refuse_module(folder, reference)
    spec = gymnasium.registry.get(reference)  # an id that is unknown here is an error of its own
    entries = [] if spec is None else [spec.entry_point, spec.vector_entry_point]
    others = [entry for entry in entries if entry and not str(entry).startswith(_OURS)]
    if others:
        raise FathomError(_refusal(folder, f"import {others[0]} for the environment {reference}"))
    for wrapper in wrappers:
        if wrapper.partition("{")[0] not in HARMLESS_WRAPPERS:
            raise FathomError(_refusal(folder, f"import {wrapper}"))


def refuse_module(folder: Path, reference: str) -> None:
    """Raise FathomError where a reference is `file.py:Class` or `module:Class`, whose code would be imported."""
    target = reference.rpartition(":")[0]
    if target:
        raise FathomError(_refusal(folder, f"import {target}"))


def refuse_data(folder: Path, reference: str) -> None:
    """Raise FathomError where the data of a fit are a path or an address, or import what does not ship with Fathom."""
    scheme, _, name = reference.partition(":")
    if scheme != "frames":
        refuse_paths(folder, reference)
        return
    refuse_imports(folder, name, ())
    if name not in gymnasium.registry and not name.startswith("ALE/"):  # a run, or games
        refuse_paths(folder, *name.split(","))


def refuse_arguments(folder: Path, environment: EnvironmentSpec) -> None:
    """Raise FathomError where an environment's arguments start a program or read a file.

    Which may is declared by the world; see `envs.hooks.Hooks`.
    """
    if environment.is_atari:
        return
    constructor = load_constructor(environment.spec)
    named: dict[str, tuple[str, ...]] = getattr(constructor, "run_arguments", {})
    for name in getattr(constructor, "program_arguments", ()):
        value = environment.env_args.get(name)
        if value is not None and name not in environment.runs and value not in named.get(name, ()):
            raise FathomError(_refusal(folder, f"start the program {str(value)!r}"))
    # Gymnasium's own worlds do not say which of their arguments are paths.
    ours = str(environment.spec.entry_point).startswith("envs.")
    for name in getattr(constructor, "path_arguments", {}) if ours else environment.env_args:
        value = environment.env_args.get(name)
        refuse_paths(folder, value if isinstance(value, str) else None)


def refuse_paths(folder: Path, *values: object) -> None:
    """Raise FathomError where a text names a file or an address, rather than something by its name."""
    for value in values:
        for text in str(value).split(":") if value else ():
            if not _NAME.fullmatch(text):
                raise FathomError(_refusal(folder, f"read {str(value)!r}"))


def _refusal(folder: Path, what: str) -> str:
    return (
        f"{folder} would {what}, and its run.toml was not written on this machine, or was changed since:"
        " look at that first, and if you trust it, add --trust (in Python, trust=True), or make it count as written"
        f" here by `fathom resume {folder} --trust`"
    )


def _key() -> bytes | None:
    """This machine's key, made where there is none; None where it cannot be."""
    with suppress(OSError, RuntimeError):
        folder = Path(platformdirs.user_state_dir("fathom", appauthor=False))
        files = Folder(folder)
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        if files.kind(_KEY) is None:
            _make_key(folder)
        key = files.read(_KEY, _KEY_BYTES)
        if len(key) == _KEY_BYTES:
            return key
    return None


def _make_key(folder: Path) -> None:
    """Write a new key that only the user can read, unless another process does so first."""
    descriptor, temporary = tempfile.mkstemp(dir=folder)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, folder / _KEY)
    finally:
        os.unlink(temporary)
