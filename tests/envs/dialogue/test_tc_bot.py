"""The paper's movie-ticket world: its user, its channel with and without its faults, its published figures.

Most tests play in a made-up cinema town of five showings; those with the real data are skipped without it.
"""

import json
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import envs
from envs.dialogue.domain import DomainError
from envs.dialogue.tc_bot import ACTIONS, FIELDS, MAX_TURN, TCBot, TCBotConfig
from envs.dialogue.tc_bot_data import ANY, NO_MATCH, SLOTS, load_movie_data
from envs.dialogue.tc_bot_vector import TCBotVector

assert envs  # registers the ids

ROWS = [
    {"moviename": "solaris", "city": "Prague", "date": "today", "starttime": "7pm", "theater": "ponrepo"},
    {"moviename": "solaris", "city": "Prague", "date": "today", "starttime": "9pm", "theater": "ponrepo"},
    {"moviename": "solaris", "city": "Brno", "date": "today", "starttime": "9pm", "theater": "scala"},
    {"moviename": "daisies", "city": "Brno", "date": "friday", "starttime": "5pm", "theater": "scala"},
    {"moviename": "daisies", "city": "Brno", "date": "friday", "starttime": "5pm", "genre": "comedy"},
]  # fmt: skip
WORDS = {"city": ["Prague", "Brno", "Plzen"], "date": ["today", "friday"], "other": ["popcorn"]}
GOALS = [
    {"inform_slots": {"moviename": "solaris", "city": "prague", "numberofpeople": "2"},
     "request_slots": {"starttime": "UNK", "theater": "UNK"}},
    {"inform_slots": {"moviename": "solaris", "city": "Brno", "date": "today", "starttime": "9pm",
                      "theater": "scala", "numberofpeople": "3"}, "request_slots": {}},
    {"inform_slots": {"moviename": "daisies", "numberofpeople": "1"}, "request_slots": {"date": "UNK"}},
    {"inform_slots": {"moviename": "alphaville", "numberofpeople": "1"}, "request_slots": {}},
    {"inform_slots": {"moviename": "daisies", "numberofpeople": "2"}, "request_slots": {"date": "UNK"}},
    {"inform_slots": {"city": "Brno", "numberofpeople": "2"}, "request_slots": {"moviename": "UNK"}},
]  # fmt: skip
SOLARIS_IN_PRAGUE, SOLARIS_IN_BRNO, _, ALPHAVILLE = range(4)


def _write(folder: Path, rows: Any = ROWS, words: Any = WORDS, goals: Any = GOALS) -> str:
    """The files as Python 2 wrote them."""
    numbered = ", ".join(f"{i}L: {row!r}" for i, row in enumerate(rows))
    (folder / "movie_db.txt").write_text(numbered + "}\n")
    (folder / "movie_dict.txt").write_text(repr(words))
    (folder / "movie_user_goals.txt").write_text("".join(f"{goal!r}\n" for goal in goals))
    return str(folder)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _write(tmp_path_factory.mktemp("town"))


@pytest.fixture
def real() -> str:
    folder = Path(os.environ.get("FATHOM_DATA", "/nowhere")) / "movie-dialogue"
    if not (folder / "movie_db.txt").is_file():
        pytest.skip("the movie data is not under FATHOM_DATA")
    return str(folder)


def _with_goal(data: str, goal: int, **arguments: Any) -> TCBot:
    """A dialogue with the user who has this goal."""
    env = TCBot(data, **arguments)
    env._goals = [goal]
    env.reset(seed=0)
    return env


def _say(env: TCBot, act: str, slot: str | None = None) -> Any:
    """Say it; the user's words as heard, or success where the dialogue is over."""
    *_, terminated, _, info = env.step(ACTIONS.index((act, slot)))
    return info["success"] if terminated else env.utterances[-1]


def _play_by_rule(env: TCBotVector, dialogues: int) -> tuple[float, float]:
    """Success and turns of the rule agent."""
    observations, _ = env.reset(seed=1)
    successes, turns = [], []
    while len(successes) < dialogues:
        observations, _, over, _, info = env.step(env.expert_action(observations, None))
        successes += info["success"][over].tolist()
        turns += info["turns"][over].tolist()
    return float(np.mean(successes)), float(np.mean(turns))


# The user


def test_a_user_opens_with_its_film_another_wish_and_a_question(town: str) -> None:
    env = TCBot(town)
    for seed in range(20):
        env.reset(seed=seed)
        (opening,) = env.utterances
        wishes = env.user.goal.constraints
        assert opening.act == "request"
        assert opening.informs.items() <= wishes.items()
        assert 1 <= len(opening.informs) <= 2
        assert "moviename" in opening.informs or "moviename" not in wishes
        assert opening.requests in {(slot,) for slot in env.user.goal.questions or ("ticket",)}


def test_a_user_tells_its_wishes_repeats_its_questions_and_does_not_mind_the_rest(
    town: str,
) -> None:
    env = _with_goal(town, SOLARIS_IN_PRAGUE)
    assert _say(env, "request", "numberofpeople").informs == {"numberofpeople": "2"}
    heard = _say(env, "request", "starttime")
    assert (heard.act, "starttime" in heard.requests) == ("request", True)
    assert heard.informs.items() <= {"city": "prague"}.items()
    assert _say(env, "request", "genre").informs == {"genre": ANY}


def test_every_wish_met_and_every_question_answered_is_a_success(town: str) -> None:
    env = _with_goal(town, SOLARIS_IN_PRAGUE)
    for slot in ("city", "numberofpeople"):
        _say(env, "request", slot)
    _say(env, "inform", "starttime")
    _say(env, "inform", "theater")
    assert _say(env, "inform", "taskcomplete").act == "thanks"
    assert _say(env, "thanks") is True


@pytest.mark.parametrize("left_out", ["starttime", "theater", "taskcomplete"])
def test_a_question_unanswered_or_nothing_booked_is_a_failure(town: str, left_out: str) -> None:
    env = _with_goal(town, SOLARIS_IN_PRAGUE)
    for slot in ("city", "numberofpeople"):
        _say(env, "request", slot)
    for slot in ("starttime", "theater", "taskcomplete"):
        if slot != left_out:
            _say(env, "inform", slot)
    assert _say(env, "thanks") is False


def test_a_booking_before_every_wish_is_known_is_denied(town: str) -> None:
    env = _with_goal(town, SOLARIS_IN_BRNO)
    _say(env, "request", "city")
    assert _say(env, "inform", "taskcomplete").act == "deny"
    assert _say(env, "thanks") is False


def test_a_wish_is_answered_by_its_spelling(town: str) -> None:
    """ "Prague" fits a wish for "prague" in the knowledge base, but is denied as an answer."""
    env = _with_goal(town, SOLARIS_IN_PRAGUE)
    env.known = {"moviename": "solaris", "city": "prague"}
    assert _say(env, "inform", "city").informs == {"city": "prague"}
    assert env.user.history["city"] == "Prague"


def test_nothing_that_fits_is_a_failure(town: str) -> None:
    env = _with_goal(town, ALPHAVILLE)
    _say(env, "request", "numberofpeople")
    _say(env, "inform", "taskcomplete")
    assert env.known["taskcomplete"] == NO_MATCH
    assert _say(env, "thanks") is False


def test_an_answer_is_the_commonest_value_of_the_showings_that_fit(town: str) -> None:
    env = _with_goal(town, ALPHAVILLE)
    env.known = {"moviename": "SOLARIS"}
    assert env._speak("inform", "city").informs == {"city": "Prague"}
    assert env._speak("inform", "starttime").informs == {"starttime": "9pm"}
    assert env._speak("inform", "price").informs == {"price": NO_MATCH}
    env.known = {"moviename": ANY, "genre": "comedy", "numberofpeople": "7"}
    assert env._speak("inform", "moviename").informs == {"moviename": "daisies"}


def test_the_twenty_first_exchange_fails(town: str) -> None:
    env = _with_goal(town, SOLARIS_IN_PRAGUE)
    for _ in range(MAX_TURN // 2):
        *_, terminated, truncated, info = env.step(ACTIONS.index(("deny", None)))
        assert not terminated
    _, reward, terminated, truncated, info = env.step(ACTIONS.index(("deny", None)))
    assert (reward, terminated, truncated) == (-40.0, True, False)
    assert info == {"success": False, "turns": 42}


def test_rewards_are_the_papers(town: str) -> None:
    env = _with_goal(town, SOLARIS_IN_BRNO)
    rewards = []
    terminated = False
    observation = env._observation()
    while not terminated:
        action = env.expert_action(observation[None], None)[0]
        observation, reward, terminated, _, info = env.step(action)
        rewards.append(reward)
    assert rewards == [-1.0] * 7 + [80.0]
    assert info == {"success": True, "turns": 16}


# What the agent sees


def test_an_observation_is_the_papers_state(town: str) -> None:
    env = _with_goal(town, SOLARIS_IN_PRAGUE)
    _say(env, "request", "numberofpeople")
    observation, *_ = env.step(ACTIONS.index(("inform", "theater")))
    part = {name: observation[where] for name, where in FIELDS.items()}
    known = {SLOTS[i] for i in np.flatnonzero(part["known"])}
    assert len(observation) == 272
    assert {"moviename", "numberofpeople", "theater"} <= known
    assert np.flatnonzero(part["agent informs"]).tolist() == [SLOTS.index("theater")]
    assert not part["agent requests"].any()
    assert np.isclose(part["turn"], 0.5).all()
    assert part["turn one-hot"].argmax() == 5
    counts = part["how many fit"] * 100
    assert np.isclose(counts[SLOTS.index("moviename")], 3)
    # No showing has a number of people, so that nothing fits everything known.
    assert counts[SLOTS.index("numberofpeople")] == counts[-1] == 0
    np.testing.assert_array_equal(part["any fit"], counts > 0)


# The channel


@pytest.mark.parametrize("kind", ["value", "slot", "drop", "mixed"])
def test_a_channel_without_errors_changes_nothing(town: str, kind: str) -> None:
    quiet, noisy = TCBot(town), TCBot(town, slot_error_kind=kind, errors="corrected")
    for seed in range(5):
        quiet.reset(seed=seed)
        noisy.reset(seed=seed)
        for slot in ("city", "date", "starttime"):
            assert _say(quiet, "request", slot) == _say(noisy, "request", slot)


def test_a_misheard_wish_reaches_the_papers_users_own_memory_and_not_the_corrected_ones(
    town: str,
) -> None:
    remembered = {"paper": set(), "corrected": set()}
    for errors, values in remembered.items():
        env = _with_goal(town, SOLARIS_IN_BRNO, slot_error=1.0, errors=errors)
        for seed in range(20):
            env.reset(seed=seed)
            _say(env, "request", "city")
            _say(env, "request", "date")
            values.add(env.user.history["city"])
    assert remembered == {"paper": {"Prague", "Brno", "Plzen"}, "corrected": {"Brno"}}


def test_a_replaced_slot_is_lost_in_the_paper_and_arrives_corrected(town: str) -> None:
    heard = {"paper": set(), "corrected": set()}
    for errors, slots in heard.items():
        env = _with_goal(
            town, SOLARIS_IN_BRNO, slot_error=1.0, slot_error_kind="slot", errors=errors
        )
        for seed in range(30):
            env.reset(seed=seed)
            slots |= set(_say(env, "request", "starttime").informs)
    assert heard == {"paper": set(), "corrected": set(WORDS)}


@pytest.mark.parametrize("errors", ["paper", "corrected"])
def test_errors_come_as_often_as_asked_for(town: str, errors: str) -> None:
    env = _with_goal(
        town, SOLARIS_IN_BRNO, slot_error=0.2, slot_error_kind="drop", intent_error=0.3,
        errors=errors,
    )  # fmt: skip
    dropped = wrong = 0
    for seed in range(2000):
        env.reset(seed=seed)
        heard = _say(env, "request", "starttime")
        dropped += not heard.informs
        wrong += heard.act != "inform"
    assert abs(dropped / 2000 - 0.2) < 0.04
    # One of eleven acts drawn is the right one.
    assert abs(wrong / 2000 - 0.3 * 10 / 11) < 0.04


# Goals


def test_held_out_goals_are_other_goals(town: str) -> None:
    data = load_movie_data(town)
    parts = {
        split: {
            str(data.goals[i])
            for i in TCBotConfig(town, goals="held_out", split=split).goals_of(data)
        }
        for split in ("train", "test")
    }
    assert not parts["train"] & parts["test"]
    assert parts["train"] | parts["test"] == {str(goal) for goal in data.goals}
    assert TCBotConfig(town, split="test").goals_of(data) == list(range(len(GOALS)))


# The compiled world


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.fixed_dictionaries(
        {
            "slot_error": st.sampled_from([0.0, 0.3, 1.0]),
            "slot_error_kind": st.sampled_from(["value", "slot", "drop", "mixed"]),
            "intent_error": st.sampled_from([0.0, 0.5]),
            "errors": st.sampled_from(["paper", "corrected"]),
            "goals": st.sampled_from(["all", "held_out"]),
            "split": st.sampled_from(["train", "test"]),
        }
    ),
    st.integers(0, 2**31),
)
def test_the_vector_environment_is_the_single_one_word_for_word(
    town: str, arguments: dict[str, Any], seed: int
) -> None:
    _same(town, arguments, seed, 50)


def test_and_so_it_is_with_the_real_data(real: str) -> None:
    _same(real, {"slot_error": 0.2, "slot_error_kind": "mixed", "errors": "corrected"}, 1, 120)
    _same(real, {}, 2, 120)


def _same(data: str, arguments: dict[str, Any], seed: int, steps: int) -> None:
    n = 4
    vector = TCBotVector(n, data, **arguments)
    single = SyncVectorEnv(
        [lambda: TCBot(data, **arguments)] * n, autoreset_mode=AutoresetMode.NEXT_STEP
    )
    rng = np.random.default_rng(seed)
    ours, theirs = vector.reset(seed=seed), single.reset(seed=seed)
    for _ in range(steps):
        for a, b in zip(ours[:-1], theirs[:-1], strict=True):
            np.testing.assert_array_equal(a, b)
        for name in ("success", "turns"):
            np.testing.assert_array_equal(ours[-1][name], theirs[-1][name])
        # Mostly by rule, so that some dialogues succeed.
        anything = rng.integers(0, len(ACTIONS), n)
        actions = np.where(rng.random(n) < 0.3, anything, vector.expert_action(ours[0], None))
        ours, theirs = vector.step(actions), single.step(actions)


def test_gymnasium_finds_nothing_to_complain_about(town: str) -> None:
    check_env(gym.make("Fathom/TCBot-v0", data=town).unwrapped, skip_render_check=True)
    env = gym.make_vec("Fathom/TCBot-v0", 3, vectorization_mode="vector_entry_point", data=town)
    assert isinstance(env.unwrapped, TCBotVector)
    assert env.reset(seed=1)[0].shape == (3, 272)


# The published figures


@pytest.mark.parametrize(
    ("error", "published"), [(0.0, 0.40), (0.05, 0.31), (0.1, 0.24), (0.2, 0.10)]
)
def test_the_rule_agent_is_as_weak_as_in_the_paper(
    real: str, error: float, published: float
) -> None:
    env = TCBotVector(64, real, slot_error=error, intent_error=error)
    success, turns = _play_by_rule(env, 4000)
    assert abs(success - published) < 0.035
    assert turns == 16


# The files


def test_the_files_of_tc_bot_itself_make_the_same_world(town: str, tmp_path: Path) -> None:
    rows = {str(i): row for i, row in enumerate(ROWS)}
    (tmp_path / "movie_kb.1k.json").write_text(json.dumps(rows))
    (tmp_path / "dicts.v3.json").write_text(json.dumps(WORDS))
    goals = "user_goals_first_turn_template.part.movie.v1.json"
    (tmp_path / goals).write_text(json.dumps(GOALS))
    ours, theirs = load_movie_data(str(tmp_path)), load_movie_data(town)
    assert (ours.rows, ours.goals, ours.values) == (theirs.rows, theirs.goals, theirs.values)
    np.testing.assert_array_equal(ours.matches, theirs.matches)


def test_without_data_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FATHOM_DATA", raising=False)
    with pytest.raises(DomainError, match=r"give its folder as the argument data .* FATHOM_DATA"):
        TCBot()
    monkeypatch.setenv("FATHOM_DATA", str(tmp_path))
    with pytest.raises(DomainError, match=r"movie-dialogue has neither movie_kb.*movie_db"):
        TCBotVector(2)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"rows": []}, "the knowledge base must have 1 to 10,000 rows, not 0"),
        ({"rows": [{"colour": "red"}]}, "row 0 has 'colour', which is no slot of TC-Bot"),
        ({"rows": [{"city": 7}]}, "row 0 has 7 for 'city', where a text should be"),
        ({"words": {}}, "the list of values has none"),
        ({"words": {"city": "Prague"}}, "the values of 'city' must be a list"),
        ({"goals": []}, "the goals must be a list of at least one goal"),
        ({"goals": [{"inform_slots": {}}]}, "request_slots of goal 0 must be a dictionary"),
        (
            {"goals": [{"inform_slots": {"city": "Brno"}, "request_slots": {"city": "UNK"}}]},
            "goal 0 both demands and asks 'city'",
        ),
        ({"words": {"city": [ANY]}}, "which means something else"),
    ],
)
def test_wrong_data_gets_one_sentence(tmp_path: Path, parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DomainError, match=sentence):
        TCBot(_write(tmp_path, **parts))


@pytest.mark.parametrize(
    "text",
    ["{'city': __import__('os').getcwd()}", "{" * 100_000, "{'city': ", "", "\0", "{1: 2, **3}"],
)
def test_the_files_are_never_run(tmp_path: Path, text: str) -> None:
    folder = _write(tmp_path)
    (tmp_path / "movie_dict.txt").write_text(text)
    with pytest.raises(DomainError, match=r"movie_dict\.txt|dictionary"):
        load_movie_data(folder)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"slot_error": 1.5}, "slot_error\n  Input should be less than or equal to 1"),
        (
            {"slot_error_kind": "noise"},
            "slot_error_kind\n  Input should be 'value', 'slot', 'drop' or 'mixed'",
        ),
        ({"errors": "none"}, "errors\n  Input should be 'paper' or 'corrected'"),
        ({"render_mode": "human"}, "there is no render mode 'human'"),
    ],
)
def test_wrong_arguments_get_one_sentence(
    town: str, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        TCBot(town, **arguments)
