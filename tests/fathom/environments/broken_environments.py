"""Environments that break Gymnasium's contract, each in the one way that its name says."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Graph, Sequence, Text


class Works(gymnasium.Env):
    """Breaks nothing: ten steps that pay 1 each."""

    def __init__(self) -> None:
        self.observation_space: Any = Box(-1, 1, (2,), np.float32)
        self.action_space: Any = Discrete(2)
        self.time = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observe(), {}

    def step(self, action):
        self.time += 1
        return self.observe(), 1.0, self.time == 10, False, {}

    def observe(self) -> Any:
        return np.zeros(2, np.float32)


# Spaces


class NoActionSpace(Works):
    def __init__(self) -> None:
        self.observation_space = Box(-1, 1, (2,), np.float32)


class NoObservationSpace(Works):
    def __init__(self) -> None:
        self.action_space = Discrete(2)


class ActionSpaceIsANumber(Works):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = 2


class ObservationSpaceIsAShape(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = (2,)


class EmptyDict(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Dict({})


class NoActions(Works):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = Discrete(0)


class BoundsAreReversed(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(1, -1, (2,), np.float32)


class OtherSpacesEachTime(Works):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.action_space = Discrete(1 + self.made)


class ObservesAGraph(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Graph(Box(0, 1, (1,)), None)

    def observe(self) -> Any:
        self.observation_space.seed(int(self.np_random.integers(1000)))
        return self.observation_space.sample()


class ObservesSequencesOfText(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Sequence(Text(3))

    def observe(self) -> Any:
        return ("a",)


class ActsWithText(Works):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = Dict(a=Discrete(2), b=Text(3))


# Making and resetting


class NeedsAnArgument(Works):
    def __init__(self, size) -> None:
        super().__init__()


class RaisesWhenMade(Works):
    def __init__(self) -> None:
        raise RuntimeError("no licence")


class RaisesInReset(Works):
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no such level")


class ResetGivesNoInfo(Works):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class ResetGivesThree(Works):
    def reset(self, *, seed=None, options=None):
        return (*super().reset(seed=seed), 0)


class ResetGivesNoneAsInfo(Works):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], None


class ResetIsOutOfBounds(Works):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0] + 5, {}


class ResetGivesNaN(Works):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0] * np.nan, {}


class ResetHasAnotherShape(Works):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}


class ResetTakesNoSeed(Works):
    def reset(self):
        return super().reset()


class ResetTakesNoOptions(Works):
    def reset(self, *, seed=None):
        return super().reset(seed=seed)


class ResetIgnoresTheSeed(Works):
    def reset(self, *, seed=None, options=None):
        return super().reset()


class ResetIsNotRepeatable(Works):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.random.default_rng().uniform(-1, 1, 2).astype(np.float32), {}


class RaisesInProtocol(Works):
    def protocol(self):
        raise RuntimeError("no rules")


# Stepping


class RaisesInStep(Works):
    def step(self, action):
        raise RuntimeError("no such move")


class StepGivesNoTuple(Works):
    def step(self, action):
        return super().step(action)[0]


class StepGivesThree(Works):
    def step(self, action):
        return super().step(action)[:3]


class StepGivesFour(Works):
    def step(self, action):
        observation, reward, over, _, info = super().step(action)
        return observation, reward, over, info


class StepGivesNoneAsInfo(Works):
    def step(self, action):
        return *super().step(action)[:4], None


class StepHasAnotherShape(Works):
    def step(self, action):
        return np.zeros(3, np.float32), *super().step(action)[1:]


class StepLacksAKey(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Dict(a=Discrete(2), b=Discrete(2))

    def observe(self) -> Any:
        return {"a": 0, "b": 1} if self.time == 0 else {"a": 0}


class StepIsNotRepeatable(Works):
    def step(self, action):
        noise = np.random.default_rng().uniform(-1, 1, 2).astype(np.float32)
        return noise, *super().step(action)[1:]


class RewardIsNotRepeatable(Works):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, np.random.default_rng().random(), *rest


class RewardIsText(Works):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, "much", *rest


class RewardIsNone(Works):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, None, *rest


class RewardIsAnArray(Works):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, np.ones(2), *rest


class RewardIsNaN(Works):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float("nan"), *rest


class RewardIsInfinite(Works):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float("inf"), *rest


class TerminatedIsNone(Works):
    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, None, truncated, info


class TruncatedIsText(Works):
    def step(self, action):
        observation, reward, over, _, info = super().step(action)
        return observation, reward, over, "no", info


class TruncatesAtOnce(Works):
    def step(self, action):
        observation, reward, over, _, info = super().step(action)
        return observation, reward, over, True, info


class AlwaysTheSameArray(Works):
    def __init__(self) -> None:
        super().__init__()
        self.array = np.zeros(2, np.float32)

    def observe(self) -> Any:
        return self.array


class AlwaysTheSameInfo(Works):
    def __init__(self) -> None:
        super().__init__()
        self.info: dict[str, Any] = {}

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], self.info

    def step(self, action):
        return *super().step(action)[:4], self.info


class RaisesInClose(Works):
    def close(self) -> None:
        raise RuntimeError("cannot close")


# Action masks and measures


class Masked(Works):
    """Breaks nothing."""

    def mask(self) -> Any:
        return np.array([True, False])

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"action_mask": self.mask()}

    def step(self, action):
        return *super().step(action)[:4], {"action_mask": self.mask()}


class MaskHasAnotherShape(Masked):
    def mask(self) -> Any:
        return np.ones(3, bool)


class MaskIsForgottenInStep(Masked):
    def step(self, action):
        return *super().step(action)[:4], {}


class MaskIsForgottenInReset(Masked):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {}


class MaskHasNoNumberedActions(Masked):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-1, 1, (2,), np.float32)


class MeasureIsText(Works):
    metadata = {"render_modes": [], "measures": ("grade",)}

    def step(self, action):
        return *super().step(action)[:4], {"grade": "A"}


class MeasureIsADict(Works):
    metadata = {"render_modes": [], "measures": ("grade",)}

    def step(self, action):
        return *super().step(action)[:4], {"grade": {"mark": 1.0}}


class HasNoLives(Works):
    metadata = {"render_modes": [], "life_loss": True}


class MeasureIsInfinite(Works):
    metadata = {"render_modes": [], "measures": ("grade",)}

    def step(self, action):
        return *super().step(action)[:4], {"grade": np.inf}


class MeasuresAreANumber(Works):
    metadata = {"render_modes": [], "measures": 3}


class FramesASecondAreText(Works):
    metadata = {"render_modes": [], "render_fps": "many"}


class ProtocolIsANumber(Works):
    def protocol(self):
        return 3


class LeavesPython(Works):
    def step(self, action):
        raise SystemExit(3)


# Well until the fifth step of an episode, or the first segment's end


class GivesNaNLater(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Dict(door=Discrete(2), place=Box(-1, 1, (2,), np.float32))

    def observe(self) -> Any:
        return {"door": 0, "place": np.float32([0, np.nan if self.time == 5 else 0])}


class PaysNaNLater(Works):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, float("nan") if self.time == 5 else reward, *rest


class PaysInfinityInTests(Works):
    def __init__(self, split: str) -> None:
        super().__init__()
        self.split = split

    def step(self, action):
        observation, reward, *rest = super().step(action)
        wrong = self.split == "test" and self.time == 5
        return observation, float("inf") if wrong else reward, *rest


class RaisesLater(Works):
    def step(self, action):
        if self.time == 4:
            raise KeyError("door")
        return super().step(action)


class LeavesPythonLater(Works):
    def step(self, action):
        if self.time == 4:
            raise SystemExit(3)
        return super().step(action)


class MaskIsForgottenLater(Works):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"action_mask": np.ones(2, np.int8)}

    def step(self, action):
        result = super().step(action)
        return result if self.time == 5 else (*result[:4], {"action_mask": np.ones(2, np.int8)})


class MaskChangesLater(Works):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"action_mask": np.ones(2, np.int8)}

    def step(self, action):
        result = super().step(action)
        return *result[:4], {"action_mask": np.ones(3 if self.time == 5 else 2, np.int8)}


class LeavesItsSpaceLater(Works):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Discrete(3)

    def observe(self) -> Any:
        return 7 if self.time == 5 else 1


class HasAnotherShapeLater(Works):
    def observe(self) -> Any:
        return np.zeros(3 if self.time == 5 else 2, np.float32)
