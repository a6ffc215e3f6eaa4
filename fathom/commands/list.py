"""Agents, presets, tasks and environments."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from fathom.arguments import parse, print_json
from fathom.runs.options import STRICT
from fathom.streams import quiet

USAGE = "list"


@dataclass(frozen=True, config=STRICT)
class ListFlags:
    """List agents, presets, tasks and environments."""

    json: bool = False
    """Print one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Print what there is."""
    flags: ListFlags = parse(ListFlags(), words, "fathom list")
    from agents import AGENTS
    from perception.tasks import TASKS

    with quiet(flags.json) as out:
        from fathom.environments import list_environments
        from fathom.environments.presets import preset_names

        environments: dict[str, list[str]] = {}
        for name in list_environments():
            family = name.partition("/")[0] if "/" in name else "Gymnasium"
            environments.setdefault(family, []).append(name)
        presets = preset_names()
        if flags.json:
            content = {"agents": sorted(AGENTS), "presets": presets, "tasks": sorted(TASKS)}
            print_json(out, {**content, "environments": environments})
            return 0
        print(f"agents:   {', '.join(sorted(AGENTS))}", file=out)
        print(f"presets:  {', '.join(presets) or 'none'}", file=out)
        print(f"tasks:    {', '.join(sorted(TASKS))}", file=out)
        for group, names in environments.items():
            print(f"\n{group}:", file=out)
            for name in names:
                print(f"  {name}", file=out)
        print(
            "\nand any Gymnasium environment: module:Id, module:Class, or path/to/file.py:Class;"
            "\na task of your own: module:Class, or path/to/file.py:Class",
            file=out,
        )
    return 0
