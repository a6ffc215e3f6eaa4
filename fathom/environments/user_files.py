"""Environments in a user's own files, whose project may have packages with the names of ours."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from gymnasium import Env
from gymnasium.envs.registration import EnvSpec

from fathom.environments.reporting import line_in, one_line
from fathom.errors import FathomError

OUR_FOLDER = Path(__file__).resolve().parents[2]
OUR_PACKAGES = ("agents", "envs", "fathom", "perception")
"""A user's project may have packages of these names; neither side may hide the other's."""


class _Project:
    """A user's folder, which may have packages with the names of ours.

    While its code is imported these names mean the user's packages, before and after they mean ours. Each side
    keeps its own modules.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clashing = tuple(
            name
            for name in OUR_PACKAGES
            if folder != OUR_FOLDER
            and ((folder / name).is_dir() or (folder / f"{name}.py").is_file())
        )
        self.modules: dict[str, types.ModuleType] = {}

    def find_spec(
        self, name: str, path: Any = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a clashing package in the folder even if it has no ``__init__.py``."""
        return PathFinder.find_spec(name, [str(self.folder)]) if name in self.clashing else None

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Import the user's packages rather than ours inside the context."""
        theirs, ours = self.modules, self._take_out()
        sys.modules.update(theirs)
        sys.path.insert(0, str(self.folder))
        sys.meta_path.insert(0, self)  # type: ignore[arg-type]
        try:
            yield
        finally:
            sys.meta_path.remove(self)  # type: ignore[arg-type]
            sys.path.remove(str(self.folder))
            # Ours first, for processes that are started with this path; the folder for imports inside functions.
            for folder in (str(OUR_FOLDER), str(self.folder)):
                if folder not in sys.path:
                    sys.path.append(folder)
            self.modules = self._take_out()
            sys.modules.update(ours)

    def _take_out(self) -> dict[str, types.ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in self.clashing]
        return {name: sys.modules.pop(name) for name in names}


def spec_from_file(path: Path, name: str) -> EnvSpec:
    """Return the specification of an environment's class in a file; FathomError if there is none."""
    if not path.is_file():
        raise FathomError(f"there is no file {path}")
    project = _Project(path.parent)
    module = _load_file(path, project)
    result = getattr(module, name, None)
    if not (inspect.isclass(result) and issubclass(result, Env)):
        there = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, Env) and value is not Env
        ]
        listed = f"it has {', '.join(there)}" if there else "it has no gymnasium.Env at all"
        what = "no environment" if result is None else "an object that is no gymnasium.Env, called"
        raise FathomError(f"{path} has {what} {name!r}; {listed}")
    if project.clashing:
        result = _importing_in(project, result)
    creator: Any = result
    return EnvSpec(f"{path.stem}/{name}", entry_point=creator)


def _importing_in(project: _Project, environment: type[Env]) -> type[Env]:
    """Return a subclass whose constructor imports the user's packages rather than ours."""

    class Imported(environment):  # type: ignore[misc,valid-type]
        @typing.no_type_check
        def __init__(self, *args, **kwargs):
            with project.importing():
                super().__init__(*args, **kwargs)

    Imported.__name__ = environment.__name__
    Imported.__qualname__ = environment.__qualname__
    Imported.__init__.__signature__ = inspect.signature(environment.__init__)
    return Imported


def _load_file(path: Path, project: _Project) -> types.ModuleType:
    """Import a file as a module with a private name."""
    name = f"_fathom_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with project.importing():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = line_in(error, path)
        where = f"{path}, line {line}," if line else f"{path}"
        raise FathomError(f"{where} cannot be loaded: {one_line(error)}") from error
    return module
