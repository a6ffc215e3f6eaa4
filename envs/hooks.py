"""What a world may offer beyond Gymnasium's interface.

Every hook is optional: a plain Gymnasium environment works without any of them. Fathom looks a hook up by
its name, so a world need not inherit from anything here. A method is taken from the outermost wrapper that
has it. An attribute of such a name that cannot be called as described here has another meaning, and is left
alone.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import gymnasium
import numpy as np


class WorldError(ValueError):
    """A world cannot be made or played as asked. The message is one sentence for the user."""


@runtime_checkable
class TrainedRun(Protocol):
    """A trained run, as a world gets it in place of the name or folder that the user gave."""

    folder: Path
    """Its folder, absolute."""

    def model(self) -> Any:
        """Return the fitted perception model of the latest checkpoint."""

    def command(self, name: str) -> list[str]:
        """Return the words that start the command `fathom NAME` on this run in a new process."""


class Hooks(Protocol):
    """All optional hooks of a world.

    A constructor argument called `split` is a hook too: it is set to "train" in training, and to "test" in
    evaluations, recordings and the contract check. The user cannot set it. It is no hook if its annotation
    does not allow the two texts, or its default is a value other than these and None: `split: float = 0.8`
    is an argument like any other.

    A constructor argument called `opponent` is set to "self" where an agent learns a game of two from games
    against itself. Then every step is a move of the player whose turn it is: the observation and the mask are
    as this player has them, and the reward is that of the player who moved.
    """

    metadata: dict[str, Any]
    """Gymnasium's, with two more keys, for vector environments as well.

    `"measures"`: names of entries of `info` at the end of an episode. An evaluation reports the mean of
    each over the episodes that have it.
    `"life_loss"`: of a vector environment; if true, a termination with lives left (`info["lives"]`) ends
    an episode for the learner while the game goes on.
    """

    path_arguments: ClassVar[Mapping[str, tuple[str, ...]]]
    """Constructor arguments that may be paths, each with the endings of such paths ("" for any text). A
    path that exists is made absolute, so that a run can be resumed from another folder."""

    run_arguments: ClassVar[Mapping[str, tuple[str, ...]]]
    """Constructor arguments that may name a trained run, each with the texts that never do. The
    constructor gets a `TrainedRun` where there is such a run, and else the text as it is."""

    program_arguments: ClassVar[tuple[str, ...]]
    """Constructor arguments whose text may be the command line of a program that the world starts. A run from
    elsewhere is not made with such a text unless it names a trained run or is one of the texts that never
    do (see `run_arguments`), or the user trusts it."""

    P: Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]
    """Of a world whose observations and actions are numbers: `P[state][action]` lists what can follow, each
    (probability, next state, reward, whether the episode ends), as in Gymnasium's toy text worlds. Value
    iteration reads it. With `desc`, an array (rows, columns) of letters, # for a wall, or `shape`, their number,
    states are the squares of a grid, row by row, and tables of values are drawn on it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return a copy that goes on by itself; for a world that attribute by attribute cannot be copied.

        A planner searches in copies. It draws their random numbers: `copy.deepcopy(self.np_random, memo)` is its own
        generator.
        """

    def protocol(self) -> Mapping[str, Any]:
        """Return the rules that a score depends on: names to numbers and texts.

        Called on an environment that was never reset. Printed and stored with every score.
        """

    def expert_action(
        self, observations: Any, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the actions of a scripted expert, (n, …), for n observations.

        Called during training and evaluation on a closed environment that was never reset, so the actions
        may depend on the arguments of the constructor and of this method only.

        Args:
            observations: a batch of flat observations as agents get them, (n, …); a tuple of arrays where
                the observation has several parts. Inside a wrapper that changes observations or actions the
                expert is not used, for they would not be its own.
            action_masks: (n, actions) bool, if the environment gives `info["action_mask"]`.
        """

    def transcript(self) -> Mapping[str, str]:
        """Return the episode so far as texts, by the suffix of the file for each, such as ".txt".

        Called when an episode was recorded; the files are put beside the video.
        """


_ARGUMENTS = {"protocol": 0, "expert_action": 2, "transcript": 0}
"""The methods of `Hooks`, and with how many arguments they are called."""


def find_hook(env: gymnasium.Env, name: str) -> Callable[..., Any] | None:
    """Return a method of `Hooks` of an environment, or of its outermost wrapper that has one; else None.

    No `expert_action` is taken from inside a wrapper that changes observations or actions: the expert would
    get other observations than its own.
    """
    layer: Any = env
    while True:
        method = getattr(layer, name, None)
        if callable(method) and _can_be_called(method, _ARGUMENTS[name]):
            return method
        if not isinstance(layer, gymnasium.Wrapper):
            return None
        if name == "expert_action" and _changes_spaces(layer):
            return None
        layer = layer.env


def _changes_spaces(layer: gymnasium.Wrapper) -> bool:
    """Whether agents see, or do, something else than what the environment inside shows, or takes."""
    if isinstance(layer, (gymnasium.ObservationWrapper, gymnasium.ActionWrapper)):
        return True
    inner = layer.env
    return (
        layer.observation_space != inner.observation_space
        or layer.action_space != inner.action_space
    )


def _can_be_called(method: Callable[..., Any], arguments: int) -> bool:
    try:
        inspect.signature(method).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:  # it has no signature
        pass
    return True
