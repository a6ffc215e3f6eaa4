"""A score is repeatable, and no environment plays more episodes than another."""

import inspect
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from fathom.display import score as shown
from fathom.environments import resolve
from fathom.errors import FathomError
from fathom.evaluation import MAX_ENVS, episode_quotas, evaluate
from fathom.statistics import bootstrap_interval

EXAMPLE = Path(__file__).parents[2] / "examples" / "corridor.py"


class Wanderer:
    """An agent that only acts, at random, and mostly to the right."""

    def act(
        self, observations: np.ndarray, masks: Any, starts: Any, rng: np.random.Generator
    ) -> np.ndarray:
        return (rng.random(len(observations)) < 0.7).astype(np.int64)


def test_the_same_seed_gives_the_same_score() -> None:
    world = resolve(f"{EXAMPLE}:Corridor", {})
    agent: Any = Wanderer()
    one, two = (evaluate(agent, world, 12, seed=3) for _ in range(2))
    assert one == two
    assert one.returns != evaluate(agent, world, 12, seed=4).returns


class Coin(gym.Env[np.ndarray, int]):
    """Guess a coin that is tossed after the guess."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        self.steps += 1
        right = action == int(self.np_random.random() < 0.5)
        return np.zeros(1, np.float32), float(right), False, self.steps == 200, {}


def test_what_an_agent_draws_is_not_what_the_environment_draws(tmp_path: Path) -> None:
    class Guesser(Wanderer):
        def act(self, observations: np.ndarray, masks: Any, starts: Any, rng: Any) -> np.ndarray:
            return (rng.random(len(observations)) < 0.5).astype(np.int64)

    file = tmp_path / "coin.py"
    file.write_text(
        "import gymnasium as gym\nimport numpy as np\nfrom typing import Any\n\n\n"
        + inspect.getsource(Coin)
    )
    agent: Any = Guesser()
    assert evaluate(agent, resolve(f"{file}:Coin", {}), 1, seed=3).mean < 150


def test_of_one_episode_no_interval_is_printed() -> None:
    result = {"mean": 2.5, "interval": [2.5, 2.5], "episodes": 1}
    assert shown(result) == "2.5 (1 episode)"
    assert shown(result | {"episodes": 2}) == "2.5 (95 % interval 2.5 to 2.5, 2 episodes)"


def test_a_score_says_what_it_is() -> None:
    world = resolve(f"{EXAMPLE}:Corridor", {"length": "6"})
    agent: Any = Wanderer()
    score = evaluate(agent, world, 34, seed=1)
    assert len(score.returns) == len(score.lengths) == score.count == 34
    assert score.environments == MAX_ENVS
    low, high = score.interval
    assert score.mean == pytest.approx(np.mean(score.returns))
    assert low <= score.mean <= high
    assert score.protocol["env.length"] == 6
    content = score.to_json()
    assert content["episodes"] == 34
    # A goal after n steps returns 1 - 0.01 (n - 1): steps that only reset are not counted.
    for total, length in zip(score.returns, score.lengths, strict=True):
        assert total == pytest.approx(1 - 0.01 * (length - 1)) or length == 24


def test_episodes_are_shared_out_evenly() -> None:
    assert [len(episode_quotas(n)) for n in (1, 7, 10, 30, 100, 200)] == [1, 7, 10, 15, 10, 10]


@pytest.mark.parametrize("episodes", [17, 19, 23, 31, 97])
def test_a_number_without_divisors_is_played_side_by_side_too(episodes: int) -> None:
    quotas = episode_quotas(episodes)
    assert len(quotas) == MAX_ENVS
    assert quotas.sum() == episodes
    assert quotas.max() - quotas.min() == 1
    agent: Any = Wanderer()
    result = evaluate(agent, resolve(f"{EXAMPLE}:Corridor", {}), episodes, seed=1)
    assert len(result.returns) == len(result.lengths) == episodes
    assert min(result.lengths) > 0


def test_short_episodes_are_not_over_represented() -> None:
    """Every environment's episodes, not the first to end, make up the score."""
    world = resolve(f"{EXAMPLE}:Corridor", {})

    class Half(Wanderer):
        """Walks right in the first half of the environments, left in the others."""

        def act(self, observations: np.ndarray, masks: Any, starts: Any, rng: Any) -> np.ndarray:
            return (np.arange(len(observations)) < len(observations) // 2).astype(np.int64)

    agent: Any = Half()
    lengths = np.array(evaluate(agent, world, 20, seed=1).lengths)
    assert (lengths == 40).sum() == 10


def test_the_interval_is_fixed_and_holds_the_mean() -> None:
    returns = np.random.default_rng(1).normal(5, 2, 100)
    low, high = bootstrap_interval(returns)
    assert (low, high) == bootstrap_interval(returns)
    assert low < returns.mean() < high
    assert high - low == pytest.approx(4 * 2 / 10, rel=0.3)


def test_an_episode_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fathom.evaluation.STEP_LIMIT", 10)
    agent: Any = Wanderer()
    result = evaluate(agent, resolve(f"{EXAMPLE}:Corridor", {"length": "50"}), 40, seed=1)
    n = len(episode_quotas(40))
    assert result.lengths == [10] * n, "each environment plays one episode, up to the limit"
    assert result.cut == result.count == n
    assert result.returns == pytest.approx([-0.1] * n)
    assert "max_episode_steps" in result.warning
    short = evaluate(agent, resolve(f"{EXAMPLE}:Corridor", {"length": "2"}), 40, seed=1)
    assert (short.count, short.cut, short.warning) == (40, None, "")
    some = evaluate(agent, resolve(f"{EXAMPLE}:Corridor", {"length": "10"}), 40, seed=1)
    assert some.cut is not None
    assert 0 < some.cut < some.count < 40
    assert max(some.lengths) == 10
    with pytest.raises(FathomError, match="at least one"):
        evaluate(agent, resolve(f"{EXAMPLE}:Corridor", {}), 0, seed=1)


def test_an_evaluation_says_how_far_it_is() -> None:
    agent: Any = Wanderer()
    seen: list[tuple[int, int]] = []
    evaluate(
        agent,
        resolve(f"{EXAMPLE}:Corridor", {"length": "6"}),
        20,
        seed=1,
        report=lambda done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (20, 20)
    assert len(seen) > 1
