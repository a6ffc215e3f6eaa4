"""A person talks to a dialogue agent: what lines mean, what the card decides, what bad input gets."""

import dataclasses
import io
import itertools
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from envs.dialogue.dialogue import Dialogue
from envs.dialogue.frames import AgentFrame, Frame
from fathom.cli import main
from fathom.errors import FathomError
from fathom.play import dialogue_session, understanding
from fathom.play.dialogue_session import LEFT, PATIENCE, DialogueSession
from fathom.play.dialogue_terminal import DialogueTerminal
from fathom.play.listening import Listener
from fathom.play.transcripts import new_transcript
from fathom.play.understanding import understanding_for
from fathom.runs.run import Run
from perception.data.sentences import load
from perception.networks.slot_filling import IntentSlotModel

BOATS = """
task: book a boat
slots:
  kind: {constraint: 0.7, question: 0.5}
  lake: {constraint: 0.7, question: 0.5}
  start: {constraint: 0.5, question: 0.5}
  price: {constraint: 0, question: 0.6}
  people: {column: false, values: [1, 2, 3]}
rows:
  - {kind: canoe, lake: Windermere, start: "9:30", price: 5 euros}
  - {kind: canoe, lake: Loch Ness, start: "14:00", price: 6 euros}
  - {kind: sailing boat, lake: Windermere, start: "14:00", price: 9 euros}
  - {kind: sailing boat, lake: Loch Ness, start: "9:30", price: 8 euros}
  - {kind: raft, lake: Loch Ness, start: "9:30", price: 2 euros}
phrases:
  user:
    request: {price: ["what does it cost?"]}
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder; fits in it are short."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(understanding, "SENTENCES", 1000)
        patch.setattr(understanding, "CONFIG", dataclasses.replace(understanding.CONFIG, epochs=4))
        yield folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of the scripted agent, `boats`."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "boats.yaml").write_text(BOATS)
    words = (
        "train scripted Fathom/Dialogue-v0 --steps 64 --segment-steps 64 --evaluation-episodes 2"
    )
    given = ["--env.domain", str(folder / "boats.yaml"), "--threads", "1"]
    assert main([*words.split(), *given, "--name", "boats", "--runs-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def reader(runs: Path, cache: Path) -> IntentSlotModel:
    return understanding_for(str(runs / "boats.yaml"))


def _kept(cache: Path) -> list[Path]:
    return sorted((cache / "fathom" / "understanding").iterdir())


@pytest.fixture(scope="module")
def env(runs: Path) -> Dialogue:
    return Dialogue(str(runs / "boats.yaml"), split="test")


@pytest.fixture(scope="module")
def listener(env: Dialogue, reader: IntentSlotModel) -> Listener:
    return Listener(env.domain, reader)


def _chat(
    env: Dialogue, listener: Listener, say: Callable[[Any], str], seed: int = 0
) -> DialogueTerminal:
    """A chat with the scripted agent; `say` returns the person's next line, and may look at the session."""
    agent: Any = SimpleNamespace(act=lambda seen, masks, starts, rng: env.expert_action(seen))
    console = Console(file=io.StringIO(), width=100, highlight=False, soft_wrap=True)
    session = DialogueSession(agent, env, listener, seed)
    return DialogueTerminal(session, console, lambda: say(session))


def _lines(*lines: str) -> Callable[[Any], str]:
    rest = iter(lines)

    def say(_: Any) -> str:
        try:
            return next(rest)
        except StopIteration:
            raise EOFError from None

    return say


def _shown(made: DialogueTerminal) -> str:
    return made.console.file.getvalue()  # type: ignore[attr-defined]


def _as_the_card_says(session: DialogueSession) -> str:
    """What somebody who keeps to the card answers."""
    goal, last = session.goal, session.last
    open_questions = [
        slot
        for slot in goal.questions
        if not any(
            one.agent and one.agent.kind == "inform" and one.agent.slot == slot
            for one in session.messages
        )
    ]
    if session.booking:
        return "yes"
    if last is None:
        return "hello"
    if last.slot in open_questions:
        return f"what is the {last.slot}?"
    if last.kind == "request":
        return goal.constraints.get(last.slot or "", "I don't care")
    if last.kind == "confirm":
        return "yes" if goal.constraints.get(last.slot or "", "any") == last.value else "no"
    return f"what is the {open_questions[0]}?" if open_questions else "that's all, thanks"


# What lines mean

_ASKS_PEOPLE, _ASKS_LAKE = AgentFrame("request", "people"), AgentFrame("request", "lake")
_SAYS_NESS = AgentFrame("confirm", "lake", "Loch Ness")
_TELLS_PRICE = AgentFrame("inform", "price", "5 euros")


@pytest.mark.parametrize(
    ("line", "last", "meant"),
    [
        ("2", _ASKS_PEOPLE, Frame("inform", None, {"people": "2"})),
        ("Two", _ASKS_PEOPLE, Frame("inform", None, {"people": "2"})),
        ("loch ness please", _ASKS_LAKE, Frame("inform", None, {"lake": "Loch Ness"})),
        ("windermeer", _ASKS_LAKE, Frame("inform", None, {"lake": "Windermere"})),
        ("LOCH   NESS!!", None, Frame("inform", None, {"lake": "Loch Ness"})),
        ("I don't care", _ASKS_LAKE, Frame("inform", None, {"lake": "any"})),
        ("no preference", _ASKS_LAKE, Frame("inform", None, {"lake": "any"})),
        ("any", _ASKS_LAKE, Frame("inform", None, {"lake": "any"})),
        ("no", _ASKS_LAKE, Frame("inform", None, {"lake": "any"})),
        ("yes", _SAYS_NESS, Frame("affirm")),
        ("Yes, Loch Ness", _SAYS_NESS, Frame("affirm")),
        ("no", _SAYS_NESS, Frame("deny")),
        ("No, Windermere", _SAYS_NESS, Frame("deny", None, {"lake": "Windermere"})),
        ("it doesn't matter", _SAYS_NESS, Frame("deny", None, {"lake": "any"})),
        ("Loch Ness, no, Windermere", _ASKS_LAKE, Frame("inform", None, {"lake": "Windermere"})),
        ("what is the price?", None, Frame("request", "price")),
        ("What does it cost", _TELLS_PRICE, Frame("request", "price")),
        ("ok", _TELLS_PRICE, Frame("bye")),
        ("thanks, that's all", _TELLS_PRICE, Frame("bye")),
        ("hello", None, Frame("inform")),
    ],
)
def test_a_line_is_an_answer_to_what_was_said_last(
    listener: Listener, line: str, last: AgentFrame | None, meant: Frame
) -> None:
    heard = listener.hear(line, last)
    assert heard is not None
    assert heard.frame == meant
    assert 0 < heard.confidence < 1
    assert len(heard.sentence.tokens) == len(heard.sentence.tags)


@pytest.mark.parametrize(
    ("line", "last"),
    [
        ("", None),
        ("   \t ", _ASKS_LAKE),
        ("...?!", _ASKS_LAKE),
        ("\x00\x1b[31m\x07", None),
        ("\udcff\ud800", _ASKS_LAKE),
        ("a" * 10_000, _ASKS_LAKE),
        ("我想租一条船", None),
        ("Je voudrais louer quelque chose pour demain", None),
        ("qwzx vbnm", _ASKS_LAKE),
        ("4", _ASKS_PEOPLE),
        ("9:45", AgentFrame("request", "start")),
        ("I don't care", _ASKS_PEOPLE),
        ("any", None),
        ("yes", _ASKS_LAKE),
    ],
)
def test_what_makes_no_sense_is_not_taken_for_anything(
    listener: Listener, line: str, last: AgentFrame | None
) -> None:
    assert listener.hear(line, last) is None


def test_a_misspelt_value_is_less_sure(listener: Listener) -> None:
    right, wrong = listener.hear("Windermere", _ASKS_LAKE), listener.hear("windermeer", _ASKS_LAKE)
    assert right is not None
    assert wrong is not None
    assert right.confidence > 0.95 > wrong.confidence


# The card decides


def test_who_keeps_to_the_card_succeeds_and_the_transcript_can_be_learnt_from(
    env: Dialogue, listener: Listener, tmp_path: Path
) -> None:
    for seed in range(8):
        made = _chat(env, listener, _as_the_card_says, seed)
        assert made.run() == "success", _shown(made)
        assert "Success: that is what your card asks for." in _shown(made)
        path = tmp_path / f"{seed}.jsonl"
        made.session.save(path)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines[0]["constraints"] == made.session.goal.constraints
        assert (lines[-1]["success"], lines[-1]["turns"]) == (True, env.state.numbers[0])
        assert made.session.messages[0].text in path.with_suffix(".txt").read_text()
    train, test = load(tmp_path)
    assert {"inform", "bye"} <= {sentence.intent for sentence in (*train, *test)}
    assert main(
        f"fit slot-filling --data {tmp_path} --epochs 1 --hidden-size 8 --embedding 8 --buckets 64"
        f" --threads 1 --name f --runs-dir {tmp_path / 'runs'}".split()
    ) == 0  # fmt: skip


def test_only_what_the_card_says_is_learnt_from(env: Dialogue, listener: Listener) -> None:
    made = _chat(env, listener, _lines("hello"))
    kind = made.session.goal.constraints.get("kind")
    other = "raft" if kind != "raft" else "canoe"
    heard = listener.hear(f"I want a {other} as kind", None)
    assert heard is not None
    assert heard.frame.informs == {"kind": other}
    assert not made.session.is_example(heard)


def test_who_asks_for_something_else_fails_with_the_reason(
    env: Dialogue, listener: Listener
) -> None:
    def other(session: Any) -> str:
        last = session.last
        if last is not None and last.slot == "people" and last.kind == "request":
            return "1" if session.goal.constraints["people"] != "1" else "2"
        return _as_the_card_says(session)

    made = _chat(env, listener, other, 3)
    assert made.run() == "misunderstood: people"
    wanted = made.session.goal.constraints["people"]
    assert f"Failed: your card says people {wanted}, and it was booked for" in _shown(made)


def test_who_never_asks_fails_for_that(env: Dialogue, listener: Listener) -> None:
    def silent(session: Any) -> str:
        line = _as_the_card_says(session)
        return "that's all" if line.startswith("what") and session.last.kind == "inform" else line

    seed = next(
        s for s in range(99) if "price" in _chat(env, listener, silent, s).session.goal.questions
    )
    made = _chat(env, listener, silent, seed)
    assert made.run() in ("success", "question unanswered: price")
    if made.session.reason != "success":  # the agent may have told it unasked
        assert "Failed: you were to ask for the price" in _shown(made)


def test_a_dialogue_has_an_end(env: Dialogue, listener: Listener) -> None:
    made = _chat(env, listener, lambda _: "what does it cost?")
    assert made.run() in env.reasons[2:]
    assert "Failed" in _shown(made)


# Manners


def _until_booking(env: Dialogue, listener: Listener, seed: int = 0) -> DialogueSession:
    session = _chat(env, listener, _lines(), seed).session
    while not session.booking:
        session.say(_as_the_card_says(session))
    return session


def _agree_until_booking(session: DialogueSession, line: str) -> None:
    session.say(line)
    while not session.booking:
        assert not session.reason
        assert session.last is not None
        session.say("yes" if session.last.kind == "confirm" else _as_the_card_says(session))


def test_nothing_is_booked_without_a_yes(env: Dialogue, listener: Listener) -> None:
    session = _until_booking(env, listener)
    people = session.goal.constraints["people"]
    assert session.prompt.startswith("That is ")
    assert session.prompt.endswith("Shall I book it?")
    assert f"people {people}" in session.prompt
    session.say("no, change the people")
    assert (session.booking, session.reason) == (False, "")
    assert "people" in session.prompt.lower()
    other = "1" if people != "1" else "2"
    _agree_until_booking(session, other)
    assert f"people {other}" in session.prompt
    _agree_until_booking(session, f"no, {people} people")
    assert f"people {people}" in session.prompt
    session.say("no")
    assert session.prompt == "What should be different?"
    _agree_until_booking(session, f"{people} people")
    assert session.say("yes, please").heard is not None
    assert session.reason == "success"


def test_lines_about_the_conversation_cost_no_turn(env: Dialogue, listener: Listener) -> None:
    session = _chat(env, listener, _lines()).session
    session.say("Loch Ness")
    prompt, turns = session.prompt, int(env.state.numbers[0])
    assert session.say("Can you repeat that?").text == f"I said: {prompt}"
    assert "I can book a boat." in session.say("can you help me").text
    assert session.last is not None
    if session.last.slot is not None:
        said = session.say("what are my options?").text
        values = env.domain.slots[env.domain.index(session.last.slot)].values
        assert all(value in said for value in values)
    assert env.state.numbers[0] == turns
    assert session.say("start over").text == "Let us start again. What can I do for you?"
    assert all(one.best is None for one in session.beliefs())
    assert env.state.numbers[0] == 0
    session.say("cancel")
    assert session.reason == LEFT


def test_where_nothing_fits_the_agent_says_what_would(env: Dialogue, listener: Listener) -> None:
    session = _chat(env, listener, _lines()).session
    session.say("a raft on Windermere")
    wishes = {"kind": "raft", "lake": "Windermere", "people": "2"}
    for _ in range(8):
        assert session.last is not None
        if session.last.kind == "confirm":
            session.say("yes")
        elif session.last.kind == "request":
            session.say(wishes.get(str(session.last.slot), "I don't care"))
    assert session.last.kind == "no_match"
    assert "with another lake: Loch Ness" in session.prompt
    assert "with another kind: canoe, sailing boat" in session.prompt
    assert session.say("options").text == session.prompt
    session.say("then on Loch Ness")
    assert session.last.kind != "no_match"


def test_nothing_is_said_twice_in_a_row(env: Dialogue, listener: Listener) -> None:
    session = _chat(env, listener, _lines()).session
    said = [session.prompt]
    for _ in range(12):
        if not session.reason and not session.booking:
            said.append(session.say("hello").text)
    assert all(first != second for first, second in itertools.pairwise(said))


# Commands


def test_commands_cost_no_turn(env: Dialogue, listener: Listener) -> None:
    made = _chat(env, listener, _lines("help", "goal", "Loch Ness", "BELIEF", "?", "quit", "canoe"))
    assert made.run() == LEFT
    shown = _shown(made)
    for word in ("your card", "what the agent believes", "leave", "5 rows fit"):
        assert word in shown
    assert shown.count("Your card: book a boat") == 2
    table = next(line for line in shown.splitlines() if line.startswith("lake "))
    assert "Loch Ness" in table
    assert "%" in table
    assert env.state.numbers[0] == 1


# Bad input


def test_silence_ends_politely(env: Dialogue, listener: Listener) -> None:
    made = _chat(env, listener, lambda _: "")
    assert made.run() == LEFT
    shown = _shown(made)
    assert shown.count("Are you there?") == PATIENCE - 1
    assert "Goodbye." in shown
    assert made.session.messages == []


def test_who_goes_away_is_wished_goodbye(env: Dialogue, listener: Listener) -> None:
    made = _chat(env, listener, _lines("Loch Ness"))
    assert made.run() == LEFT
    assert "Goodbye." in _shown(made)


_LIKELY = "yes no any loch ness windermere 2 9:30 canoe ? what price is the not i don't care bye"
_WORDS = st.sampled_from([*_LIKELY.split(" ")])
_LINE = st.one_of(
    st.text(max_size=60),
    st.lists(_WORDS, max_size=12).map(" ".join),
    st.text(st.characters(), min_size=1, max_size=4).map(lambda text: text * 2500),
    st.sampled_from(
        ["belief", "goal", "help", "?", "\x00", "\x1b[2J", "\udc80", "[bold]", "/quit"]
    ),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_LINE, max_size=30), st.integers(0, 1000))
def test_whatever_is_typed_a_chat_never_breaks(
    env: Dialogue, listener: Listener, lines: list[str], seed: int
) -> None:
    made = _chat(env, listener, _lines(*lines), seed)
    assert made.run() in (*env.reasons[1:], LEFT)
    made.console.file.getvalue().encode()  # type: ignore[attr-defined]
    for one in made.session.messages:
        assert one.text.isprintable()
        one.text.encode()


def test_a_line_that_is_no_text_is_asked_for_again(env: Dialogue, listener: Listener) -> None:
    def broken(session: Any) -> str:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    made = _chat(env, listener, broken)
    assert made.run() == LEFT
    assert "Sorry, I did not get that." in _shown(made)


# Commands of the shell


def _play(runs: Path, patch: pytest.MonkeyPatch, typed: str, *words: str) -> int:
    patch.setattr("sys.stdin", io.StringIO(typed))
    return main(["play", "boats", "--runs-dir", str(runs), *words])


def test_a_chat_writes_nothing_into_the_run(
    runs: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    reader: IntentSlotModel,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted((runs / "boats").rglob("*"))
    (kept,) = _kept(cache)
    fitted = (kept / "evaluations.jsonl").stat()
    assert _play(runs, monkeypatch, "hello\nquit\n", "--seed", "4") == 0
    message = capsys.readouterr().out
    assert "Your card: book a boat" in message
    assert sorted((runs / "boats").rglob("*")) == before
    assert _kept(cache) == [kept]
    assert (kept / "evaluations.jsonl").stat() == fitted, "it is fitted once"
    path = Path(message.strip().splitlines()[-1].removeprefix("the transcript is "))
    assert path.parent == Path("chats")
    assert path.name.startswith("boats-")
    assert path.with_suffix(".txt").is_file()
    own = tmp_path / "mine.jsonl"
    words = ["--transcript", str(own), "--understanding", str(kept)]
    assert _play(runs, monkeypatch, "hello\n", *words) == 0
    assert json.loads(own.read_text().splitlines()[-1])["reason"] == LEFT
    capsys.readouterr()
    assert _play(runs, monkeypatch, "", "--transcript", str(own)) == 2
    assert "exists already" in capsys.readouterr().err


def test_where_the_current_folder_cannot_be_written_transcripts_go_to_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "chats").write_text("a file, so no folder can be made")
    monkeypatch.chdir(tmp_path)
    assert new_transcript("boats").parent == cache / "fathom" / "chats"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "chats"))
    assert new_transcript("boats").parent.is_dir()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--seed -1", "--seed must be at least 0"),
        ("--env.domain movie", "--env.domain cannot be set in a chat"),
        ("--transcript a.txt", "ends in .jsonl"),
        ("--understanding nowhere", "nowhere"),
        ("--understanding {runs}/boats", "is no fit of slot-filling"),
        ("--colour black", "no flag --colour"),
    ],
)
def test_a_wrong_command_gets_one_sentence(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    expected: str,
) -> None:
    assert _play(runs, monkeypatch, "", *words.format(runs=runs).split()) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert len(message.strip().splitlines()) == 1


def test_each_domain_is_fitted_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fitted: list[str] = []

    def fit(data: str, sentences: int, config: Any, folder: Path, name: str) -> None:
        fitted.append(name)
        (folder / name).mkdir()

    monkeypatch.setattr(understanding, "fit_slot_filling", fit)
    monkeypatch.setattr(understanding, "open_slot_filling", lambda folder: folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    domain = tmp_path / "boats.yaml"
    domain.write_text(BOATS)
    first = understanding_for(str(domain))
    assert first.is_relative_to(tmp_path / "cache")
    assert understanding_for(str(domain)) == first
    domain.write_text(BOATS.replace("raft", "ferry"))
    assert understanding_for(str(domain)) != first
    assert len(fitted) == 2
    assert len(list((tmp_path / "cache" / "fathom" / "understanding").iterdir())) == 2
    # Without a cache it is fitted for this chat alone.
    monkeypatch.setenv("XDG_CACHE_HOME", str(domain))
    assert not understanding_for(str(domain)).is_relative_to(tmp_path / "cache")
    assert len(fitted) == 3


def test_a_broken_fit_in_the_cache_is_fitted_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def read(folder: Path) -> Path:
        if not (folder / "whole").exists():
            raise FathomError("broken")
        return folder

    def fit(data: str, sentences: int, config: Any, folder: Path, name: str) -> None:
        (folder / name).mkdir()
        (folder / name / "whole").touch()

    monkeypatch.setattr(understanding, "fit_slot_filling", fit)
    monkeypatch.setattr(understanding, "open_slot_filling", read)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = understanding_for("movie")
    (kept / "whole").unlink()
    assert understanding_for("movie") == kept
    assert (kept / "whole").exists()


def test_words_between_user_and_agent(
    runs: Path,
    cache: Path,
    reader: IntentSlotModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (kept,) = _kept(cache)
    monkeypatch.chdir(kept.parent)
    words = ["train", "scripted", "Fathom/Dialogue-v0", "--steps", "64", "--segment-steps", "64"]
    words += ["--evaluation-episodes", "4", "--threads", "1", "--runs-dir", str(runs)]
    words += ["--env.domain", str(runs / "boats.yaml"), "--env.language", "text"]
    assert main([*words, "--name", "mute"]) == 2
    assert "needs an understanding" in capsys.readouterr().err
    assert main([*words, "--name", "mute", "--env.understanding", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
    assert not (runs / "mute").exists()
    relative = kept.name
    assert main([*words, "--name", "words", "--env.understanding", relative]) == 0
    table = tomllib.loads((runs / "words" / "run.toml").read_text())
    assert table["environment_arguments"]["understanding"] == str(kept.resolve())
    last = json.loads((runs / "words" / "evaluations.jsonl").read_text().splitlines()[-1])
    assert last["protocol"]["env.language"] == "text"
    monkeypatch.chdir(runs)
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    monkeypatch.setattr(dialogue_session, "understanding_for", pytest.fail)
    assert main(["play", str(runs / "words")]) == 0, "it reads with what it was trained with"


def test_a_film_comes_with_its_transcript(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["record", "boats", "--runs-dir", str(runs), "--folder", str(tmp_path)]
    assert main([*words, "--episodes", "2"]) == 0
    printed = capsys.readouterr().out.split()
    assert [Path(name).suffix for name in printed] == [".mp4", ".txt"] * 2
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    for name in printed:
        assert Path(name).stat().st_size > 100


def test_an_understanding_of_another_domain_is_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = SimpleNamespace(tags=["O", "B-artist"], intents=["inform"], vocabulary=[])
    monkeypatch.setattr(dialogue_session, "slot_filling_model", lambda run: strange)
    run = Run.open(runs / "boats")
    with pytest.raises(FathomError, match="it finds artist"):
        dialogue_session.dialogue_with(run, run, 0, "cpu", pytest.fail)


def test_the_card_is_a_goal_that_was_held_out(env: Dialogue, listener: Listener) -> None:
    def told(goal: Any) -> tuple[Any, ...]:
        known = {slot: value for slot, value in goal.constraints.items() if slot != "people"}
        return tuple(sorted(known.items())), goal.questions

    training = Dialogue(env.config.domain, split="train")
    trained_with = set()
    for seed in range(400):
        training.reset(seed=seed)
        trained_with.add(told(training.goal))
    for seed in range(20):
        made = _chat(env, listener, _lines(), seed)
        assert told(made.session.goal) not in trained_with
        assert made.session.goal.first_wish is None
