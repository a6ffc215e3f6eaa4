"""Dialogues for people: pictures, transcripts, and users who speak in words."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from envs.dialogue import text
from envs.dialogue.belief import fields
from envs.dialogue.dialogue import Dialogue
from envs.dialogue.domain import Domain
from envs.dialogue.frames import ACTS, AgentFrame, Frame
from envs.dialogue.goals import Goal
from envs.dialogue.phrases import Sentence, tag_labels, understood, user_sentence
from envs.dialogue.rendering import HEIGHT, WIDTH, Scene, picture
from envs.dialogue.transcript import Message, SlotBelief, text_of
from envs.dialogue.vector import DialogueVector
from perception.data.sentences import load

BOATS = """
task: book a boat
slots:
  kind: {constraint: 0.7, question: 0.5}
  lake: {constraint: 0.7, question: 0.5}
  price: {constraint: 0, question: 0.6}
  people: {column: false, values: [one, two, three]}
rows:
  - {kind: canoe, lake: north, price: 5 euros}
  - {kind: sail, lake: north, price: 9 euros}
  - {kind: raft, lake: west, price: 2 euros}
"""


@pytest.fixture(scope="module")
def boats(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("domains") / "boats.yaml"
    path.write_text(BOATS)
    return str(path)


class Oracle:
    """Understands every sentence that was made, or nothing of it; each with a confidence of its own."""

    def __init__(self, domain: Domain, right: bool = True) -> None:
        self.tags, self.intents = list(tag_labels(domain)), list(ACTS)
        self.right = right
        self.said: dict[tuple[str, ...], Sentence] = {}
        self.folder = Path("oracle")

    def model(self) -> "Oracle":
        """It is the run and its model at once."""
        return self

    def command(self, name: str) -> list[str]:
        raise NotImplementedError

    def listens_to(self, domain: Domain, frame: Frame, rng: np.random.Generator) -> Sentence:
        sentence = user_sentence(domain, frame, rng)
        self.said[sentence.tokens] = sentence
        return sentence

    def understand_all(
        self, sentences: Sequence[Sequence[str]]
    ) -> list[tuple[list[str], str, float]]:
        result = []
        for tokens in sentences:
            sentence = self.said[tuple(tokens)]
            tags = list(sentence.tags) if self.right else ["O"] * len(tokens)
            result.append((tags, sentence.intent, 1 - len(tokens) / 100))
        return result


@pytest.fixture
def oracle(boats: str, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    oracle = Oracle(Dialogue(boats).domain)
    monkeypatch.setattr(text, "user_sentence", oracle.listens_to)
    return oracle


def _play(env: Dialogue, seed: int) -> str:
    observation, info = env.reset(seed=seed)
    while not info["reason"]:
        observation, *_, info = env.step(env.expert_action(observation[None])[0])
    return info["reason"]


# Words


def test_who_understands_every_word_hears_what_was_said(boats: str, oracle: Oracle) -> None:
    env = Dialogue(boats, language="text", understanding=oracle)
    for seed in range(20):
        assert _play(env, seed) == "success"
        for turn in env.turns[:-1]:
            assert turn.sentence is not None
            assert turn.heard == turn.user
            assert turn.confidence == 1 - len(turn.sentence.tokens) / 100


def test_what_is_not_understood_is_not_heard(boats: str, oracle: Oracle) -> None:
    oracle.right = False
    env = Dialogue(boats, language="text", understanding=oracle)
    assert _play(env, 0) != "success"
    assert all(turn.heard is None or not turn.heard.informs for turn in env.turns)
    assert any(turn.user is not None and turn.user.informs for turn in env.turns)


def test_the_channel_s_errors_come_on_top(boats: str, oracle: Oracle) -> None:
    env = Dialogue(boats, slot_error=0.3, language="text", understanding=oracle)
    heard = message = 0
    for seed in range(60):
        _play(env, seed)
        for turn in env.turns:
            if turn.user is not None and turn.heard is not None:
                message += len(turn.user.informs)
                heard += len(turn.user.informs.items() & turn.heard.informs.items())
                assert turn.sentence is not None
                assert understood(env.domain, *_fields(turn.sentence)) == turn.user
                assert turn.confidence <= 1 - len(turn.sentence.tokens) / 100
    assert message > 200
    assert heard / message == pytest.approx(0.7, abs=0.1)


def _fields(sentence: Sentence) -> tuple[Sequence[str], Sequence[str], str]:
    return sentence.tokens, sentence.tags, sentence.intent


def test_many_dialogues_in_words_are_single_ones(boats: str, oracle: Oracle) -> None:
    arguments = {
        "domain": boats, "slot_error": 0.2, "intent_error": 0.2, "language": "text",
        "understanding": oracle,
    }  # fmt: skip
    vector = DialogueVector(3, **arguments)
    singles = [Dialogue(**arguments) for _ in range(3)]
    seen, _ = vector.reset(seed=7)
    own = [one.reset(seed=7 + i)[0] for i, one in enumerate(singles)]
    over = np.zeros(3, bool)
    for _ in range(60):
        np.testing.assert_array_equal(seen, np.stack(own))
        actions = vector.expert_action(seen)
        seen, rewards, ended, _, _ = vector.step(actions)
        for i, one in enumerate(singles):
            if over[i]:
                own[i], _ = one.reset()
            else:
                own[i], reward, over_now, _, _ = one.step(actions[i])
                assert (reward, over_now) == (rewards[i], ended[i])
        over = ended


def test_words_need_an_understanding_of_this_domain(boats: str, oracle: Oracle) -> None:
    with pytest.raises(ValueError, match="needs an understanding"):
        Dialogue(boats, language="text")
    with pytest.raises(ValueError, match=r"not fitted to the domain movie: it finds \w+, which"):
        DialogueVector(2, "movie", language="text", understanding=oracle)
    with pytest.raises(ValueError, match="language\n  Input should be 'frames' or 'text'"):
        Dialogue(boats, language="french")


# Transcripts


def test_a_transcript_can_be_read_and_learnt_from(tmp_path: Path) -> None:
    env = Dialogue(slot_error=0.3, intent_error=0.1)
    domain, misheard = env.domain, 0
    for seed in range(10):
        reason = _play(env, seed)
        texts = env.transcript()
        lines = [json.loads(line) for line in texts[".jsonl"].splitlines()]
        assert [lines[0]["line"], lines[-1]["line"]] == ["goal", "end"]
        assert lines[0]["constraints"] == env.brief.constraints
        assert (lines[-1]["reason"], lines[-1]["success"]) == (reason, reason == "success")
        users = [line for line in lines if line["line"] == "user"]
        turns = [turn for turn in env.turns if turn.user is not None]
        for line, turn in zip(users, turns, strict=True):
            assert understood(domain, line["tokens"], line["tags"], line["intent"]) == turn.user
            misheard += turn.user != turn.heard
        agents = [line for line in lines if line["line"] == "agent"]
        assert len(agents) == lines[-1]["turns"] == len(env.turns) - 1
        assert reason in texts[".txt"]
        assert all(f"agent  {line['text']}\n" in texts[".txt"] for line in agents)
        (tmp_path / f"{seed}.jsonl").write_text(texts[".jsonl"])
    assert misheard > 5
    train, test = load(tmp_path)
    assert len(train) > len(test) > 0
    assert not {tuple(one.tokens) for one in train} & {tuple(one.tokens) for one in test}
    assert load(tmp_path / "3.jsonl")[0]


def test_tokens_are_written_as_people_write() -> None:
    assert text_of(["yes", ",", "7:30", "pm", "please", "?"]) == "Yes, 7:30 pm please?"
    assert text_of([]) == ""


# Pictures


@pytest.mark.parametrize("domain", ["movie", "restaurant", "taxi", "hotel"])
def test_the_belief_fills_up_in_the_picture(domain: str) -> None:
    env = Dialogue(domain, slot_error=0.2, render_mode="rgb_array")
    observation, info = env.reset(seed=1)
    pictures = [env.render()]
    while not info["reason"]:
        observation, *_, info = env.step(env.expert_action(observation[None])[0])
    pictures.append(env.render())
    for drawn in pictures:
        assert (drawn.shape, drawn.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    best = dict(fields(len(env.domain.slots)))["best"]
    assert observation[best].sum() > 0
    bars = [_share(drawn[:, 700:], (64, 150, 104)) for drawn in pictures]
    assert bars[0] < bars[1]
    verdict = (44, 138, 84) if info["success"] else (196, 62, 52)
    assert _share(pictures[1], verdict) > 0.02 > _share(pictures[0], verdict)


def _share(drawn: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(drawn.astype(int) - colour).max(axis=2) < 6).mean())


def test_a_picture_has_room_for_whatever_is_said() -> None:
    beliefs = [
        SlotBelief(
            f"slot_with_a_long_name_{n}", "a value " * 20, n / 30, "w" * 99, 0.2, True, True, None
        )
        for n in range(30)
    ]
    message = [
        Message("word " * 200),
        Message("w" * 500, AgentFrame("no_match")),
        Message("\u200b我 \x00"),
    ] * 9
    goal = Goal({f"s{n}": "value " * 9 for n in range(30)}, ("s1",), None)
    drawn = picture(
        Scene("task " * 9, goal, message, beliefs, 0, 1, 100, 100, "wrong row: " + "s" * 80)
    )
    assert drawn.shape == (HEIGHT, WIDTH, 3)
    little = Scene("", Goal({}, (), None), [], beliefs[:1], 0, 1, 0, 1, "")
    assert picture(little).shape == drawn.shape


def test_the_text_is_the_transcript(boats: str) -> None:
    env = Dialogue(boats, render_mode="ansi")
    reason = _play(env, 2)
    assert env.render() == env.transcript()[".txt"]
    assert env.render().splitlines()[-1] == f"end    {reason}"
    with pytest.raises(ValueError, match="no render mode 'human'"):
        Dialogue(boats, render_mode="human")
    with pytest.raises(ValueError, match="nothing can be rendered"):
        Dialogue(boats).render()
