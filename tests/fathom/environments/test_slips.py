"""Slips that do no harm are warnings, printed once, and stop nothing; real breaches stay refusals."""

from pathlib import Path

import numpy as np
import pytest

from envs.vector import Transitions
from fathom import cli
from fathom.environments import resolve
from fathom.environments.check import check
from fathom.errors import FathomError

SOURCE = '''
import gymnasium, numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple


class Slip(gymnasium.Env):
    """One step in two shows `wrong`, which `when` says."""

    metadata = {"render_modes": []}
    shared = np.zeros(3)

    def __init__(self, kind: str, when: str = "step"):
        self.kind, self.when = kind, when
        self.action_space = Discrete(2)
        self.observation_space = {
            "float64": Box(0, 1, (3,), np.float32),
            "order": Dict(a=Box(0, 1, (3,)), b=Discrete(3)),
            "extra": Dict(a=Box(0, 1, (3,)), b=Discrete(3)),
            "large": Box(0, 1e6, (3,), np.float64),
            "half": Box(0, np.inf, (3,), np.float64),
            "ints": Box(0, 9, (3,), np.float32),
            "list": Box(0, 1, (3,), np.float64),
            "parts": Tuple([Box(0, 1, (3,), np.float64), Discrete(2)]),
            "discrete": Discrete(3),
            "digits": MultiDiscrete([3, 3]),
        }.get(kind, Box(0, 1, (3,), np.float64))
        self.array, self.entries = np.zeros(3), {}

    def look(self, now):
        x, wrong = self.np_random.random(3) / 2, self.when == now
        if self.kind == "rounding" and wrong:
            x[0] = 1.0000000000000002
        if self.kind == "below" and wrong:
            x[0] = -1e-17
        if self.kind == "far" and wrong:
            x[0] = 7
        if self.kind == "large":
            x[0] = 1e6 + (0.5 if wrong else 0)
        if self.kind == "half" and wrong:
            x[0] = -1e-9
        if self.kind == "nan" and wrong:
            x[0] = np.nan
        if self.kind == "shape" and wrong:
            return np.zeros(4)
        if self.kind == "text" and wrong:
            return "abc"
        if self.kind == "shared":
            self.array[:] = x
            return self.array
        if self.kind == "view":
            return self.array[:]
        if self.kind in ("order", "extra"):
            more = {"c": 1} if self.kind == "extra" else {}
            return {"b": 1, "a": x.astype(np.float32), **more}
        if self.kind == "ints":
            return np.array([1, 2, 3])
        if self.kind == "list":
            return list(x)
        if self.kind == "parts":
            return [x + (0.5000000000000002 - x.max() + 0.5 if wrong else 0), 1]
        if self.kind == "discrete":
            return 3 if wrong else np.int32(1)
        if self.kind == "digits":
            return np.array([0, 3 if wrong else 1])
        return x

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.look("reset"), self.entries if self.kind == "info" else {}

    def step(self, action):
        self.time += 1
        info = self.entries if self.kind == "info" else {}
        return self.look("step"), 1.0, self.time == 10, False, info


class Wrapped(gymnasium.Wrapper):
    """The same in a wrapper."""

    def __init__(self, kind: str, when: str = "step"):
        super().__init__(Slip(kind, when))
'''

HARMLESS = {
    ("rounding", "reset"): "observation exceeds a bound of its space by rounding",
    ("rounding", "step"): "observation exceeds a bound of its space by rounding",
    ("below", "reset"): "observation exceeds a bound of its space by rounding",
    ("large", "reset"): "observation exceeds a bound of its space by rounding",
    ("half", "step"): "observation exceeds a bound of its space by rounding",
    ("far", "step"): "step() gives observation outside of the bounds of its space",
    ("float64", "reset"): "observation has float64 numbers and its space float32",
    ("ints", "reset"): "observation has int64 numbers and its space float32",
    ("shared", "reset"): "its observations share an object, and Fathom copies each",
    ("view", "reset"): "its observations share an object, and Fathom copies each",
    ("info", "reset"): "its infos share an object, and Fathom copies each",
    ("extra", "reset"): "observation has entries that its space has not: 'c'",
    ("parts", "step"): "observation[0] exceeds a bound of its space by rounding",
    ("order", "reset"): "",
    ("list", "reset"): "",
}

REFUSED = {
    ("far", "reset"): "is not within the observation space",
    ("nan", "reset"): "is not within the observation space",
    ("nan", "step"): "the observation of step() holds a number that is not finite",
    ("shape", "reset"): "is not within the observation space",
    ("shape", "step"): "the observation of step() does not fit its space",
    ("text", "reset"): "is not within the observation space",
    ("text", "step"): "the observation of step() does not fit its space",
    ("discrete", "reset"): "is not within the observation space",
    ("digits", "reset"): "is not within the observation space",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "slips.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("name", ["Slip", "Wrapped"])
@pytest.mark.parametrize(("kind", "when"), HARMLESS)
def test_a_harmless_slip_is_a_warning(file: Path, name: str, kind: str, when: str) -> None:
    warnings = check(resolve(f"{file}:{name}", {"kind": kind, "when": when}))
    expected = HARMLESS[kind, when]
    assert warnings.count(expected) == bool(expected)
    assert not any("is not within the observation space" in warning for warning in warnings)


@pytest.mark.parametrize("name", ["Slip", "Wrapped"])
@pytest.mark.parametrize(("kind", "when"), REFUSED)
def test_a_breach_is_refused(file: Path, name: str, kind: str, when: str) -> None:
    with pytest.raises(FathomError) as caught:
        check(resolve(f"{file}:{name}", {"kind": kind, "when": when}))
    assert REFUSED[kind, when] in str(caught.value)


@pytest.mark.parametrize("kind", ["rounding", "far", "shared", "float64", "extra", "info"])
def test_a_harmless_slip_is_printed_once_on_standard_error_and_trains(
    file: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        "ppo",
        f"{file}:Slip",
        "--env.kind",
        kind,
        "--steps",
        "128",
        "--num-envs",
        "2",
    ]
    words += ["--rollout-steps", "8", "--threads", "1", "--runs-dir", str(file.parent / "runs")]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("fathom: warning: ")
    assert "warning" not in printed.out


INFO = """
import time
import gymnasium, numpy as np
class Info(gymnasium.Env):
    metadata = {"render_modes": [], "render_fps": None}
    def __init__(self, kind="time"):
        self.kind = kind
        self.observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
    def info(self):
        return {
            "time": {"elapsed": time.perf_counter()}, "nan": {"far": float("nan")}, "object": {"o": object()},
            "table": {"lives": {"p1": 1}}, "text": {"lives": "three"}, "array": {"lives": np.array([3, 2])},
            "mask": {"action_mask": None},
        }[self.kind]
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), self.info()
    def step(self, action):
        self.time += 1
        return np.zeros(1, np.float32), 1.0, self.time >= 9, np.bool_(False), self.info()
"""


@pytest.mark.parametrize("kind", ["time", "nan", "object", "table", "text", "array", "mask"])
def test_what_nobody_reads_may_be_anything(tmp_path: Path, kind: str) -> None:
    (tmp_path / "info.py").write_text(INFO)
    spec = resolve(f"{tmp_path / 'info.py'}:Info", {"kind": kind})
    assert check(spec) == []
    stream = Transitions(spec.make_vector(2, training=True))
    stream.reset(seed=0)
    for _ in range(12):
        stream.step(np.zeros(2, np.int64))
    assert stream.action_masks is None
