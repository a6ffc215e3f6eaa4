"""Where data comes from: a path, a name, or a scheme that another package provides."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

Provider = Callable[
    [str, str, Mapping[str, Any]],
    tuple[list[Any], list[Any]] | tuple[list[Any], list[Any], Mapping[str, Any]],
]
"""Takes the name after the colon, the form that the task asks for ("tagged-sentences") and options; gives
training rows, test rows, and perhaps how they were made, which is stored with every score. It raises ValueError, with one
sentence, for what it cannot provide."""


class DataError(ValueError):
    """Data that cannot be used, and why, in one sentence."""


def no_fit(reference: str) -> Any:
    """Where there are no other fits."""
    raise DataError(f"there is no fit {reference!r}")


class Location(NamedTuple):
    """Where a data set was found."""

    kind: Literal["path", "shipped", "hub"]
    value: str
    """The path, the name of the shipped data set, or its identifier on the Hub."""
    found: str
    """The same for people, such as "shipped with scikit-learn"."""

    @property
    def path(self) -> Path:
        """The path, where there is one."""
        return Path(self.value)


@dataclass(frozen=True)
class DataSource:
    """A reference to data, as given by `--data`, with what is needed to resolve it."""

    reference: str
    """A name, a path, or `SCHEME:NAME`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of a scheme's provider, such as `{"sentences": 10000}`."""
    schemes: Mapping[str, Provider] = field(default_factory=dict)
    """Providers by scheme."""
    open_fit: Callable[[str], Any] = no_fit
    """Returns the task of another fit, trained, by the fit's folder or name."""

    @property
    def scheme(self) -> str | None:
        """The registered scheme of the reference; None for a name or a path."""
        scheme, colon, _ = self.reference.partition(":")
        return scheme if colon and scheme in self.schemes else None

    def absolute(self) -> DataSource:
        """The same source with existing paths made absolute, valid in any working directory."""
        head, name = (f"{self.scheme}:", self._name) if self.scheme else ("", self.reference)
        if not name or not os.path.exists(name) or (self.scheme and not Path(name).is_file()):
            return self
        return replace(self, reference=head + str(Path(name).resolve()))

    @property
    def _name(self) -> str:
        return self.reference.partition(":")[2]

    def provide(self, form: str) -> tuple[list[Any], list[Any]]:
        """Training and test rows from the provider of the reference's scheme."""
        train, test, _ = self.provide_with_origin(form)
        return train, test

    def provide_with_origin(self, form: str) -> tuple[list[Any], list[Any], dict[str, Any]]:
        """Training and test rows from the provider of the reference's scheme, and how they were made, as JSON.

        Args:
            form: the rows that the task can use, such as "tagged-sentences".

        Raises:
            DataError: the provider has no such data.
        """
        if self.scheme is None:
            raise DataError(f"{self.reference} has no scheme, such as those of {self._known()}")
        try:
            train, test, *origin = self.schemes[self.scheme](self._name, form, self.options)
            return train, test, dict(*origin)
        except ValueError as error:
            raise DataError(str(error)) from error

    def locate(
        self,
        shipped: Mapping[str, str] | None = None,
        hub: Mapping[str, str] | None = None,
        installed: Mapping[str, str] | None = None,
        licences: Mapping[str, str] | None = None,
    ) -> Location:
        """Find a name or a path: as a path, in $FATHOM_DATA, in an installed package, on the Hub.

        Args:
            shipped: name of a data set → the package that ships it.
            hub: name of a data set → its identifier on the Hugging Face Hub.
            installed: name of a data set → the folder where a package of the system puts it.
            licences: name of a data set → its licence, for the sentence that says how to get it.

        Raises:
            DataError: there is no such data set; the sentence says where it was looked for and what to do.
        """
        if self.scheme is not None:
            raise DataError(f"this task cannot use {self.scheme}: data")
        if self.options:
            names = ", ".join(sorted(self.options))
            raise DataError(
                f"the data {self.reference} take no option ({names} given): options are for schemes "
                f"such as {self._known()}"
            )
        path = Path(self.reference)
        if self.reference and os.path.exists(path):
            return Location("path", str(path), str(path.resolve()))
        home = os.environ.get("FATHOM_DATA")
        kept = Path(home) / self.reference if home else None
        if self.reference and kept is not None and os.path.exists(kept):
            return Location("path", str(kept), f"{kept} (FATHOM_DATA)")
        if package := (shipped or {}).get(self.reference):
            return Location("shipped", self.reference, f"shipped with {package}")
        folder = (installed or {}).get(self.reference)
        if folder and Path(folder).exists():
            return Location("path", folder, folder)
        identifier = (hub or {}).get(self.reference)
        if identifier and importlib.util.find_spec("datasets") is not None:
            return Location("hub", identifier, f"https://huggingface.co/datasets/{identifier}")
        if identifier:
            identifier += f" (licence: {(licences or {}).get(self.reference, 'not stated')})"
        raise DataError(self._missing(path, kept, identifier, sorted({**(shipped or {})})))

    def _missing(
        self, path: Path, kept: Path | None, identifier: str | None, shipped: list[str]
    ) -> str:
        also = f" and {kept}" if kept else " (FATHOM_DATA is not set)"
        sentence = f"no data {self.reference!r}: looked at {path}{also}"
        scheme, colon, _ = self.reference.partition(":")
        if identifier:
            return (
                f"{sentence}; to download {identifier} from the Hugging Face Hub, "
                "run `pip install datasets` first"
            )
        if colon and len(scheme) > 1 and "/" not in scheme:
            return f"{sentence}, and there is no scheme {scheme!r}; known: {self._known()}"
        if shipped:
            return f"{sentence}; give a path, or use what is installed: {', '.join(shipped)}"
        return f"{sentence}; give a path, or use a scheme: {self._known()}"

    def _known(self) -> str:
        return ", ".join(f"{name}:NAME" for name in sorted(self.schemes)) or "none registered"
