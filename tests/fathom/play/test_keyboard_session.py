"""A person and an agent share a game: each step is either's, and what the agent thinks is always known."""

from typing import Any

import numpy as np
import pytest
import torch

from fathom.environments import resolve
from fathom.errors import FathomError
from fathom.play.keyboard_session import Key, KeyboardSession, keys_of


class Right:
    """An agent that pushes right, and says so."""

    score_kind = "value"
    context = type("context", (), {"device": "cpu"})

    def act(self, observations: Any, masks: Any, starts: np.ndarray, rng: Any) -> np.ndarray:
        self.starts = bool(starts[0])
        return np.array([1])

    def scores(self, observations: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.tensor([[0.25, 0.75]])

    def annotate(self, env: Any, observations: Any, masks: Any) -> None:
        return


def _cart(agent: Any = None) -> KeyboardSession:
    return KeyboardSession(resolve("CartPole-v1"), agent, 3)


def test_steps_and_returns_add_up_until_the_end_and_a_new_episode_begins_at_nothing() -> None:
    game = _cart()
    while not game.moment.end:
        before = game.moment
        game.step(0)
        assert game.moment.episode_return == before.episode_return + game.moment.reward
    assert game.moment.end == "terminated"
    assert 5 < game.moment.steps < 20
    ended = game.moment
    game.step(0)
    assert game.moment is ended
    game.reset()
    assert (game.moment.steps, game.moment.episode_return, game.moment.end) == (0, 0.0, "")
    game.close()


def test_either_may_act_at_any_step_and_the_agent_is_asked_at_all_of_them() -> None:
    agent = Right()
    game = _cart(agent)
    assert agent.starts
    velocities = []
    for action in (None, 0, None, None, 0):
        assert (game.moment.choice, game.moment.scores) == (1, (0.25, 0.75))
        game.step(action)
        velocities.append(float(np.asarray(game.observations)[0, 1]))
    pushes = np.sign(np.diff([0.0, *velocities]))
    assert pushes.tolist() == [1, -1, 1, 1, -1]
    assert not agent.starts
    assert game.moment.picture.shape == (400, 600, 3)
    game.close()


def test_without_an_agent_there_is_nobody_to_hand_over_to() -> None:
    game = _cart()
    with pytest.raises(FathomError, match="no agent"):
        game.step()
    with pytest.raises(FathomError, match="not possible"):
        game.step(7)
    assert game.moment.steps == 0
    game.close()


def test_actions_without_numbers_are_no_game_for_keys() -> None:
    with pytest.raises(FathomError, match="cannot be played by keyboard"):
        KeyboardSession(resolve("Pendulum-v1"), None, 0)


def test_keys_follow_the_names_of_actions() -> None:
    names = ["NOOP", "FIRE", "UP", "UPLEFTFIRE", "jump", "7"]
    assert keys_of(names) == [
        Key((" ",), 1),
        Key(("ArrowUp",), 2),
        Key(("ArrowUp", "ArrowLeft", " "), 3),
        Key(("0",), 4),
        Key(("1",), 5),
    ]
    taken = {key for one in keys_of([str(k) for k in range(40)]) for key in one.keys}
    assert len(taken) == 33
    assert not taken & set("hnp")


def test_the_most_held_keys_that_mean_something_win() -> None:
    game = KeyboardSession(resolve("ALE/Pong-v5"), None, 0)
    assert game.names[:3] == ["NOOP", "FIRE", "RIGHT"]
    assert game.idle == 0
    assert game.action_for({"ArrowRight", " ", "x"}) == game.names.index("RIGHTFIRE")
    assert game.action_for({"ArrowRight"}) == game.names.index("RIGHT")
    assert game.action_for({"x"}) is None
    game.close()
    maze = KeyboardSession(resolve("Fathom/Maze-v0"), None, 0)
    assert maze.idle is None
    assert maze.action_for({"ArrowDown"}) == maze.names.index("DOWN")
    maze.close()
