"""What the words of a line mean as numbers, amounts, clock times, days and groups of people.

Each reader takes a line's tokens (`envs.dialogue.words.tokens_of`) and a place in it, and returns what begins there
with the place where it ends, or None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBER = {word: number for number, word in enumerate(_SMALL)} | {
    word: 10 * number for number, word in enumerate(_TENS, start=2)
}

_UNITS = {
    "dollar": "$ dollar dollars buck bucks usd",
    "euro": "€ euro euros eur",
    "pound": "£ pound pounds quid gbp",
    "star": "* star stars starred",
}
_UNIT = {word: unit for unit, words in _UNITS.items() for word in words.split()}
CURRENCIES = ("dollar", "euro", "pound")

_WEEKDAYS = {
    "monday": "mon", "tuesday": "tue tues", "wednesday": "wed weds", "thursday": "thu thur thurs",
    "friday": "fri", "saturday": "sat", "sunday": "sun",
}  # fmt: skip
_DAY = {day: day for day in _WEEKDAYS} | {
    short: day for day, words in _WEEKDAYS.items() for short in words.split()
}
_ALSO_WORDS = frozenset(["mon", "sat", "sun", "wed"])
"""Short weekdays that mean something else too."""
_TODAY, _TOMORROW = (
    frozenset(["today", "tonight", "todays"]),
    frozenset(
        [
            "tomorrow",
            "tmrw",
            "tmr",
            "tmw",
            "tomorow",
            "tommorow",
            "tommorrow",
            "tomorrows",
            "2morrow",
            "2moro",
            "morrow",
        ]
    ),
)
_PART_OF_DAY = frozenset(["morning", "afternoon", "evening", "night"])
_MONTHS = frozenset(
    [
        "january",
        "february",
        "march",
        "april",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ]
)

_MYSELF = frozenset(["me", "myself", "i", "i'm"])
_COMPANION = frozenset(
    [
        "wife",
        "husband",
        "girlfriend",
        "boyfriend",
        "partner",
        "friend",
        "mate",
        "buddy",
        "colleague",
        "son",
        "daughter",
        "child",
        "kid",
        "mother",
        "mom",
        "mum",
        "father",
        "dad",
        "brother",
        "sister",
        "cousin",
        "uncle",
        "aunt",
        "grandmother",
        "grandfather",
        "grandma",
        "grandpa",
        "nephew",
        "niece",
        "baby",
        "neighbour",
        "neighbor",
        "boss",
        "fiance",
        "spouse",
        "date",
    ]
)
_COUNTED = frozenset(
    [
        "adult",
        "person",
        "guest",
        "senior",
        "student",
        "toddler",
        "teenager",
        "man",
        "woman",
        "kid",
        "child",
    ]
)
"""People of whom all are counted when nobody says "me"."""
_PERSON = _COMPANION | _COUNTED
_PEOPLE = {"people": "person", "children": "child", "men": "man", "women": "woman", "wives": "wife"}


def number_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    """A whole number in digits or words, "a couple", "a pair" or a dozen."""
    token = tokens[at]
    if token.isascii() and token.isdigit():
        return (int(token), at + 1) if len(token) < 7 else None
    if token in ("couple", "pair"):
        return 2, at + 2 if _is(tokens, at + 1, "of") else at + 1
    if token in ("single", "both"):
        return (1 if token == "single" else 2), at + 1
    if token == "dozen":
        return 12, at + 1
    if token == "half" and _is(tokens, at + 1, "a") and _is(tokens, at + 2, "dozen"):
        return 6, at + 3
    first, _, second = token.partition("-")
    if first not in _NUMBER or (second and second not in _NUMBER):
        return None
    number, end = _NUMBER[first] + _NUMBER.get(second, 0), at + 1
    if not second and number in range(20, 100, 10) and end < len(tokens):
        ones = _NUMBER.get(tokens[end], 0)
        if 0 < ones < 10:
            return number + ones, end + 1
    return number, end


def amount_at(tokens: Sequence[str], at: int) -> tuple[float, str, int] | None:
    """A number with its unit ("$10", "ten bucks", "4 stars"); the unit is "" if there is none."""
    unit = _UNIT.get(tokens[at], "") if tokens[at] in "$€£" else ""
    begin = at + 1 if unit else at
    if begin >= len(tokens):
        return None
    decimal = re.fullmatch(r"(\d{1,6})[.,](\d{1,2})", tokens[begin])
    if decimal:
        number, end = float(f"{decimal[1]}.{decimal[2]}"), begin + 1
    else:
        found = number_at(tokens, begin)
        head, _, tail = tokens[begin].partition("-")
        if found is None and head in _NUMBER and tail:
            return _NUMBER[head], unit_of(tail), begin + 1
        if found is None:
            return None
        number, end = float(found[0]), found[1]
    if not unit:
        after = end + 1 if _is(tokens, end, "-") else end
        if after < len(tokens) and tokens[after][0].isalpha() | (tokens[after] in _UNIT):
            return number, unit_of(tokens[after]), after + 1
    return number, unit, end


def unit_of(word: str) -> str:
    """The unit that a word is: a known one, else the word without a plural's s."""
    return _UNIT.get(word, word.removesuffix("s") if len(word) > 3 else word)


@dataclass(frozen=True)
class Clock:
    """A time of day as it was said."""

    minutes: tuple[int, ...]
    """Minutes after midnight that it may mean: two of them without am, pm or the like."""
    explicit: bool
    """Whether it can be nothing but a time, unlike a bare number."""
    end: int


def clock_at(tokens: Sequence[str], at: int) -> Clock | None:
    """A time of day: "8 pm", "9.30", "20:00", "20h", "half past nine", "quarter to 7", "5 o'clock", "noon"."""
    token = tokens[at]
    if token in ("noon", "midday"):
        return Clock((720,), True, at + 1)
    if token == "midnight":
        return Clock((0,), True, at + 1)
    spoken = _past_or_to(tokens, at)
    if spoken is not None:
        hour, minute, end = spoken
        return _clock(tokens, hour, minute, True, end)
    digits = re.fullmatch(r"(\d{1,2})[:.](\d{2})", token)
    if digits:
        return _clock(tokens, int(digits[1]), int(digits[2]), True, at + 1)
    if re.fullmatch(r"\d{3,4}", token):
        read = _clock(tokens, int(token[:-2]), int(token[-2:]), False, at + 1)
        return read if read is not None and (read.explicit or len(token) == 4) else None
    number = number_at(tokens, at)
    if number is None or token in ("couple", "pair", "dozen", "half", "single", "both"):
        return None
    hour, end = number[0], at + 1
    if "-" in token or end < number[1]:  # "twenty one" is no hour, but "twenty thirty" is
        hour, end = number
    minute, explicit = 0, False
    if _is(tokens, end, "h", "hrs", "hours"):
        explicit, end = True, end + 1
        if end < len(tokens) and re.fullmatch(r"[0-5]\d", tokens[end]):
            minute, end = int(tokens[end]), end + 1
    elif _is(tokens, end + 1, "am", "pm") and re.fullmatch(r"[0-5]\d", tokens[end]):
        minute, explicit, end = int(tokens[end]), True, end + 1
    elif not token.isdigit() and end < len(tokens):
        said = number_at(tokens, end)
        if said is not None and tokens[end] in _NUMBER and 10 <= said[0] < 60:
            minute, explicit, end = said[0], True, said[1]
    return _clock(tokens, hour, minute, explicit, end)


def _past_or_to(tokens: Sequence[str], at: int) -> tuple[int, int, int] | None:
    """Hour, minute and end of "half past nine", "quarter to 7", "ten past eight", "half nine"."""
    place = at
    if tokens[place] == "half" or tokens[place] == "half-past":
        minutes, place = 30, place + 1
        if tokens[at] == "half" and not _is(tokens, place, "past"):
            hour = number_at(tokens, place) if place < len(tokens) else None
            return (hour[0], 30, hour[1]) if hour is not None and hour[0] <= 12 else None
    elif tokens[place] == "quarter":
        minutes, place = 15, place + 1
    else:
        number = number_at(tokens, place)
        if number is None or not 0 < number[0] < 60:
            return None
        minutes, place = number
        place += _is(tokens, place, "minutes", "min")
    if tokens[at] != "half-past":
        if not _is(tokens, place, "past", "after", "to", "before", "till", "of", "til"):
            return None
        if tokens[at] not in ("half", "quarter") and tokens[place] in ("of", "before", "after"):
            return None
        back = tokens[place] in ("to", "before", "till", "til", "of")
        place += 1
    else:
        back = False
    hour = number_at(tokens, place) if place < len(tokens) else None
    if hour is None or not 0 < hour[0] <= 24:
        return None
    return (hour[0] - 1, 60 - minutes, hour[1]) if back else (hour[0], minutes, hour[1])


def _clock(tokens: Sequence[str], hour: int, minute: int, explicit: bool, end: int) -> Clock | None:
    """A time with what follows it: "o'clock", "pm", "p.m.", "in the evening", "-ish"."""
    if hour > 24 or minute > 59:
        return None
    if _is(tokens, end, "o'clock", "oclock", "o’clock"):
        explicit, end = True, end + 1
    half = ""
    rest = "".join(tokens[end : end + 4])
    match = re.match(r"([ap])\.?m\b\.?", rest)
    if match and hour <= 12:
        half, used = match[1], 0
        while used < match.end():
            used += len(tokens[end])
            end += 1
    else:
        for size in (3, 2, 1):
            words = " ".join(tokens[end : end + size])
            said = re.fullmatch(r"(?:in the |at )?(morning|afternoon|evening|night|tonight)", words)
            if said and hour <= 12:
                half = "a" if said[1] == "morning" else "p"
                end += size if said[1] != "tonight" else 0
                break
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
        return Clock((60 * hour + minute,), True, end)
    if hour == 0 or hour > 12:
        return Clock((60 * (hour % 24) + minute,), explicit, end)
    return Clock(
        (60 * hour + minute, 60 * (hour % 12 + (0 if hour == 12 else 12)) + minute), explicit, end
    )


@dataclass(frozen=True)
class Day:
    """A day as it was said."""

    name: str
    """A weekday, "today" or "tomorrow"; "" for one that these cannot tell, such as a date."""
    following: bool
    """Whether it is the "next" one."""
    ambiguous: bool
    """Whether the words may mean something else, such as "sun"."""
    end: int


def day_at(tokens: Sequence[str], at: int) -> Day | None:
    """A day: "sat", "this friday", "next monday", "tmrw", "tonight", "sunday night"."""
    begin = at
    following = _is(tokens, begin, "next")
    if _is(tokens, begin, "this", "next", "coming", "on"):
        begin += 1
        begin += _is(tokens, begin, "coming")
    if begin >= len(tokens):
        return None
    token = tokens[begin]
    if token == "day" and " ".join(tokens[begin : begin + 3]) == "day after tomorrow":
        return Day("", False, False, begin + 3)
    if _is(tokens, at, "this") and token in _PART_OF_DAY:
        return Day("today", False, False, begin + 1)
    if token in ("weekend", "week", "month") and begin > at:
        return Day("", False, False, begin + 1)
    if token == "weekend" or token in _MONTHS:
        return Day("", False, False, begin + 1)
    if token in _TODAY:
        return Day("today", False, False, begin + 1)
    if token == "2" and _is(tokens, begin + 1, "moro", "morrow", "mrw"):
        return Day("tomorrow", False, False, begin + 2)
    name = "tomorrow" if token in _TOMORROW else _DAY.get(token, _DAY.get(token[:-1], ""))
    if not name or (token not in _DAY and token[-1] != "s" and name != "tomorrow"):
        return None
    end = begin + 1
    if token in _DAY and len(token) < 6:
        end += _is(tokens, end, ".")
    end += _is(tokens, end, *_PART_OF_DAY)
    return Day(name, following, begin == at and token in _ALSO_WORDS, end)


def people_at(tokens: Sequence[str], at: int) -> tuple[int, int] | None:
    """How many people a list names that begins here: "just me", "2 adults and 1 child", "me, my wife and two kids"."""
    count, place, end, me, companions = 0, at, at, False, False
    while place < len(tokens):
        token = tokens[place]
        if token in _MYSELF and not me and (token == "me" or token == "myself" or count):
            count, place, me = count + 1, place + 1, True
        elif token in ("my", "a", "our", "the") and _person(tokens, place + 1) in _COMPANION:
            if not _singular(tokens, place + 1):
                return None
            count, place, companions = count + 1, place + 2, True
        elif (number := number_at(tokens, place)) is not None:
            after = number[1]
            if _is(tokens, after, "little", "small", "young", "other", "more", "of", "my", "best"):
                after += 1
                after += _is(tokens, after, "my")
            if not _person(tokens, after):
                break
            companions |= _person(tokens, after) not in _COUNTED
            count, place = count + number[0], after + 1
        else:
            break
        end = place
        while _is(tokens, place, ",", "and", "plus", "with", "&", "+"):
            place += 1
    # "my wife and two friends" may be with or without who speaks.
    return (count, end) if count and (me or not companions) else None


def _person(tokens: Sequence[str], at: int) -> str:
    """The kind of person that a word is, in the singular; "" if it is none."""
    if at >= len(tokens):
        return ""
    word = _PEOPLE.get(tokens[at], tokens[at])
    for one in (word, word.removesuffix("s")):
        if one in _PERSON:
            return one
    return ""


def _singular(tokens: Sequence[str], at: int) -> bool:
    return _person(tokens, at) == tokens[at]


def _is(tokens: Sequence[str], at: int, *words: str) -> bool:
    return 0 <= at < len(tokens) and tokens[at] in words
