"""Environments: from a reference to an environment that can be made, described and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fathom.environments.environment_spec import EnvironmentSpec
    from fathom.environments.references import resolve
    from fathom.environments.registry import list_environments

__all__ = ["EnvironmentSpec", "list_environments", "resolve"]

_MODULES = {
    "EnvironmentSpec": "environment_spec",
    "resolve": "references",
    "list_environments": "registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: Gymnasium takes long to import."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
