"""Registered environments: which ids there are, and an id's specification."""

from __future__ import annotations

import difflib
import importlib.util

import gymnasium
from gymnasium.envs.registration import EnvSpec

from fathom.errors import FathomError

NEEDED_PACKAGES = {
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.box2d": "Box2D",
    "gymnasium.envs.phys2d": "flax",
    "gymnasium.envs.tabular": "flax",
}
"""Packages that Gymnasium's own environments need, by the start of their entry point."""


def list_environments() -> list[str]:
    """Return the registered ids that can be made here: newest versions, ours first, then Atari."""
    _register_all()
    newest: dict[tuple[str | None, str], EnvSpec] = {}
    for spec in gymnasium.registry.values():
        known = newest.get((spec.namespace, spec.name))
        if known is None or (spec.version or 0) > (known.version or 0):
            newest[spec.namespace, spec.name] = spec
    ranks = {"Fathom": 0, "ALE": 1}
    usable = filter(_is_usable, newest.values())
    ordered = sorted(usable, key=lambda s: (ranks.get(s.namespace or "", 2), s.id))
    return [spec.id for spec in ordered]


def registered_spec(name: str) -> EnvSpec:
    """Return the specification of a registered id; FathomError if there is none."""
    _register_all()
    try:
        return gymnasium.spec(name)
    except Exception:
        raise FathomError(
            f"there is no environment {name!r}{_did_you_mean(name, list_environments())}"
        ) from None


def _register_all() -> None:
    import ale_py

    import envs

    gymnasium.register_envs(ale_py)
    gymnasium.register_envs(envs)


def _did_you_mean(name: str, known: list[str]) -> str:
    """Return a hint with the most similar ids; case, namespace and version count little."""

    def bare(text: str) -> str:
        return text.lower().rpartition("/")[2].rpartition("-v")[0] or text.lower()

    def likeness(other: str) -> float:
        whole = difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
        return max(whole, difflib.SequenceMatcher(None, bare(name), bare(other)).ratio())

    scored = sorted(((likeness(other), other) for other in known), key=lambda pair: -pair[0])
    near = [other for score, other in scored[:3] if score >= 0.6]
    if not near:
        return "; try `fathom list`"
    return f"; the nearest {'names are' if near[1:] else 'name is'} {', '.join(near)}"


def _is_usable(spec: EnvSpec) -> bool:
    """Whether it can be made here, and is neither an Atari game's old id nor a bridge to old Gym."""
    entry = spec.entry_point
    if spec.name.startswith(("GymV21", "GymV26")):
        return False
    if not isinstance(entry, str):
        return entry is not None
    if entry.startswith("ale_py") and spec.namespace != "ALE":
        return False
    for start, package in NEEDED_PACKAGES.items():
        if entry.startswith(start):
            return importlib.util.find_spec(package) is not None
    return True
