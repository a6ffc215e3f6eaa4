"""What perception learns on its own: `fathom fit TASK`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perception.tasks.task import Task

TASKS: dict[str, str] = {
    "slot-filling": "perception.tasks.slot_filling:SlotFilling",
    "utterances": "perception.tasks.utterances:Utterances",
}
"""Name on the command line, and where the class is; imported only when it is used."""


def load_task(name: str) -> type[Task]:
    """The task's class by its command-line name.

    Raises:
        KeyError: there is none of this name.
    """
    module, _, attribute = TASKS[name].partition(":")
    return getattr(import_module(module), attribute)
