import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.rollout import advantages


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_advantages_worked_out_by_hand() -> None:
    rewards, values = column(1, 2, 3), column(10, 20, 30, 40)
    no = column(0, 0, 0).astype(bool)
    # δ = r + 0.5·V' − V:  1 + 10 − 10 = 1,  2 + 15 − 20 = −3,  3 + 20 − 30 = −7
    result = advantages(rewards, values, no, no, discount=0.5, decay=0.5)
    np.testing.assert_allclose(result, column(1 + 0.25 * (-3 + 0.25 * -7), -3 + 0.25 * -7, -7))


def test_an_end_is_worth_nothing_and_a_cut_what_was_expected() -> None:
    rewards, values = column(1, 1, 1), column(5, 5, 5, 5)
    no, last = column(0, 0, 0).astype(bool), column(0, 1, 0).astype(bool)
    ended = advantages(rewards, values, last, last, discount=1.0, decay=1.0)
    np.testing.assert_allclose(ended, column(2 - 5, 1 - 5, 1 + 5 - 5))
    cut = advantages(rewards, values, no, last, discount=1.0, decay=1.0)
    np.testing.assert_allclose(cut, column(2 + 5 - 5, 1 + 5 - 5, 1 + 5 - 5))


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1.0))
def test_with_decay_1_they_are_returns_less_values(seed: int, discount: float) -> None:
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(7, 3)), rng.normal(size=(8, 3))
    over = rng.random((7, 3)) < 0.3
    terminated = over & (rng.random((7, 3)) < 0.5)
    result = advantages(rewards, values, terminated, over, discount, 1.0)
    for i in range(3):
        for t in range(7):
            total, factor = 0.0, 1.0
            for k in range(t, 7):
                total += factor * rewards[k, i]
                factor *= discount
                if over[k, i] or k == 6:
                    total += factor * values[k + 1, i] * (not terminated[k, i])
                    break
            np.testing.assert_allclose(result[t, i], total - values[t, i], atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_with_decay_0_they_are_errors_of_one_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(5, 2)), rng.normal(size=(6, 2))
    over = rng.random((5, 2)) < 0.3
    result = advantages(rewards, values, over, over, 0.9, 0.0)
    np.testing.assert_allclose(result, rewards + 0.9 * ~over * values[1:] - values[:-1])
