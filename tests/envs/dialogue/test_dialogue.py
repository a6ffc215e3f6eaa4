"""The simulated user, the channel, the belief and the rules; that the compiled vector environment keeps them."""

import functools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.dialogue import belief, config
from envs.dialogue.channel import CONFIDENCE
from envs.dialogue.dialogue import Dialogue, Turn
from envs.dialogue.domain import NONE
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import ACTS, ANY, BOOK, REQUEST, Frame, frame_of, ints_of
from envs.dialogue.goals import Goal
from envs.dialogue.vector import DialogueVector

assert envs  # registers the ids

SMALL = """
task: book a boat
slots:
  kind: {constraint: 0.7, question: 0.5}
  lake: {constraint: 0.7, question: 0.5}
  colour: {constraint: 0.3, question: 0.5}
  price: {constraint: 0, question: 0.6}
  people: {column: false, values: [one, two, three]}
change_of_mind: 0.4
rows:
  - {kind: canoe, lake: north, colour: red, price: 5 euros}
  - {kind: canoe, lake: south, colour: blue, price: 5 euros}
  - {kind: sail, lake: north, colour: white, price: 9 euros}
  - {kind: sail, lake: south, colour: red, price: 8 euros}
  - {kind: raft, lake: west, price: 2 euros}
"""


@pytest.fixture(scope="module", autouse=True)
def _read_once() -> Iterator[None]:
    """Reading a domain takes longer than a dialogue."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "load_domain", functools.cache(load_domain))
        yield


@pytest.fixture(scope="module")
def boats(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A domain file small enough to think about."""
    path: Path = tmp_path_factory.mktemp("domains") / "boats.yaml"
    path.write_text(SMALL)
    return str(path)


def _play(env: Dialogue, seed: int, rng: np.random.Generator) -> dict[str, Any]:
    """A dialogue by an agent that follows its rule half of the time; gives the last info."""
    observation, info = env.reset(seed=seed)
    while not info["reason"]:
        legal = np.flatnonzero(info["action_mask"])
        action = (
            rng.choice(legal) if rng.random() < 0.5 else env.expert_action(observation[None])[0]
        )
        observation, *_, info = env.step(action)
    return info


# Single and vector


@settings(max_examples=15, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "slot_error": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
            "intent_error": st.sampled_from([0.0, 0.1, 0.5]),
            "split": st.sampled_from(["train", "test"]),
            "max_turns": st.sampled_from([1, 7, 20]),
            "rule": st.sampled_from(["worthy", "weak"]),
        }
    ),
    st.booleans(),
    st.sampled_from(["random", "legal", "rule"]),
    st.integers(0, 2**31),
)
def test_the_vector_environment_is_many_single_ones(
    boats: str, arguments: dict, small: bool, acting: str, seed: int
) -> None:
    arguments |= {"domain": boats if small else "movie"}
    singles = [Dialogue(**arguments) for _ in range(3)]
    several = SyncVectorEnv(
        [lambda one=one: one for one in singles], autoreset_mode=AutoresetMode.NEXT_STEP
    )
    vector = DialogueVector(3, **arguments)
    rng = np.random.default_rng(seed)
    ours, theirs = vector.reset(seed=seed), several.reset(seed=seed)
    for _ in range(30):
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert vector.observation_space.contains(ours[0])
        for a, b in zip(ours[1:-1], theirs[1:-1], strict=True):
            np.testing.assert_array_equal(a, b)
        for name in ("action_mask", "success", "turns"):
            np.testing.assert_array_equal(ours[-1][name], np.stack(list(theirs[-1][name])))
        assert [vector.reasons[code] for code in ours[-1]["reason"]] == list(theirs[-1]["reason"])
        for i, one in enumerate(singles):
            message = frame_of(vector.domain, vector.states.said[i])
            heard = frame_of(vector.domain, vector.states.heard[i])
            turn = one.turns[-1]
            assert turn.user is None or (turn.user, turn.heard) == (message, heard)
        actions = rng.integers(0, len(vector.acts), 3)
        if acting == "legal":
            masks = ours[-1]["action_mask"]
            actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        elif acting == "rule":
            actions = vector.expert_action(ours[0])
            np.testing.assert_array_equal(actions, singles[0].expert_action(theirs[0]))
        ours, theirs = vector.step(actions), several.step(actions)
    vector.close()


def test_many_environments_in_threads_are_the_same_as_few() -> None:
    many, few = DialogueVector(600, slot_error=0.2), DialogueVector(2, slot_error=0.2)
    a, b = many.reset(seed=5)[0], few.reset(seed=603)[0]
    for _ in range(30):
        np.testing.assert_array_equal(a[-2:], b)
        a, b = many.step(many.expert_action(a))[0], few.step(few.expert_action(b))[0]
    many.close()
    few.close()


@pytest.mark.parametrize("arguments", [{}, {"slot_error": 0.3, "intent_error": 0.3}])
def test_gymnasium_finds_nothing_to_say(arguments: dict) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("Fathom/Dialogue-v0", **arguments).unwrapped, skip_render_check=True)


# The user


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.3]), st.booleans())
def test_the_user_never_lies_about_its_goal(
    boats: str, seed: int, error: float, small: bool
) -> None:
    env = Dialogue(boats if small else "movie", slot_error=error, intent_error=error)
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    _is_true(env.turns[0], env.goal)
    while not info["reason"]:
        before = env.goal
        legal = np.flatnonzero(info["action_mask"])
        action = (
            rng.choice(legal) if rng.random() < 0.7 else env.expert_action(observation[None])[0]
        )
        observation, *_, info = env.step(action)
        turn = env.turns[-1]
        assert turn.agent is not None
        if turn.agent.kind == "no_match" and before.first_wish is not None:
            slot = before.first_wish[0]
            assert env.goal.first_wish is None
            assert turn.user is not None
            assert turn.user.informs == {slot: before.constraints[slot]}
        else:
            assert env.goal == before
        _is_true(turn, env.goal)


def _is_true(turn: Turn, goal: Goal) -> None:
    """Whether all that the user said is so."""
    user, agent = turn.user, turn.agent
    if user is None:
        assert agent is not None
        assert agent.kind == "book"
        return
    wanted = goal.constraints | dict([goal.first_wish] if goal.first_wish else [])
    for slot, value in user.informs.items():
        assert value == wanted.get(slot, "any")
    assert user.request is None or user.request in goal.questions
    assert (user.request is not None) == (user.act == "request")
    assert user.act != "unclear"
    if user.act == "affirm":
        assert agent is not None
        assert agent.kind == "confirm"
        assert agent.value == wanted.get(str(agent.slot), "any")
    if user.act == "deny":
        assert agent is not None
        assert agent.value != wanted.get(str(agent.slot), "any")
        assert user.informs == {agent.slot: wanted.get(str(agent.slot), "any")}


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.3]), st.booleans())
def test_success_means_that_every_constraint_is_met_and_every_question_answered(
    boats: str, seed: int, error: float, small: bool
) -> None:
    env = Dialogue(boats if small else "movie", slot_error=error, intent_error=error)
    info = _play(env, seed, np.random.default_rng(seed))
    goal, last = env.goal, env.turns[-1].agent
    assert last is not None
    if last.row is None:
        assert info["reason"] == "too long"
        assert info["turns"] == 20
        return
    told: dict[str | None, str | None] = {}
    for turn in env.turns:
        if turn.agent is not None and turn.agent.kind == "inform":
            told[turn.agent.slot] = turn.agent.value
    met = all(last.row.get(slot) == value for slot, value in goal.constraints.items())
    answered = all(told.get(slot) == last.row.get(slot, "unknown") for slot in goal.questions)
    assert info["success"] == (met and answered)
    assert (info["reason"] == "success") == info["success"]


def test_a_failure_says_what_went_wrong(boats: str) -> None:
    env = Dialogue(boats, "train")
    seen = set()
    for seed in range(300):
        env.reset(seed=seed)
        *_, info = env.step(len(env.acts) - 1)  # books at once
        seen.add(info["reason"].partition(":")[0])
        if info["reason"].startswith("wrong row: "):
            slot, row = info["reason"].removeprefix("wrong row: "), env.turns[-1].agent.row  # type: ignore[union-attr]
            assert row is not None
            assert row.get(slot) != env.goal.constraints[slot]
    assert {"wrong row", "question unanswered", "misunderstood"} <= seen


def test_a_first_wish_matches_nothing_and_the_second_choice_does(boats: str) -> None:
    env = Dialogue(boats)
    wishes = 0
    for seed in range(300):
        env.reset(seed=seed)
        goal = env.goal
        known = {slot.name for slot in env.domain.slots if slot.column}
        rows = [env.domain.row(number) for number in range(len(env.domain.rows))]

        def fits(
            wanted: dict[str, str],
            rows: list[dict[str, str]] = rows,
            known: set[str] = known,
        ) -> bool:
            wanted = {slot: value for slot, value in wanted.items() if slot in known}
            return any(wanted.items() <= row.items() for row in rows)

        assert fits(goal.constraints)
        if goal.first_wish is not None:
            wishes += 1
            assert not fits(goal.constraints | dict([goal.first_wish]))
    assert 40 < wishes < 150  # change_of_mind is 0.4, where there is something to wish for


def test_the_user_says_all_it_wants_before_it_says_goodbye() -> None:
    env = Dialogue()
    tell = next(i for i, act in enumerate(env.acts) if act.kind == "inform")
    goodbyes = 0
    for seed in range(100):
        env.reset(seed=seed)
        for _ in range(19):
            env.step(tell)
            if env.state.numbers[belief.ROW] == NONE:
                break
        message: dict[str, str] = {}
        for turn in env.turns:
            assert turn.user is not None
            if turn.user.act == "bye":
                wanted = env.goal.constraints | dict(
                    [env.goal.first_wish] if env.goal.first_wish else []
                )
                assert message | wanted == message
                goodbyes += 1
                break
            message |= turn.user.informs
    assert goodbyes > 5


# Goals


@pytest.mark.parametrize("domain", ["movie", "restaurant"])
def test_goals_to_train_and_to_test_on_are_apart(domain: str) -> None:
    drawn: dict[str, set] = {}
    for split in ("train", "test"):
        env = Dialogue(domain, split)
        column = env.domain.column
        drawn[split] = set()
        for seed in range(800):
            env.reset(seed=seed)
            drawn[split].add(tuple(env.state.goal[:-2][column]))
    assert not drawn["train"] & drawn["test"]
    assert len(drawn["test"]) > 150


# The channel


def _transmitted(error: float, intent: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What users said, (n, 2 + S), what was heard of it, and the confidence, (n,)."""
    env = DialogueVector(1000, slot_error=error, intent_error=intent)
    observations, _ = env.reset(seed=0)
    parts = []
    for _ in range(15):
        spoken = env.states.numbers[:, belief.KIND] != BOOK
        state = env.states
        parts.append((state.said[spoken], state.heard[spoken], state.trust[spoken, CONFIDENCE]))
        observations = env.step(env.expert_action(observations))[0]
    env.close()
    message, heard, confidence = (np.concatenate(part) for part in zip(*parts, strict=True))
    return message, heard, confidence


@pytest.mark.parametrize(("error", "intent"), [(0.05, 0.1), (0.3, 0.2)])
def test_the_channel_makes_the_errors_that_are_asked_for(error: float, intent: float) -> None:
    message, heard, _ = _transmitted(error, intent)
    told, taken = message[:, 2:], heard[:, 2:]
    n = int((told != NONE).sum())
    lost = (told != NONE) & (taken == NONE)
    moved = (told == NONE) & (taken != NONE)
    counts = {
        "other value": int(((told != NONE) & (taken != NONE) & (told != taken)).sum()),
        "other slot": int(moved.sum()),
        "dropped": int(lost.sum() - moved.sum()),
    }
    assert n > 8000
    assert (moved.sum(axis=1) <= lost.sum(axis=1)).all()
    assert sum(counts.values()) / n == pytest.approx(error, abs=4 * (error / n) ** 0.5)
    for count in counts.values():
        assert count / n == pytest.approx(error / 3, abs=4 * (error / 3 / n) ** 0.5)
    wrong = message[:, 0] != heard[:, 0]
    assert wrong.mean() == pytest.approx(intent, abs=4 * (intent / len(message)) ** 0.5)
    for act in range(len(ACTS)):  # each other act is as likely
        others = message[:, 0] != act
        share = (wrong & (heard[:, 0] == act))[others].mean()
        assert share == pytest.approx(intent / 5, abs=4 * (intent / 5 / others.sum()) ** 0.5)
    assert ((heard[:, 0] == REQUEST) == (heard[:, 1] != NONE)).all()
    assert (heard[~wrong, 1] == message[~wrong, 1]).all()


def test_confidence_tells_right_from_wrong_but_not_surely() -> None:
    message, heard, confidence = _transmitted(0.1, 0.1)
    same = (message == heard).all(axis=1)
    right, wrong = confidence[same], confidence[~same]
    assert right.mean() == pytest.approx(6 / 7, abs=0.01)
    assert wrong.mean() == pytest.approx(2 / 3, abs=0.02)
    assert right.min() < np.median(wrong)
    assert wrong.max() > np.median(right)
    assert 0 < confidence.min() <= confidence.max() <= 1


def test_without_errors_all_is_heard_as_it_was_said() -> None:
    message, heard, confidence = _transmitted(0, 0)
    assert (message == heard).all()
    assert (confidence == 1).all()


# The belief


def _hear(env: Dialogue, frame: Frame, confidence: float) -> dict[str, np.ndarray]:
    """What the agent sees after it heard a frame, by the names of the fields."""
    env.listen(ints_of(env.domain, frame), confidence)
    seen = env.observation()[0]
    return {name: seen[place] for name, place in env.fields}


def _action(env: Dialogue, kind: str, slot: str) -> int:
    number = env.domain.index(slot)
    return next(i for i, a in enumerate(env.acts) if (a.kind, a.slot) == (kind, number))


def test_focus_tracking_by_hand(boats: str) -> None:
    env = Dialogue(boats)
    env.reset(seed=0)
    env.begin()
    kind = env.domain.index("kind")
    _hear(env, Frame("inform", None, {"kind": "sail"}), 0.6)
    seen = _hear(env, Frame("inform", None, {"kind": "canoe"}), 0.5)
    assert seen["best"][kind] == pytest.approx(0.5)  # canoe
    assert seen["second"][kind] == pytest.approx(0.3)  # 0.5 · 0.6
    assert seen["heard"][kind] == pytest.approx(2 / 3)
    env.speak(_action(env, "confirm", "kind"))
    seen = _hear(env, Frame("deny"), 0.9)
    assert seen["best"][kind] == pytest.approx(0.3)  # sail is left; canoe 0.5 · 0.1
    assert seen["second"][kind] == pytest.approx(0.05)
    message = env.speak(_action(env, "confirm", "kind"))
    assert message.value == "sail"
    seen = _hear(env, Frame("affirm"), 0.8)
    assert seen["best"][kind] == pytest.approx(0.8 + 0.2 * 0.3)
    assert seen["affirmed"][kind] == 1
    seen = _hear(env, Frame("inform", None, {"kind": "any"}), 1.0)
    assert seen["any"][kind] == 1
    assert seen["affirmed"][kind] == 0


def test_an_offer_binds_until_nothing_fits(boats: str) -> None:
    env = Dialogue(boats)
    env.reset(seed=0)
    env.begin()
    lake, price = env.domain.index("lake"), env.domain.index("price")
    _hear(env, Frame("request", "lake", {"kind": "canoe"}), 1.0)
    assert env.speak(_action(env, "inform", "lake")).value == "north"
    seen = _hear(env, Frame("bye"), 1.0)
    assert seen["told"][lake] == seen["question"][lake] == seen["offered"][lake] == 1
    assert seen["finished"] == 1
    assert list(seen["matches"]) == [0, 1, 0, 0, 0]
    seen = _hear(env, Frame("inform", None, {"colour": "blue"}), 1.0)
    assert env.domain.row(int(env.state.numbers[belief.ROW]))["lake"] == "south"
    assert seen["offered"][lake] == seen["told"][lake] == 0  # it has to be told again
    assert seen["agreed"][price] == 1
    seen = _hear(env, Frame("inform", None, {"kind": "raft"}), 1.0)
    assert list(seen["matches"]) == [1, 0, 0, 0, 0]
    colour = env.domain.index("colour")
    assert seen["blocks"][colour] == seen["blocks"][env.domain.index("kind")] == 1
    assert seen["blocks"][lake] == 0


def test_what_is_open_missing_and_doubtful_is_seen_by_slot_and_in_all(boats: str) -> None:
    env = Dialogue(boats)
    env.reset(seed=0)
    env.begin()
    kind, lake, colour, price, people = range(5)
    seen = _hear(env, Frame("request", "price", {"kind": "sail", "lake": "north"}), 0.7)
    assert list(seen["open"]) == [0, 0, 0, 1, 0]
    assert list(seen["missing"]) == [
        0,
        0,
        0,
        0,
        1,
    ]  # one row fits; only the user knows how many come
    assert seen["doubt"] == pytest.approx([0.3, 0.3, 0, 0, 0])
    assert seen["left"] == pytest.approx([1, 1, 0.3])
    env.speak(_action(env, "inform", "price"))
    seen = _hear(env, Frame("inform", None, {"people": "two", "lake": "any"}), 1.0)
    assert seen["open"][price] == seen["missing"][people] == 0
    assert seen["doubt"][lake] == 0  # "I don't care" is not doubted
    assert list(seen["left"]) == pytest.approx([0, 0, 0.3])
    env.begin()
    seen = _hear(env, Frame("request", "lake", {"people": "two"}), 1.0)
    assert seen["missing"][kind] == seen["missing"][colour] == 1  # rows differ
    assert seen["missing"][lake] == 0  # the user asks for it itself
    assert seen["missing"][price] == 0  # no goal constrains it


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_masks_and_matches_are_those_of_a_search_row_by_row(
    boats: str, seed: int, small: bool
) -> None:
    env = Dialogue(boats if small else "movie", slot_error=0.3, intent_error=0.3)
    rng = np.random.default_rng(seed)
    _, info = env.reset(seed=seed)
    bins = [0, 1, 2, 2, 2, 2, *[3] * 15]
    while not info["reason"]:
        state, domain = env.state, env.domain
        bound = {}
        for slot in np.flatnonzero(domain.column):
            best = state.values[0, slot]
            if best >= 0 and state.odds[0, slot] >= belief.BINDS:
                bound[slot] = best
            elif state.marks[slot, belief.OFFER] != NONE:
                bound[slot] = state.marks[slot, belief.OFFER]
        fitting = [
            r for r, row in enumerate(domain.rows) if all(row[s] == v for s, v in bound.items())
        ]
        seen = {name: env.observation()[0][place] for name, place in env.fields}
        assert seen["matches"].sum() == 1
        assert seen["matches"][bins[len(fitting)] if len(fitting) < 21 else 4] == 1
        for slot in range(len(domain.slots)):
            values = {int(domain.rows[r, slot]) for r in fitting}
            agreed = len(fitting) == 1 or (len(values) == 1 and values != {NONE})
            assert seen["agreed"][slot] == agreed
        if fitting:
            assert state.numbers[belief.ROW] == fitting[0]
        for act, legal in zip(env.acts, info["action_mask"], strict=True):
            expected = {
                "request": True,
                "inform": bool(fitting),
                "confirm": state.values[0, act.slot] != NONE,
                "no_match": not fitting,
                "book": bool(fitting),
            }[act.kind]
            assert legal == expected
        *_, info = env.step(rng.choice(np.flatnonzero(info["action_mask"])))


def test_frames_are_the_same_as_integers_and_as_words(boats: str) -> None:
    domain = Dialogue(boats).domain
    ints = ints_of(domain, Frame("request", "price", {"kind": "sail", "lake": "any"}))
    assert list(ints) == [ACTS.index("request"), 3, 1, ANY, NONE, NONE, NONE]
    assert frame_of(domain, ints) == Frame("request", "price", {"kind": "sail", "lake": "any"})


# Rules and rewards


def _success(rule: str, error: float, **arguments: Any) -> tuple[float, float]:
    """Success and mean reward over held-out goals."""
    env = DialogueVector(
        500, split="test", slot_error=error, intent_error=error, rule=rule, **arguments
    )
    observations, info = env.reset(seed=1)
    over = []
    rewards = 0.0
    for _ in range(42):
        actions = env.expert_action(observations, info["action_mask"].astype(bool))
        assert np.take_along_axis(info["action_mask"], actions[:, None], 1).all()
        observations, reward, terminated, _, info = env.step(actions)
        rewards += reward.sum()
        over += info["success"][terminated].tolist()
    env.close()
    return float(np.mean(over)), rewards / len(over)


def test_the_worthy_rules_succeed_and_the_weak_ones_rarely() -> None:
    assert _success("worthy", 0.0)[0] >= 0.97
    worthy, weak = _success("worthy", 0.05), _success("weak", 0.05)
    assert worthy[0] >= 0.95
    assert weak[0] < worthy[0] - 0.3
    assert weak[1] < worthy[1] - 15
    assert _success("worthy", 0.3)[0] < worthy[0] - 0.1


def test_rewards_are_those_of_the_paper() -> None:
    env = Dialogue(max_turns=9, slot_error=0.1)
    ends = set()
    for seed in range(60):
        observation, info = env.reset(seed=seed)
        rewards = []
        while not info["reason"]:
            observation, reward, *_, info = env.step(env.expert_action(observation[None])[0])
            rewards.append(reward)
        end = 4 * 9 if info["success"] else -2 * 9
        assert rewards == [-1.0] * (len(rewards) - 1) + [end - 1.0]
        assert info["turns"] == len(rewards) <= 9
        ends.add(end)
    assert ends == {36, -18}


# What makes no dialogue


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"slot_error": 1.2}, "slot_error\n  Input should be less than or equal to 1"),
        ({"intent_error": -0.1}, "intent_error\n  Input should be greater than or equal to 0"),
        ({"max_turns": 0}, "max_turns\n  Input should be greater than or equal to 1"),
        ({"split": "all"}, "split\n  Input should be 'train' or 'test'"),
        ({"rule": "good"}, "rule\n  Input should be 'worthy' or 'weak'"),
        ({"domain": "opera"}, "'opera' is no domain"),
        ({"render_mode": "human"}, "there is no render mode 'human'"),
    ],
)
def test_what_makes_no_dialogue_is_said(arguments: dict, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Dialogue(**arguments)


def test_a_domain_without_goals_to_test_on_is_said(tmp_path: Path) -> None:
    only = SMALL.replace("change_of_mind: 0.4\n", "goals:\n  - {constraints: {kind: canoe}}\n")
    (tmp_path / "one.yaml").write_text(only)

    def both() -> None:
        for split in ("train", "test"):
            Dialogue(str(tmp_path / "one.yaml"), split)

    with pytest.raises(ValueError, match=r"has no goals to (train|test) on.* add goals"):
        both()
