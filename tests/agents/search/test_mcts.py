import math
from collections.abc import Sequence

import numpy as np
import pytest

from agents.search.mcts import (
    completed_q,
    first_play_value,
    gumbel,
    halving_choice,
    halving_schedule,
    improve,
    puct,
    puct_score,
    rave_share,
    select_interior,
    sigma,
    uct,
    uct_score,
)

# -- formulas, against values worked out by hand ------------------------------------------------------


def test_upper_confidence_bound() -> None:
    assert uct_score(0.0, 0, 10, 1.0) == math.inf, "what was never tried comes first"
    assert uct_score(0.5, 4, math.e**4, 2.0) == pytest.approx(0.5 + 2.0)


def test_a_prior_leads_until_visits_outweigh_it() -> None:
    assert puct_score(0.25, 0.5, 3, 16, 2.0) == pytest.approx(0.25 + 2.0 * 0.5 * 4 / 4)
    assert puct_score(0.0, 0.5, 0, 1, 1.0) == pytest.approx(0.5)


def test_first_plays_lose_worth_as_priors_are_used_up() -> None:
    assert first_play_value(0.5, 0.0, 0.25) == 0.5
    assert first_play_value(0.5, 0.64, 0.25) == pytest.approx(0.3)


def test_rave_fades() -> None:
    assert rave_share(0, 0, 1000) == 0, "nothing known"
    assert rave_share(0, 7, 1000) == 1, "nothing else known"
    assert rave_share(100, 300, 1000) == pytest.approx(300 / (100 + 300 + 30))
    assert rave_share(1e9, 1e9, 1000) < 1e-5


def test_completed_values_mix_evaluation_and_search() -> None:
    priors = np.array([0.5, 0.25, 0.25])
    visits, totals = np.array([2.0, 0.0, 1.0]), np.array([1.0, 0.0, -1.0])
    q = np.empty(3)
    completed_q(priors, visits, totals, 0.2, q)
    # Of what was visited: (0.5 · 0.5 + 0.25 · −1) / 0.75 = 0; so (0.2 + 3 · 0) / 4.
    assert q.tolist() == pytest.approx([0.5, 0.05, -1.0])
    completed_q(priors, np.zeros(3), np.zeros(3), 0.2, q)
    assert q.tolist() == pytest.approx([0.2] * 3)


def test_improved_policy_shifts_logits_by_values() -> None:
    assert sigma(10, 0.5) == 30
    priors = np.array([0.5, 0.5, 0.0])
    visits, totals = np.array([1.0, 1.0, 0.0]), np.array([0.1, 0.0, 0.0])
    policy = np.empty(3)
    improve(priors, visits, totals, 0.0, 0.1, policy)
    odds = math.exp(5.1 * 0.1)
    assert policy.tolist() == pytest.approx([odds / (1 + odds), 1 / (1 + odds), 0.0])
    improve(priors, np.zeros(3), np.zeros(3), 0.7, 0.1, policy)
    assert policy.tolist() == pytest.approx(priors.tolist()), "no visits, nothing learnt"


def test_below_the_root_visits_follow_the_policy() -> None:
    policy, visits = np.array([0.6, 0.3, 0.1, 0.0]), np.zeros(4)
    for _ in range(1000):
        visits[select_interior(policy, visits)] += 1
    np.testing.assert_allclose(visits / 1000, policy, atol=0.002)


def test_sequential_halving_worked_out() -> None:
    # 16 simulations, 4 candidates: two rounds of 8; each of 4 twice, then each of 2 four times.
    assert halving_schedule(4, 16) == [0] * 4 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, 5]
    assert halving_schedule(1, 3) == [0, 1, 2]
    assert halving_schedule(8, 5) == [0] * 5, "too few for all: the best of the draw"
    assert halving_schedule(2, 5) == [0, 0, 1, 1, 2]


def test_halving_chooses_among_equally_visited() -> None:
    logits, q = np.array([3.0, 1.0, 2.0, -math.inf]), np.array([0.0, 1.0, 0.0, 1.0])
    visits = np.array([1.0, 0.0, 0.0, 0.0])
    assert halving_choice(logits, q, visits, 1, 0.1) == 0
    assert halving_choice(logits, q, visits, 0, 0.1) == 1, "1 + 5.1 beats 2"
    assert halving_choice(logits, q, visits, 0, 0.0) == 2


# -- worlds -----------------------------------------------------------------------------------------

LINES = [
    *((i, i + 1, i + 2) for i in (0, 3, 6)),
    *((i, i + 3, i + 6) for i in (0, 1, 2)),
    (0, 4, 8),
    (2, 4, 6),
]


class TicTacToe:
    """States are strings of nine: `x`, `o` and `.`; x moves when both have equally many."""

    discount = -1.0

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def actions(self, state: str) -> Sequence[int]:
        over = any(state[a] == state[b] == state[c] != "." for a, b, c in LINES)
        return [] if over else [i for i in range(9) if state[i] == "."]

    def step(self, state: str, action: int) -> tuple[str, float]:
        mark = "x" if state.count("x") == state.count("o") else "o"
        after = state[:action] + mark + state[action + 1 :]
        return after, float(any(all(after[i] == mark for i in line) for line in LINES))

    def evaluate(self, state: str) -> tuple[np.ndarray, float]:
        """All moves alike, and how one random game ends."""
        n = len(self.actions(state))
        value, sign = 0.0, 1.0
        while actions := self.actions(state):
            state, reward = self.step(state, int(self.rng.choice(actions)))
            value += sign * reward
            sign = -sign
        return np.full(n, 1 / n), value


def best_by_uct(state: str, simulations: int = 400) -> int:
    return uct(TicTacToe(), state, simulations, exploration=1.0).most_visited()


def best_by_puct(state: str, simulations: int = 400) -> int:
    # Priors that know nothing need more exploration than a network's.
    return puct(TicTacToe(), state, simulations, exploration=3.0).most_visited()


def best_by_gumbel(state: str, simulations: int = 400) -> int:
    # A playout is noisier than a network: its value must not weigh as much.
    return gumbel(TicTacToe(), state, simulations, np.random.default_rng(0), scale=0.05)[1]


@pytest.mark.parametrize("best", [best_by_uct, best_by_puct, best_by_gumbel])
class TestTicTacToe:
    def test_wins_where_it_can(self, best) -> None:  # type: ignore[no-untyped-def]
        assert best("xx.oo....") == 2
        assert best("xx.oo.x..") == 5

    def test_prevents_a_loss(self, best) -> None:  # type: ignore[no-untyped-def]
        assert best("x...o..ox") == 1

    def test_answers_a_corner_in_the_centre(self, best) -> None:  # type: ignore[no-untyped-def]
        assert best("x........", 1000) == 4

    def test_two_of_them_draw(self, best) -> None:  # type: ignore[no-untyped-def]
        world, state = TicTacToe(), "." * 9
        while world.actions(state):
            state, reward = world.step(state, best(state))
            assert reward == 0, state


MAZE = [
    "S..#",
    ".#..",
    "..#G",
]


class Maze:
    """One step costs a tenth of what follows; the goal pays 1."""

    discount = 0.9

    def actions(self, state: tuple[int, int]) -> Sequence[int]:
        if MAZE[state[0]][state[1]] == "G":
            return []
        return [i for i in range(4) if self._ahead(state, i) is not None]

    def step(self, state: tuple[int, int], action: int) -> tuple[tuple[int, int], float]:
        ahead = self._ahead(state, action)
        assert ahead is not None
        return ahead, float(MAZE[ahead[0]][ahead[1]] == "G")

    def evaluate(self, state: tuple[int, int]) -> tuple[np.ndarray, float]:
        """Knows nothing."""
        n = len(self.actions(state))
        return np.full(n, 1 / n), 0.0

    @staticmethod
    def _ahead(state: tuple[int, int], action: int) -> tuple[int, int] | None:
        row, column = state[0] + (1, 0, -1, 0)[action], state[1] + (0, 1, 0, -1)[action]
        inside = 0 <= row < len(MAZE) and 0 <= column < len(MAZE[0])
        return (row, column) if inside and MAZE[row][column] != "#" else None


def test_finds_the_short_way_through_a_maze() -> None:
    world, state, steps = Maze(), (0, 0), 0
    while world.actions(state):
        state, _ = world.step(state, puct(world, state, 300).most_visited())
        steps += 1
        assert steps <= 5, "the shortest way has 5 steps"
    assert steps == 5


def test_values_of_the_maze_are_discounted_rewards() -> None:
    root = puct(Maze(), (1, 2), 300)
    right = root.actions.index(1)
    assert root.most_visited() == 1
    # (1, 3) is next to the goal: the reward comes one step later.
    assert root.totals[right] / root.visits[right] == pytest.approx(0.9, abs=0.1)


def test_an_ended_state_has_nothing_to_search() -> None:
    assert len(puct(TicTacToe(), "xxxoo....", 0).visits) == 0


def test_gumbel_improves_an_ignorant_policy_with_few_simulations() -> None:
    state, policies = "xx.oo....", []
    for seed in range(20):
        _, _, policy = gumbel(TicTacToe(), state, 16, np.random.default_rng(seed))
        policies.append(policy)
    winning = TicTacToe().actions(state).index(2)
    assert np.mean(policies, axis=0)[winning] > 0.8
