"""A user's own files and modules, whose project may have packages with the names of ours.

A file in a package (its folder has an `__init__.py`) is imported by its name in that package, so that
relative imports work. Any other file becomes a module below this one, `…user_files.FOLDER.FILE`, whose name
holds the path: whatever the file is called it hides no other module, and a process that was started by
`spawn` finds it when it unpickles something from there.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from fathom.environments.reporting import OUR_FOLDER, line_in, one_line
from fathom.errors import FathomError

OUR_PACKAGES = ("agents", "envs", "fathom", "perception")
"""A user's project may have packages of these names; neither side may hide the other's."""

Importing = Callable[[], AbstractContextManager[None]]

__path__: list[str] = []  # makes this module a package, for those that `_FileFinder` finds


class UserModule(NamedTuple):
    """A user's module."""

    module: types.ModuleType
    importing: Importing
    """A context in which its project's own packages are imported rather than ours."""


class _Project:
    """Folders of a user, which may have packages with the names of ours, or of others imported before.

    While code from there is imported these names mean the user's packages, before and after they mean what
    they meant. Each side keeps its own modules.

    Args:
        folders: where the project's modules are looked up.
        top: a module of the project.
    """

    def __init__(self, folders: tuple[Path, ...], top: str) -> None:
        self.folders = [str(folder) for folder in folders]
        names = OUR_PACKAGES if OUR_FOLDER not in folders else ()
        self.clashing = tuple(
            name for name in {*names, top} if self._has(name) and self._is_elsewhere(name)
        )
        self.modules: dict[str, types.ModuleType] = {}

    def _has(self, name: str) -> bool:
        return any(
            Path(folder, name).is_dir() or Path(folder, f"{name}.py").is_file()
            for folder in self.folders
        )

    def _is_elsewhere(self, name: str) -> bool:
        """Whether the name means a module outside of the project."""
        module = sys.modules.get(name)
        if module is None:
            return name in OUR_PACKAGES
        places = [*getattr(module, "__path__", ()), getattr(module, "__file__", None) or ""]
        return not any(str(Path(place).resolve().parent) in self.folders for place in places)

    def find_spec(
        self, name: str, path: Any = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module in the folders first; a clashing package even if it has no ``__init__.py``."""
        spec = PathFinder.find_spec(name, self.folders) if path is None else None
        regular = spec is not None and spec.loader is not None
        return spec if regular or name in self.clashing else None

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Import the user's modules rather than others of their names inside the context."""
        # Ours first, for processes that are started with this path; theirs for imports inside functions.
        for folder in (str(OUR_FOLDER), *self.folders):
            if folder not in sys.path:
                sys.path.append(folder)
        theirs, others = self.modules, self._take_out()
        sys.modules.update(theirs)
        sys.meta_path.insert(sys.meta_path.index(PathFinder), self)  # type: ignore[arg-type]
        try:
            yield
        finally:
            sys.meta_path.remove(self)  # type: ignore[arg-type]
            self.modules = self._take_out()
            sys.modules.update(others)

    def _take_out(self) -> dict[str, types.ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in self.clashing]
        return {name: sys.modules.pop(name) for name in names}


@functools.cache
def _project(folders: tuple[Path, ...], top: str = "") -> _Project:
    return _Project(folders, top)


class _FileLoader(SourceFileLoader):
    """Runs a user's file while its project's packages are those that are imported."""

    def exec_module(self, module: types.ModuleType) -> None:
        with _project((Path(self.path).parent,)).importing():
            super().exec_module(module)


class _FileFinder:
    """Finds the modules below this one: `…user_files.FOLDER` and `…user_files.FOLDER.FILE`."""

    @staticmethod
    def find_spec(
        name: str, path: Any = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{__name__}."):
            return None
        folder, _, stem = name.removeprefix(f"{__name__}.").partition(".")
        if not stem:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [unquote(folder)]
            return spec
        file = Path(unquote(folder), f"{unquote(stem)}.py")
        if "." in stem or not file.is_file():
            return None
        return importlib.util.spec_from_file_location(
            name, file, loader=_FileLoader(name, str(file))
        )


sys.meta_path.insert(0, _FileFinder)  # type: ignore[arg-type]


def absolute(reference: str) -> str:
    """Return `path/to/file.py:Name` with an absolute path, valid in any folder; other references as they are."""
    target, _, name = reference.rpartition(":")
    return f"{Path(target).expanduser().resolve()}:{name}" if target.endswith(".py") else reference


def import_module_of(reference: str) -> UserModule:
    """Import the module that `path/to/file.py:Name` or `module:Name` names; FathomError if it cannot be."""
    target = absolute(reference).rpartition(":")[0]
    return import_file(Path(target)) if target.endswith(".py") else import_named(target, reference)


_loaded: dict[Path, tuple[tuple[int, int], UserModule]] = {}
"""The files that were imported, with their time and size then."""


def import_file(path: Path) -> UserModule:
    """Import a file, again if it has changed; FathomError if it cannot be."""
    if not path.is_file():
        raise FathomError(f"there is no file {path}")
    version = (path.stat().st_mtime_ns, path.stat().st_size)
    if path in _loaded and _loaded[path][0] == version:
        return _loaded[path][1]
    packages: list[str] = []
    root = path.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        packages.insert(0, root.name)
        root = root.parent
    names = [*packages, *([] if path.stem == "__init__" else [path.stem])]
    if packages and not any("." in name for name in names):
        project = _project((root, path.parent), names[0])
        name = ".".join(names)
        context: AbstractContextManager[None] = project.importing()
    else:
        project = _project((path.parent,))
        name = f"{__name__}.{_quoted(path.parent)}.{_quoted(path.stem)}"
        context = nullcontext()  # `_FileLoader` has it
    try:
        with context:
            sys.modules.pop(name, None)
            module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        line = line_in(error, path)
        where = f"{path}, line {line}," if line else f"{path}"
        raise FathomError(f"{where} cannot be loaded: {one_line(error)}") from error
    result = UserModule(module, project.importing if project.clashing else nullcontext)
    _loaded[path] = version, result
    return result


def _quoted(text: Path | str) -> str:
    """A text as part of a module's name, without dots."""
    return str(text).replace("%", "%25").replace(".", "%2E")


def import_named(name: str, reference: str) -> UserModule:
    """Import the module of `module:Name`, also from the current folder, which never hides our packages."""
    here = Path.cwd()
    project = _project((here,), name.partition(".")[0])
    clashes = name.partition(".")[0] in project.clashing
    if str(here) not in sys.path:
        sys.path.append(str(here))
    try:
        with project.importing() if clashes else nullcontext():
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise FathomError(f"there is no module {name!r}, named in {reference!r}") from error
        raise FathomError(f"{name} cannot be imported: {one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise FathomError(f"{name} cannot be imported: {one_line(error)}") from error
    return UserModule(module, project.importing if clashes else nullcontext)
