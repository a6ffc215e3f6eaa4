"""What is said in words means the frame that was said."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.dialogue.domain import Domain, DomainError
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import (
    ACTS,
    AgentFrame,
    Frame,
    agent_acts,
    askable,
    frame_of,
    ints_of,
    requestable,
)
from envs.dialogue.phrases import (
    agent_sentence,
    closest_value,
    some_frame,
    tag_labels,
    understood,
    user_sentence,
)
from envs.dialogue.words import key_of, tokens_of

DOMAINS = {name: load_domain(name) for name in ("movie", "restaurant", "taxi", "hotel")}
MOVIE = DOMAINS["movie"]


def intent_labels(domain: Domain) -> list[str]:
    """The intents of users: the acts, and "request.SLOT" for the slots that can be asked for."""
    asked = [domain.slots[slot].name for slot in np.flatnonzero(askable(domain))]
    return [*(act for act in ACTS if act != "request"), *(f"request.{slot}" for slot in asked)]


@st.composite
def frames(draw: st.DrawFn) -> tuple[Domain, Frame]:
    """Any frame of any domain: also those that no user would say."""
    domain = DOMAINS[draw(st.sampled_from(sorted(DOMAINS)))]
    act = draw(st.sampled_from(ACTS))
    request = None
    if act == "request":
        request = draw(st.sampled_from([slot.name for slot in domain.slots]))
    told = draw(st.lists(st.sampled_from(domain.slots), unique=True, max_size=6))
    return domain, Frame(
        act, request, {slot.name: draw(st.sampled_from([*slot.values, "any"])) for slot in told}
    )


@given(frames(), st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None)
def test_every_frame_is_understood_as_it_was_said(said: tuple[Domain, Frame], seed: int) -> None:
    domain, frame = said
    sentence = user_sentence(domain, frame, np.random.default_rng(seed))
    assert len(sentence.tokens) == len(sentence.tags) > 0
    assert set(sentence.tags) <= set(tag_labels(domain))
    assert understood(domain, sentence.tokens, sentence.tags, sentence.intent) == frame


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=80, deadline=None)
def test_a_text_has_the_same_key_after_it_was_cut_into_words(text: str) -> None:
    assert key_of(" ".join(tokens_of(text))) == key_of(text)
    assert "".join(text.split()) == "" or key_of(text)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=12), st.sampled_from([*tag_labels(MOVIE), "B-x", "I-", "", "-"])
        ),
        max_size=12,
    ),
    st.sampled_from([*intent_labels(MOVIE), "request", "request.x", "inform.city", "", "sing"]),
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_heard_makes_a_frame_of_the_domain(
    heard: list[tuple[str, str]], intent: str
) -> None:
    tokens, tags = [token for token, _ in heard], [tag for _, tag in heard]
    frame = understood(MOVIE, tokens, tags, intent)
    assert frame_of(MOVIE, ints_of(MOVIE, frame)) == frame
    assert frame.act == ("unclear" if intent not in intent_labels(MOVIE) else intent.split(".")[0])


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_sentences_to_learn_from_show_every_intent_and_slot(name: str) -> None:
    domain, rng = DOMAINS[name], np.random.default_rng(0)
    sentences = [user_sentence(domain, some_frame(domain, rng), rng) for _ in range(600)]
    assert {sentence.intent for sentence in sentences} == set(intent_labels(domain))
    told = {slot.name for slot, may in zip(domain.slots, requestable(domain), strict=True) if may}
    assert {tag[2:] for sentence in sentences for tag in sentence.tags} == told | {""}
    assert len({sentence.tokens for sentence in sentences}) > 300


def test_a_phrase_that_needs_more_than_is_told_is_not_said() -> None:
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(200):
        frame = Frame("inform", None, {"movie": "Low Tide", "city": "Boston"})
        sentence = " ".join(user_sentence(MOVIE, frame, rng).tokens)
        assert sentence.count("low tide") == 1
        assert sentence.count("boston") == 1
        assert "tickets" not in sentence
        seen.add(sentence)
    # One phrase tells both.
    assert "i want to see low tide in boston" in seen
    assert len(seen) > 20


def test_numbers_are_said_as_words_too() -> None:
    rng = np.random.default_rng(2)
    frame = Frame("inform", None, {"tickets": "3"})
    words = {token for _ in range(50) for token in user_sentence(MOVIE, frame, rng).tokens}
    assert {"3", "three"} <= words


@pytest.mark.parametrize(
    ("slot", "text", "value"),
    [
        ("city", "BOSTON", "Boston"),
        ("city", "bostom", "Boston"),
        ("city", "any", "any"),
        ("city", "gotham", None),
        ("city", "", None),
        ("time", "6:45PM", "6:45 pm"),
        ("time", "6:45", "6:45 pm"),
        ("time", "7:45 pm", None),
        ("tickets", "two", "2"),
        ("tickets", "22", None),
        ("movie", "lantern keeper", "The Lantern Keeper"),
        ("movie", "the film laughing gas", "Laughing Gas"),
        ("movie", "seven letters home", "Seven Letters Home"),
        ("movie", "the lantern keper", "The Lantern Keeper"),
    ],
)
def test_a_value_is_found_where_it_is_meant(slot: str, text: str, value: str | None) -> None:
    assert closest_value(MOVIE, MOVIE.index(slot), text) == value


def test_spans_are_read_as_they_stand() -> None:
    def heard(words: str, tags: str) -> dict[str, str]:
        return understood(MOVIE, words.split(), tags.split(), "inform").informs

    assert heard("low tide", "B-movie I-movie") == {"movie": "Low Tide"}
    # A span that does not begin rightly begins all the same.
    assert heard("low tide", "I-movie I-movie") == {"movie": "Low Tide"}
    assert heard("low boston", "I-movie I-city") == {"movie": "Low Tide", "city": "Boston"}
    # Of two values the last counts: people correct themselves.
    assert heard("boston no denver", "B-city O B-city") == {"city": "Denver"}
    assert heard("boston denver", "B-city B-city") == {"city": "Denver"}


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_an_agent_says_every_act_and_the_value(name: str) -> None:
    domain, rng = DOMAINS[name], np.random.default_rng(3)
    alone = {slot.name: slot.values[0] for slot in domain.slots if not slot.column}
    for act in agent_acts(domain):
        if act.slot >= 0:
            slot = domain.slots[act.slot]
            value = None if act.kind == "request" else slot.values[0]
            frame = AgentFrame(act.kind, slot.name, value)
        else:
            frame = AgentFrame(
                act.kind, row={**domain.row(0), **alone} if act.kind == "book" else None
            )
        first = agent_sentence(domain, frame)
        assert agent_sentence(domain, frame) == first
        for sentence in (first, *(agent_sentence(domain, frame, rng) for _ in range(5))):
            assert sentence
            assert "{" not in sentence
            assert frame.value is None or frame.value in sentence


def test_one_thing_is_not_a_plural() -> None:
    said = [agent_sentence(MOVIE, AgentFrame("confirm", "tickets", value)) for value in "12"]
    assert said == ["1 ticket, right?", "2 tickets, right?"]


def test_an_agent_says_what_it_does_not_know() -> None:
    assert (
        agent_sentence(MOVIE, AgentFrame("inform", "price", "unknown"))
        == "I do not know the price."
    )
    assert agent_sentence(MOVIE, AgentFrame("confirm", "city", "any")) == "So any city will do?"
    # A row without the city cannot be named by the phrases that mention it.
    assert agent_sentence(MOVIE, AgentFrame("book", row={"movie": "Low Tide"})) == "It is booked."


def test_a_value_cannot_write_into_a_phrase(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(
        "task: x\nslots: {a: , b: }\nrows:\n  - {a: '{b}', b: '\\1 {0} %s'}\n"
        "phrases: {agent: {book: '{a} and {b}'}}\n"
    )
    domain = load_domain(str(path))
    assert agent_sentence(domain, AgentFrame("book", row=domain.row(0))) == r"{b} and \1 {0} %s"
    frame = Frame("inform", None, domain.row(0))
    sentence = user_sentence(domain, frame, np.random.default_rng(0))
    assert understood(domain, sentence.tokens, sentence.tags, sentence.intent) == frame
    path.write_text("task: x\nslots: {a: }\nrows:\n  - {a: Unknown}\n")
    with pytest.raises(DomainError, match="'Unknown' cannot be a value"):
        load_domain(str(path))
