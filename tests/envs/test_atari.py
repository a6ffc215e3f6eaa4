import numpy as np
import pytest

from envs.atari import AtariConfig, describe, make_single, make_vector
from envs.vector import Transitions
from fathom.environments import list_environments


@pytest.mark.parametrize(
    "config", [AtariConfig(), AtariConfig("nature"), AtariConfig(full_action_space=True)]
)
@pytest.mark.parametrize("game", ["ALE/Pong-v5", "ALE/Breakout-v5"])
def test_the_drawn_environment_observes_what_the_vector_environment_does(
    game: str, config: AtariConfig
) -> None:
    single = make_single(game, config, "rgb_array")
    vector = make_vector(game, 1, config, training=False)
    rng = np.random.default_rng(0)
    one, _ = single.reset(seed=7)
    many, _ = vector.reset(seed=7)
    for _ in range(500):
        assert np.array_equal(one, many[0])
        action = int(rng.integers(single.action_space.n))  # type: ignore[attr-defined]
        one, reward, terminated, truncated, _ = single.step(action)
        many, rewards, ends, cuts, _ = vector.step(np.array([action]))
        assert (reward, terminated, truncated) == (rewards[0], ends[0], cuts[0])
        if terminated:
            break
    picture = single.render()
    assert picture.shape == (210, 160, 3)
    # What is drawn is the frame that was observed: the same brightness, at full size.
    grey = picture.astype(float) @ [0.299, 0.587, 0.114]
    assert abs(grey.mean() - one[-1].mean()) < 3


def test_a_seed_decides_everything_that_follows() -> None:
    def play() -> list[bytes]:
        env = make_vector("ALE/Pong-v5", 2, AtariConfig(), training=True)
        env.reset(seed=1)
        env.step(np.array([0, 1]))  # history that the next reset must erase
        env.reset(seed=5)
        rng = np.random.default_rng(0)
        return [env.step(rng.integers(0, 6, 2))[0].tobytes() for _ in range(50)]

    assert play() == play()


def test_a_step_can_be_begun_and_ended_apart() -> None:
    def play(apart: bool) -> list[bytes]:
        stream = Transitions(make_vector("ALE/Pong-v5", 3, AtariConfig(), training=True))
        stream.reset(seed=2)
        rng, seen = np.random.default_rng(0), []
        for _ in range(50):
            actions = rng.integers(0, 6, 3)
            before = stream.observations.tobytes()
            if apart:
                stream.step_async(actions)
                assert stream.observations.tobytes() == before
            step = stream.step_wait() if apart else stream.step(actions)
            assert step.observations.tobytes() == before
            seen += [step.next_observations.tobytes(), step.rewards.tobytes()]
        return seen

    assert play(True) == play(False)


@pytest.mark.parametrize(("training", "ends"), [(True, True), (False, False)])
def test_a_lost_life_ends_only_the_learners_episode(training: bool, ends: bool) -> None:
    stream = Transitions(make_vector("ALE/Breakout-v5", 1, AtariConfig("nature"), training))
    stream.reset(seed=3)
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(2_000):
        transition = stream.step(rng.integers(0, 4, 1))
        assert transition.valid[0]
        if stream.finished:
            break
        seen += int(transition.terminated[0])
    assert bool(seen) == ends
    assert len(stream.finished) == 1  # five lives are one game


def test_scores_are_raw() -> None:
    stream = Transitions(make_vector("ALE/Breakout-v5", 8, AtariConfig(), training=True))
    stream.reset(seed=0)
    games: list[tuple[float, int]] = []
    rng = np.random.default_rng(0)
    while len(games) < 8:
        stream.step(rng.integers(0, 4, 8))
        games += stream.finished.values()
    assert max(score for score, _ in games) > 0


def test_every_listed_game_has_a_rom_and_a_wrong_one_is_named() -> None:
    games = [name for name in list_environments() if name.startswith("ALE/")]
    assert "ALE/MsPacman-v5" in games
    for game in games[::20]:
        make_vector(game, 1, AtariConfig(), training=False).close()
    with pytest.raises(ValueError, match="Pongg"):
        make_vector("ALE/Pongg-v5", 1, AtariConfig(), training=False)


def test_a_protocol_names_all_that_a_score_depends_on() -> None:
    facts = describe("ALE/Pong-v5", AtariConfig())
    assert facts["name"] == "machado"
    assert facts["sticky_actions"] == 0.25
    assert facts["action_set"] == "minimal"
