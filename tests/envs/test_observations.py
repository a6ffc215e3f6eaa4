import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given
from hypothesis import strategies as st

from envs.observations import MOST_VALUES, SEQUENCE_LENGTH, WORD_BUCKETS, ObservationFlattener
from envs.vector import BrokenEnvironmentError, Transitions


def batch_of(space: gym.Space, samples: list) -> object:
    return concatenate(space, samples, create_empty_array(space, len(samples)))


ELEMENTARY = st.sampled_from(
    [
        spaces.Box(-1, 1, (3,)),
        spaces.Box(-1, 1, ()),
        spaces.Box(-1, 1, (2, 3)),
        spaces.Box(0, 255, (48, 40), np.uint8),
        spaces.Box(0, 255, (3, 40, 40), np.uint8),
        spaces.Box(0, 1, (40, 48), np.float64),
        spaces.Box(-np.inf, np.inf, (40, 48)),
        spaces.Box(0, 9, (2, 40, 48, 3)),
        spaces.Box(0, 65535, (36, 36, 1, 2), np.uint16),
        spaces.Box(0, 255, (2, 7, 7, 3), np.uint8),
        spaces.Discrete(5, start=2),
        spaces.Discrete(10**9, start=-7),
        spaces.MultiDiscrete([3, 10**6]),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiDiscrete([[2, 3], [4, 5]]),
        spaces.MultiBinary(4),
        spaces.MultiBinary((2, 2)),
        spaces.Text(12),
        spaces.Sequence(spaces.Box(-1, 1, (2,))),
        spaces.Sequence(spaces.Discrete(3)),
    ]
)
ANY = st.recursive(
    ELEMENTARY,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(spaces.Dict)
    ),
    max_leaves=4,
)


@given(ANY)
def test_samples_of_any_space_lie_in_the_plain_space(space: gym.Space) -> None:
    plain = ObservationFlattener(space)
    made = plain(batch_of(space, [space.sample() for _ in range(4)]))
    parts = made if isinstance(made, tuple) else (made,)
    wanted = plain.space.spaces if isinstance(plain.space, spaces.Tuple) else (plain.space,)
    assert len(parts) == len(wanted)
    for part, box in zip(parts, wanted, strict=True):
        assert isinstance(box, (spaces.Box, spaces.MultiDiscrete))
        assert part.shape == (4, *box.shape)
        assert part.dtype == box.dtype
        assert all(box.contains(row) for row in part)


def test_a_dictionary_by_hand() -> None:
    space = spaces.Dict(
        gear=spaces.Discrete(3, start=1),
        lights=spaces.MultiBinary(2),
        speed=spaces.Box(-9, 9, (1,)),
    )
    plain = ObservationFlattener(space)
    sample = {"gear": np.int64(3), "lights": np.int8([0, 1]), "speed": np.float32([4.5])}
    indices, vector = plain(batch_of(space, [sample]))
    np.testing.assert_array_equal(indices, [[2]])
    np.testing.assert_array_equal(vector, [[0, 1, 4.5]])
    assert plain.space == spaces.Tuple(
        [spaces.MultiDiscrete([3], np.int16), spaces.Box(-np.inf, np.inf, (3,))]  # type: ignore[arg-type]
    )


def test_a_sequence_keeps_its_last_elements() -> None:
    space = spaces.Sequence(spaces.Discrete(100))
    made = ObservationFlattener(space)((tuple(range(40)), (7,), ()))
    assert isinstance(made, np.ndarray)
    assert made.shape == (3, SEQUENCE_LENGTH, 101)
    assert made[0, :, :100].argmax(axis=1).tolist() == list(range(8, 40))
    assert made[1].sum() == 2
    assert made[1, 0, 7] == made[1, 0, 100] == 1
    assert not made[2].any()


def test_text_is_counted_by_words() -> None:
    made = ObservationFlattener(spaces.Text(60))(("Go left, go left", "", "go"))
    assert isinstance(made, np.ndarray)
    assert made.shape == (3, WORD_BUCKETS)
    assert made.sum(axis=1).tolist() == [4, 0, 1]


class Mission(gym.Space[str]):
    """A space of strings of a package's own, as MiniGrid has one."""

    def __init__(self) -> None:
        super().__init__(dtype=str)


def test_a_space_of_strings_is_text_whatever_its_class() -> None:
    made = ObservationFlattener(Mission())(("get to the green goal square",))
    assert isinstance(made, np.ndarray)
    assert made.shape == (1, WORD_BUCKETS)
    assert made.sum() == 6


@pytest.mark.parametrize(
    "space",
    [
        spaces.Graph(spaces.Box(0, 1, (1,)), None),
        spaces.Dict(a=spaces.Graph(spaces.Box(0, 1, (1,)), None)),
        spaces.Sequence(spaces.Text(3)),
    ],
)
def test_a_space_that_no_encoder_fits_is_named(space: gym.Space) -> None:
    with pytest.raises(ValueError, match="no encoder fits"):
        ObservationFlattener(space)


@given(st.integers(1, 10**18), st.integers(-5, 5), st.data())
def test_numbers_of_any_size_are_told_apart_by_few_small_indices(
    n: int, start: int, data: st.DataObject
) -> None:
    plain = ObservationFlattener(spaces.Discrete(n, start=start))
    assert isinstance(plain.space, spaces.MultiDiscrete)
    assert plain.space.nvec.sum() <= MOST_VALUES * max(1, 2 * n.bit_length() // 12)
    numbers = data.draw(st.lists(st.integers(start, start + n - 1), min_size=1, max_size=5))
    made = plain(np.array(numbers))
    assert isinstance(made, np.ndarray)
    assert all(plain.space.contains(row) for row in made)
    written = np.zeros(len(numbers), np.int64)
    for digit, base in zip(made.T, plain.space.nvec, strict=True):
        written = written * base + digit
    np.testing.assert_array_equal(written + start, numbers)
    for outside in (start - 1, start + n):
        with pytest.raises(IndexError):
            plain(np.array([outside]))


def test_the_square_of_a_large_board_is_its_row_and_its_column() -> None:
    made = ObservationFlattener(spaces.Discrete(300 * 300))(np.array([7 * 300 + 11]))
    np.testing.assert_array_equal(made, [[7, 11]])


@pytest.mark.parametrize(
    ("shape", "flat"),
    [
        ((40, 48), (1, 40, 48)),
        ((4, 40, 48, 3), (40, 48, 12)),
        ((4, 3, 40, 48), (40, 48, 12)),
        ((40, 48, 3, 4), (40, 48, 12)),
        ((48, 40, 40, 3), (40, 40, 144)),
    ],
)
def test_every_number_of_a_stack_of_images_keeps_its_place(
    shape: tuple[int, ...], flat: tuple[int, ...]
) -> None:
    plain = ObservationFlattener(spaces.Box(0, 255, shape, np.uint8))
    assert plain.space.shape == flat
    rows = shape.index(40)
    image = np.zeros(shape, np.uint8)
    place = [0] * len(shape)
    place[rows : rows + 2] = [5, 7]
    image[tuple(place)] = 9
    (made,) = plain(image[None])
    made = made if len(shape) == 4 else made[0, :, :, None]
    assert made[5, 7].max() == 9
    assert made.sum() == 9


def test_a_table_without_bounds_is_no_image() -> None:
    assert ObservationFlattener(spaces.Box(-np.inf, np.inf, (40, 48))).space.shape == (40 * 48,)


PICTURE = spaces.Box(0, 255, (1, 36, 36), np.uint8)


@pytest.mark.parametrize(
    ("space", "given"),
    [
        (spaces.Box(-1, 1, (3,), np.float32), np.float64),
        (spaces.Box(-1, 1, (3,), np.float64), np.float32),
        (spaces.Box(-1, 1, (1, 4, 4), np.float32), np.float64),
        (PICTURE, np.int64),
        (spaces.Box(0, 255, (36, 36), np.uint8), np.int64),
        (spaces.Box(-9, 9, (1, 4, 4), np.int8), np.int64),
    ],
)
def test_a_batch_of_another_dtype_gets_that_of_the_space(
    space: spaces.Box, given: type[np.generic]
) -> None:
    batch = np.ones((2, *space.shape), given)
    made = ObservationFlattener(space)(batch)
    assert isinstance(made, np.ndarray)
    assert made.dtype == space.dtype
    assert (made == 1).all()


def test_parts_of_a_dictionary_get_the_dtypes_of_their_spaces() -> None:
    space = spaces.Dict(number=spaces.Box(-1, 1, (3,), np.float32), picture=PICTURE)
    batch = {"number": np.full((2, 3), 0.5), "picture": np.full((2, 1, 36, 36), 255)}
    picture, vector = ObservationFlattener(space)(batch)
    assert (picture.dtype, vector.dtype) == (np.uint8, np.float32)
    assert (picture == 255).all()
    assert (vector == 0.5).all()


@pytest.mark.parametrize("number", [-1, 256, 300])
def test_a_number_that_the_dtype_cannot_hold_is_refused(number: int) -> None:
    batch = np.zeros((2, *PICTURE.shape), np.int64)
    batch[1, 0, 3, 3] = number
    for space, observations in ((PICTURE, batch), (spaces.Dict(a=PICTURE), {"a": batch})):
        with pytest.raises(ValueError, match=f"the number {number}, which uint8 cannot hold"):
            ObservationFlattener(space)(observations)


class Breaks(gym.Env):
    """Goes wrong in its third step."""

    observation_space = spaces.Dict(good=spaces.Discrete(2), bad=spaces.Box(-1, 1, (2,)))
    action_space = spaces.Discrete(2)

    def __init__(self, field: str) -> None:
        self.field = field

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return {"good": 0, "bad": np.zeros(2, np.float32)}, {}

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        self.steps += 1
        wrong = self.steps == 3
        bad = np.float32([0, np.nan if wrong and self.field == "bad" else 0])
        reward = float("inf") if wrong and self.field == "reward" else 0.0
        return {"good": 0, "bad": bad}, reward, False, False, {}


@pytest.mark.parametrize(("field", "words"), [("bad", "nan as observation"), ("reward", "inf as")])
def test_a_number_that_is_none_is_named(field: str, words: str) -> None:
    stream = Transitions(
        SyncVectorEnv([lambda: Breaks("nothing"), lambda: Breaks(field)], autoreset_mode="NextStep")
    )
    stream.reset(0)
    for _ in range(2):
        stream.step(np.zeros(2, np.int64))
    with pytest.raises(
        BrokenEnvironmentError, match=f"environment 1 gave {words}.*step 3 of this segment"
    ):
        stream.step(np.zeros(2, np.int64))


class TwoLives(gym.Env):
    """A life is lost in the second step; the game ends in the fourth, with the other life left."""

    metadata = {"life_loss": True}
    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return 0, {"lives": 2}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        self.steps += 1
        return 0, 1.0, self.steps in (2, 4), False, {"lives": 1 if self.steps >= 2 else 2}


class LifeLoss(SyncVectorEnv):
    """Plays on after a lost life, as ALE's vector environment does."""

    def step(self, actions: np.ndarray) -> tuple:
        result = super().step(actions)
        self._autoreset_envs = self._autoreset_envs & (self.envs[0].unwrapped.steps == 4)  # type: ignore[attr-defined]
        return result


def test_a_game_that_ends_with_lives_left_has_ended() -> None:
    env = LifeLoss([TwoLives], autoreset_mode="NextStep")
    env.metadata = {**env.metadata, "life_loss": True}
    stream = Transitions(env)
    stream.reset(0)
    steps, games = [], []
    for _ in range(5):
        steps.append(stream.step(np.zeros(1, np.int64)))
        games.append(dict(stream.finished))
    assert [bool(step.terminated[0]) for step in steps] == [False, True, False, True, False]
    assert [bool(step.valid[0]) for step in steps] == [True, True, True, True, False]
    assert games == [{}, {}, {}, {0: (4.0, 4)}, {}]
