"""Numbers, times, days, amounts and groups of people in words."""

import pytest

from envs.dialogue.words import tokens_of
from fathom.play.readings import amount_at, clock_at, day_at, number_at, people_at


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("8 pm", (1200,)),
        ("8p.m.", (1200,)),
        ("12 am", (0,)),
        ("12:15 pm", (735,)),
        ("9:30", (570, 1290)),
        ("9.30", (570, 1290)),
        ("20:00", (1200,)),
        ("20h", (1200,)),
        ("7h45", (465, 1185)),
        ("5 o'clock", (300, 1020)),
        ("half past nine", (570, 1290)),
        ("half nine", (570, 1290)),
        ("quarter to seven", (405, 1125)),
        ("ten past eight", (490, 1210)),
        ("eight thirty in the evening", (1230,)),
        ("twenty thirty", (1230,)),
        ("noon", (720,)),
        ("midnight", (0,)),
    ],
)
def test_times(text: str, minutes: tuple[int, ...]) -> None:
    tokens = tokens_of(text)
    clock = clock_at(tokens, 0)
    assert clock is not None
    assert (clock.minutes, clock.end) == (minutes, len(tokens))


@pytest.mark.parametrize("text", ["25:00", "9:75", "seats", "99", "half a dozen"])
def test_what_is_no_time(text: str) -> None:
    assert clock_at(tokens_of(text), 0) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [("sat.", "saturday"), ("this friday", "friday"), ("tmrw", "tomorrow"), ("tonight", "today"),
     ("sunday night", "sunday"), ("thurs", "thursday"), ("next monday", "monday"), ("mondays", "monday"),
     ("this evening", "today"), ("the", None), ("december", "")],
)  # fmt: skip
def test_days(text: str, name: str | None) -> None:
    day = day_at(tokens_of(text), 0)
    assert (None if day is None else day.name) == name


def test_numbers_and_amounts() -> None:
    for text, number in (("twelve", 12), ("twenty five", 25), ("forty-two", 42), ("a", None),
                         ("couple of", 2), ("half a dozen", 6), ("17", 17)):  # fmt: skip
        found = number_at(tokens_of(text), 0)
        assert (found and found[0]) == number
    for text, amount in (("$10", (10, "dollar")), ("ten bucks", (10, "dollar")), ("9.50 €", (9.5, "euro")),
                         ("4-star", (4, "star")), ("four-star", (4, "star")), ("7", (7, ""))):  # fmt: skip
        read = amount_at(tokens_of(text), 0)
        assert read is not None
        assert read[:2] == amount


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("me", 1),
        ("me and my wife", 2),
        ("my wife and I", 2),
        ("2 adults and 1 child", 3),
        ("me, my husband and two kids", 4),
        ("my sister", None),
        ("the two", None),
    ],
)
def test_groups_of_people(text: str, count: int | None) -> None:
    found = people_at(tokens_of(text), 0)
    assert (found and found[0]) == count
