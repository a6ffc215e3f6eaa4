"""Finds the values of slots in a line: spelt in any usual way, as numbers, times or days, in part, or nearly.

A slot's kind follows from its values: counts, amounts with a unit, clock times, days, yes or no, or names. What a line takes
back ("not X", "anything but X", "Y instead of X") or leaves open ("X or Y", "before 9") is kept apart.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from envs.dialogue.domain import Domain
from envs.dialogue.frames import ANY_WORD
from envs.dialogue.phrases import CLOSE_ENOUGH, closest_value
from envs.dialogue.words import ANY_WORDS, PLACEHOLDER, key_of, tokens_of
from fathom.play.readings import (
    CURRENCIES,
    amount_at,
    clock_at,
    day_at,
    number_at,
    people_at,
    unit_of,
)

_LONGEST_VALUE, _SHORTEST_GUESS = 16, 5
"""Largest number of tokens of a value; least number of letters of a misspelt value that is searched for."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_EVERYDAY = _set(
    "a about after again all also always am an and another any anything are as ask at away back be because been before"
    " best better big bit book both but by bye can come could day did different do does doing done down each early"
    " else ever every everything few film fine first for free from full fun get give go going good got great had half"
    " has have he hello help her here hers hi him his home hot how i idea if in into is it its just keep kind know last"
    " later left less let like little long look lot love made make many may maybe me mean mine more most movie much"
    " must my name near need never new next nice night no none not nothing now of off ok okay old on once one ones only"
    " open or other our out over own people perhaps place please problem quite rather ready really right room same say"
    " see seat seats she should show sir so some someone something soon sorry start still stop such sure take talk"
    " tell than thank thanks that the their them then there these they thing things think this those time to today"
    " together tomorrow tonight too two under until up us use very wait walk want was watch way we week well were what"
    " when where which while who whole why will with without word work would wrong yeah year yes yet you young your"
)
"""Words that, as a value, count only as an answer to their slot, in quotation marks, or with a capital letter."""
_ARTICLE = _set("the a an")
_PERSONAL = _set("my our your his her their")
_ANSWER = _set(
    "the a an please to in at for it's its it is i want we'd i'd like , . ! ' \" “ ” « » ? one for"
)
"""What may stand beside an everyday word that answers its slot."""
_PASSED = _set(
    "the a an in at on to for by it it's its is be of i we you from into with want wants like see watch go going spend pay"
    " need take prefer book have get do make really any really that 's looking interested come visit too so"
)
"""Words between a negation and what it negates."""
_NEGATION = _set(
    "not don't dont doesn't doesnt isn't isnt won't wont wouldn't wouldnt can't cant cannot couldn't didn't never"
    " except excluding besides without hate dislike avoid"
)
_EXCEPTION = _set("but except excluding besides save")
_ALL = _set(
    "any anything anywhere anyone anytime all every everything everywhere whatever wherever whenever other"
)
_LIMIT = _set(
    "before after until till under below over above between since than max maximum most least minimum min up within"
)
"""Words that make a number a limit."""
_CORRECTION = _set(
    "no sorry mean meant actually wait rather make scratch correction instead oops better"
)
_CLOSED = re.compile(
    r"^(is|are|was|'s|it's) (not|too|wrong|no good|out|no)\b|^(isn't|doesn't|won't|is wrong|not good)\b"
    r"|^too (late|early|expensive|far|much|long)\b"
)
"""What takes back the value before it: "8 is too late"."""
_COUNTING = _set(
    "people person persons of seat seats guests passengers ticket tickets travellers travelers adults pax tix"
)
_NO_DIGITS = _set("couple pair dozen half single both")
"""Words for numbers that names have for other reasons."""
_MONEY = _set("dollar dollars euro euros pound pounds usd eur gbp $ € £")
_PARTY = (("party", "of"), ("group", "of"), ("table", "for"), ("family", "of"))


@dataclass(frozen=True)
class _Mention:
    """A value at a place of the line; None if the slot has no such value."""

    slot: str
    value: str | None
    start: int
    end: int
    guessed: bool = False
    weight: int = 0
    """Of overlapping mentions the heaviest counts."""


@dataclass
class Spotting:
    """The values in a line."""

    informs: dict[str, str] = field(default_factory=dict)
    """Slot → the value that the line gives it, or "any"."""
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Slot → first token of that value, and the one after its last."""
    covered: list[tuple[int, int]] = field(default_factory=list)
    """The places of all values, also of those that the line takes back."""
    denied: set[tuple[str, str]] = field(default_factory=set)
    """Slots and values that the line takes back."""
    unmet: set[str] = field(default_factory=set)
    """Slots that are spoken of without one value that can be used: "8 or 9", "before 8", a day that there is not."""
    guessed: bool = False
    """Whether a value is a guess: a part of a name, or misspelt."""

    @property
    def excluded(self) -> set[str]:
        """The slots of which a value is taken back."""
        return {slot for slot, _ in self.denied}


class Spotter:
    """Finds values of a domain's slots.

    Args:
        told: the slots whose values a user gives.
        known: words that a misspelt value cannot be.
    """

    def __init__(self, domain: Domain, told: set[str], known: set[str]) -> None:
        self.domain, self._told, self._known = domain, told, known
        self.kinds = {slot.name: kind_of(slot.values) for slot in domain.slots}
        self._index: dict[str, list[tuple[str, str]]] = {}
        self._parts: dict[str, set[tuple[str, str]]] = {}
        self._readable: dict[str, dict[Any, str]] = {}
        self._before: dict[str, set[str]] = {slot.name: set() for slot in domain.slots}
        self._affixes: set[str] = set()
        """What phrases join to the end of a value."""
        self._after: dict[str, set[str]] = {slot.name: set() for slot in domain.slots}
        for slot, numbers in zip(domain.slots, domain.numbers, strict=True):
            if slot.name not in told:
                continue
            for key, number in numbers.items():
                self._add_names(slot.name, slot.values[number], key)
            self._readable[slot.name] = _readable(self.kinds[slot.name], slot.values)
            self._add_context(slot.name)
        self._counts_people = {
            slot for slot in told if self.kinds[slot] == "count" and self._is_of_people(slot)
        }
        self._misspelt = {
            squashed: owners[0]
            for squashed, owners in self._index.items()
            if len(owners) == 1 and len(squashed) >= _SHORTEST_GUESS and not _has_digits(squashed)
        }  # fmt: skip

    def _add_names(self, slot: str, value: str, key: str) -> None:
        tokens = tokens_of(key)
        for form in _spellings(tokens):
            owners = self._index.setdefault(form, [])
            if (slot, value) not in owners:
                # What is spelt like this comes before what only lacks an article.
                owners.insert(0 if form == squash(tokens) else len(owners), (slot, value))
        for start in range(len(tokens)):
            for end in range(start + 1, len(tokens) + 1):
                whole = end - start == len(tokens) or key != key_of(value)
                if not whole and self.kinds[slot] == "name":
                    self._parts.setdefault(squash(tokens[start:end]), set()).add((slot, value))

    def _add_context(self, slot: str) -> None:
        for phrase in self.domain.phrases.user["inform"][slot]:
            parts = PLACEHOLDER.split(phrase)
            at = 1 + 2 * parts[1::2].index(slot)
            before, after = tokens_of(parts[at - 1]), tokens_of(parts[at + 1])
            if parts[at + 1][:1].isalpha():
                self._affixes.update(after[:1])
            self._before[slot].update([one for one in before if one not in _ARTICLE][-1:])
            self._after[slot].update(after[:1])
        for word in slot.split("_"):
            self._after[slot].update((word, word + "s", word.removesuffix("s")))

    def _is_of_people(self, slot: str) -> bool:
        words = {
            word
            for phrase in self.domain.phrases.user["inform"][slot]
            for word in tokens_of(phrase)
        }
        return bool(words & {"people", "us", "passengers", "guests", "persons"}) or bool(
            set(slot.split("_")) & _COUNTING
        )

    def apart(self, tokens: Sequence[str]) -> list[str]:
        """Return a line's tokens as phrases are learnt: values stand apart from what is joined to them.

        "a horror-film" has the tokens a, horror, - and film, as the phrase "a {genre}-film" has.
        """
        result: list[str] = []
        for token in tokens:
            pieces = [token]
            if squash([token]) not in self._index:
                if not token.isalnum():
                    pieces = [piece for piece in re.split(r"([-'’])", token) if piece]
                for affix in self._affixes if token.isalnum() else ():
                    if token.endswith(affix) and token != affix:
                        pieces = [token.removesuffix(affix), affix]
                        break
            fits = len(pieces) > 1 and any(squash([piece]) in self._index for piece in pieces)
            result += pieces if fits else [token]
        return result

    # -- finding ------------------------------------------------------------------------------------

    def spot(
        self,
        text: str,
        tokens: Sequence[str],
        tagged: Sequence[tuple[str, int, int]],
        about: str | None,
    ) -> Spotting:
        """Return the values in a line.

        Args:
            text: the line with its capital letters.
            tokens: its tokens.
            tagged: slots and places of values that a model found.
            about: the slot that the agent asked about.
        """
        marked = _marked(text, tokens)
        mentions = [
            *self._numbers(tokens, about),
            *self._names(tokens, tagged, marked, about),
            *self._whatever(tokens, about),
        ]
        chosen = _without_overlaps(mentions, about)
        taken = [(one.start, one.end) for one in chosen]
        for one in self._doubtful(tokens, tagged, marked, about, chosen):
            if _is_free(one, taken):
                chosen.append(one)
                taken.append((one.start, one.end))
        return self._weighed(tokens, sorted(chosen, key=lambda one: one.start))

    def _numbers(self, tokens: Sequence[str], about: str | None) -> Iterator[_Mention]:
        """Yield what can be read as a time, day, amount or number of people."""
        for slot, kind in self.kinds.items():
            if slot not in self._told or kind not in ("clock", "day", "amount", "count"):
                continue
            at = 0
            while at < len(tokens):
                found = self._number(slot, kind, tokens, at, about)
                if found is not None:
                    yield found
                at = found.end if found is not None else at + 1

    def _number(
        self, slot: str, kind: str, tokens: Sequence[str], at: int, about: str | None
    ) -> _Mention | None:
        asked = slot == about
        if kind == "clock":
            return self._clock(slot, tokens, at, asked)
        if kind == "day":
            return self._day(slot, tokens, at, asked)
        if kind == "amount":
            return self._amount(slot, tokens, at, asked)
        return self._count(slot, tokens, at, about)

    def _clock(self, slot: str, tokens: Sequence[str], at: int, asked: bool) -> _Mention | None:
        clock = clock_at(tokens, at)
        before = tokens[at - 1] if at else ""
        if clock is None or not (clock.explicit or asked or before in ("at", "around", "@", "by")):
            return None
        after = tokens[clock.end] if clock.end < len(tokens) else ""
        if not clock.explicit and (
            after in _COUNTING or unit_of(after) in CURRENCIES or (before in "$€£" and before)
        ):
            return None
        if (
            not clock.explicit
            and not asked
            and (before == "by" or not 0 < clock.minutes[0] <= 24 * 60)
        ):
            return None
        values = self._readable[slot]
        fits = list(dict.fromkeys(values[one] for one in clock.minutes if one in values))
        same = [one for one in fits if squash(tokens_of(one)) == squash(tokens[at : clock.end])]
        value = (same or fits)[0] if fits else None
        guessed = len(fits) > 1 and not same
        if _limited(tokens, at):
            value = None
        weight = 4 if clock.explicit else 2
        return _Mention(slot, value, at, clock.end, guessed, weight)

    def _day(self, slot: str, tokens: Sequence[str], at: int, asked: bool) -> _Mention | None:
        day = day_at(tokens, at)
        if day is None or (day.ambiguous and not asked):
            return None
        values = self._readable[slot]
        value = values.get((day.name, day.following))
        guessed = False
        if value is None:
            value = values.get((day.name, not day.following))
            guessed = value is not None and day.following
        if _limited(tokens, at):
            value = None
        return _Mention(slot, value, at, day.end, guessed, 4)

    def _amount(self, slot: str, tokens: Sequence[str], at: int, asked: bool) -> _Mention | None:
        amount = amount_at(tokens, at)
        if amount is None or (at and tokens[at - 1] in "$€£" and tokens[at - 1]):
            return None
        number, unit, end = amount
        units = {own for _, own in self._readable[slot]}
        if unit not in units:
            if not asked or unit in CURRENCIES or (unit and unit in _COUNTING):
                return None
            end = end - 1 if unit else end
            unit = min(units)
        elif sum(unit in self._units(other) for other in self._told) > 1 and not asked:
            return None
        value = self._readable[slot].get((number, unit))
        if _limited(tokens, at):
            value = None
        return _Mention(slot, value, at, end, False, 4)

    def _units(self, slot: str) -> set[str]:
        if self.kinds[slot] != "amount":
            return set()
        return {own for _, own in self._readable[slot]}

    def _count(
        self, slot: str, tokens: Sequence[str], at: int, about: str | None
    ) -> _Mention | None:
        asked, before = slot == about, tuple(tokens[max(0, at - 2) : at])
        people = slot in self._counts_people
        if people and (about is None or asked or self.kinds.get(about) != "count"):
            group = people_at(tokens, at)
            if group is not None:
                count, end = group
                alone = end == at + 1
                if (
                    not alone
                    or before[-1:] in (("just",), ("only",))
                    or (
                        asked and all(token in _ANSWER | {"me", "just", "only"} for token in tokens)
                    )
                ):
                    return _Mention(slot, self._readable[slot].get(count), at, end, False, 3)
            if tokens[at] == "alone":
                return _Mention(slot, self._readable[slot].get(1), at, at + 1, not asked, 3)
        amount = amount_at(tokens, at)
        if amount is not None and amount[1] in CURRENCIES and not people:
            if not asked and not self._after[slot] & _MONEY:
                return None
            paid = None if _limited(tokens, at) else self._readable[slot].get(amount[0])
            return _Mention(slot, paid, at, amount[2], False, 3)
        number = number_at(tokens, at)
        if number is None:
            return None
        count, end = number
        if asked and count and tokens[end : end + 1] == [","]:
            # "4, for me, my husband and two kids": the sum comes before its parts.
            for start in range(end, min(end + 4, len(tokens))):
                group = people_at(tokens, start)
                if group is not None and group[0] == count:
                    end = group[1]
                    break
        after = tokens[end] if end < len(tokens) else ""
        if unit_of(after) in CURRENCIES or (before[-1:] and before[-1] in "$€£"):
            return None
        named = after in self._after[slot] and after not in (",", "and")
        said = " ".join(tokens[end : end + 2])
        ours = people and (
            after in _COUNTING - {"of"} or said == "of us" or before in _PARTY
            or bool((before and before[-1] in ("we're", "were")) or before == ("we", "are"))
            or (before[-1:] == ("for",) and after in ("", ",", ".", "in", "at", "on", "to", "please", "and"))
            or (before[-1:] == ("us",) and count < 10)
        )  # fmt: skip
        if not (asked or named or ours):
            return None
        end += 2 if said == "of us" else int(bool(named or (ours and after in _COUNTING)))
        value = self._readable[slot].get(count)
        if _limited(tokens, at):
            value = None
        return _Mention(slot, value, at, end, False, 3 if named or ours else 1)

    def _names(
        self,
        tokens: Sequence[str],
        tagged: Sequence[tuple[str, int, int]],
        marked: set[int],
        about: str | None,
    ) -> Iterator[_Mention]:
        """Yield the values that are in the line as they are spelt, but for signs and spaces."""
        by_model = {(start, end): slot for slot, start, end in tagged}
        for start in range(len(tokens)):
            if not tokens[start][0].isalnum():
                continue
            for end in range(start + 1, min(len(tokens), start + _LONGEST_VALUE) + 1):
                if not tokens[end - 1][0].isalnum():
                    continue
                own = tokens[start:end]
                owners = (
                    self._index.get(squash(own)) or self._index.get(squash(_singular(own))) or []
                )
                slot = self._owner(tokens, start, end, owners, by_model.get((start, end)), about)
                if slot is None:
                    continue
                value = next(value for name, value in owners if name == slot)
                if self._counts(tokens, start, end, slot, marked, about):
                    guessed = (
                        self.kinds[slot] == "name" and _sounds_like_an_answer(own) and slot == about
                    )
                    yield _Mention(slot, value, start, end, guessed, 5 if slot == about else 4)

    def _owner(
        self,
        tokens: Sequence[str],
        start: int,
        end: int,
        owners: Sequence[tuple[str, str]],
        by_model: str | None,
        about: str | None,
    ) -> str | None:
        """Return the slot that a value belongs to: the one asked for, or told by the words around it."""
        slots = [slot for slot, _ in owners]
        if not slots:
            return None
        if len(set(slots)) == 1 or about in slots:
            return about if about in slots else slots[0]
        before = next((one for one in reversed(tokens[:start]) if one not in _ARTICLE), "")
        after = tokens[end] if end < len(tokens) else ""
        fits = [slot for slot in slots if before in self._before[slot]]
        fits = fits or [slot for slot in slots if after in self._after[slot]]
        if len(fits) == 1:
            return fits[0]
        return by_model if by_model in slots else None

    def _counts(
        self,
        tokens: Sequence[str],
        start: int,
        end: int,
        slot: str,
        marked: set[int],
        about: str | None,
    ) -> bool:
        """Whether a value's words mean it here, and are no everyday words."""
        own = tokens[start:end]
        plain = [token for token in own if token[0].isalnum()]
        if (
            start
            and tokens[start - 1] in _PERSONAL
            and len(plain) == 1
            and self.kinds[slot] == "name"
        ):
            return slot == about and len(tokens) == 1
        if tokens[end : end + 1] == ["of"] and (*own, "of") in _PARTY:
            return False  # "a family of four"
        if self._readable[slot] and _has_digits(squash(own)):
            return False  # it is read as a number
        everyday = all(token in _EVERYDAY or len(token) == 1 or token.isdigit() for token in plain)
        everyday = everyday or squash(own).isdigit()
        if not everyday or (len(squash(own)) > 1 and len(plain) > 1 and _has_digits(squash(own))):
            return True
        if set(range(start, end)) <= marked:
            return True
        near = [*tokens[max(0, start - 1) : start], *tokens[end : end + 1]]
        if any(len(slot) > 3 and word[:3] == slot[:3] for word in near):
            return True  # "r rated"
        rest = [*tokens[:start], *tokens[end:]]
        bare = len(tokens) - (end - start) <= 2 or all(
            token in _ARTICLE or not token.isalnum() for token in rest
        )
        return slot == about and bare and all(token in _ANSWER for token in rest)

    def _whatever(self, tokens: Sequence[str], about: str | None) -> Iterator[_Mention]:
        """Yield "any" where the name of a slot follows it."""
        for at, token in enumerate(tokens[:-1]):
            for slot in self._told if token in ANY_WORDS else ():
                if tokens[at + 1] in (slot.replace("_", " "), slot.removesuffix("s")):
                    yield _Mention(slot, ANY_WORD, at, at + 2, False, 3)

    def _doubtful(
        self,
        tokens: Sequence[str],
        tagged: Sequence[tuple[str, int, int]],
        marked: set[int],
        about: str | None,
        chosen: Sequence[_Mention],
    ) -> Iterator[_Mention]:
        """Yield parts of names, what the model takes for values, and misspelt values."""
        there = {one.slot for one in chosen}
        for size in range(min(6, len(tokens)), 0, -1):
            for start in range(len(tokens) - size + 1):
                own = tokens[start : start + size]
                content = [one for one in own if one.isalnum() and one not in _EVERYDAY]
                if not content or not own[0][0].isalnum() or not own[-1][0].isalnum():
                    continue
                owners = self._parts.get(squash(own), set())
                if about is not None and any(slot == about for slot, _ in owners):
                    owners = {one for one in owners if one[0] == about}
                if len(owners) != 1:
                    continue
                ((slot, value),) = owners
                if slot in there or (_has_digits(squash(own)) and slot != about):
                    continue
                strong = len(content) > 1 or set(range(start, start + size)) <= marked
                if (slot == about and len(content[0]) > 2) or (strong and slot != about):
                    yield _Mention(slot, value, start, start + size, True)
        for slot, start, end in tagged:
            text = " ".join(tokens[start:end])
            if slot not in self._told or self.kinds[slot] != "name" or slot in there:
                continue
            if about is not None and slot != about and len(tokens) <= 4:
                continue
            close = closest_value(self.domain, self.domain.index(slot), text)
            if close is None or (close == ANY_WORD and about is None):
                continue
            if all(one in _EVERYDAY or not one.isalnum() for one in tokens[start:end]):
                continue
            yield _Mention(slot, close, start, end, True)
        if not there:
            yield from self._spelt_badly(tokens, about)

    def _spelt_badly(self, tokens: Sequence[str], about: str | None) -> Iterator[_Mention]:
        own = {
            form: owner
            for form, owners in self._index.items()
            for owner in owners
            if owner[0] == about and len(form) >= _SHORTEST_GUESS and not _has_digits(form)
        }
        for names in (own, self._misspelt):
            for size in (4, 3, 2, 1):
                for start in range(min(len(tokens), 30) - size + 1):
                    words = tokens[start : start + size]
                    text = squash(words)
                    plain = not all(word[0].isalnum() for word in (words[0], words[-1]))
                    if plain or len(text) < _SHORTEST_GUESS or _has_digits(text):
                        continue
                    if all(word in _EVERYDAY or word in self._known for word in words):
                        continue
                    close = difflib.get_close_matches(text, names, 1, CLOSE_ENOUGH)
                    if close:
                        slot, value = names[close[0]]
                        yield _Mention(slot, value, start, start + size, True)
                        return

    # -- weighing -----------------------------------------------------------------------------------

    def _weighed(self, tokens: Sequence[str], mentions: Sequence[_Mention]) -> Spotting:
        """Return what the line gives, takes back and leaves open, of its mentions in order."""
        result = Spotting()
        given: dict[str, list[_Mention]] = {}
        for one in mentions:
            result.covered.append((one.start, one.end))
            if one.value is None:
                result.unmet.add(one.slot)
            elif _negated(tokens, one.start, one.end):
                result.denied.add((one.slot, one.value))
            else:
                given.setdefault(one.slot, []).append(one)
        for slot, ones in given.items():
            last = ones[-1]
            between = set(tokens[ones[0].end : last.start]) if len(ones) > 1 else set()
            lone = {
                *tokens[last.end : last.end + 1],
                *tokens[max(0, ones[0].start - 1) : ones[0].start],
            }
            values = {one.value for one in ones}
            if "or" in between and len(values) > 1 and not between & _CORRECTION:
                result.unmet.add(slot)
                continue
            if "or" in lone and (
                slot in result.unmet
                or (self.kinds[slot] != "name" and len(ones) == 1 and _number_beside(tokens, last))
            ):
                result.unmet.add(slot)
                continue
            excepted = any(other == slot for other, _ in result.denied) and last.value == ANY_WORD
            if excepted:
                continue
            assert last.value is not None
            result.informs[slot] = last.value
            result.places[slot] = (last.start, last.end)
            result.guessed |= last.guessed
            if len(values) > 1 and not between & (_CORRECTION | {"not"}):
                result.guessed = True
        result.unmet -= set(result.informs)
        return result


def kind_of(values: Sequence[str]) -> str:
    """What a slot's values are: "clock", "day", "amount", "count", "switch" (yes or no) or "name"."""
    if {squash(tokens_of(value)) for value in values} == {"yes", "no"}:
        return "switch"
    if all(re.fullmatch(r"\d{1,3}", value) for value in values):
        return "count"
    parsed = [_readable_clock(value) for value in values]
    if all(one is not None for one in parsed):
        return "clock"
    if all(_readable_amount(value) is not None for value in values):
        return "amount"
    days = [day for day in map(_readable_day, values) if day is not None]
    return "day" if 2 * len(days) > len(values) else "name"


def _readable(kind: str, values: Sequence[str]) -> dict[Any, str]:
    """Return what each value is read as → the value."""
    readers: dict[str, Callable[[str], Any]] = {
        "clock": _readable_clock,
        "amount": _readable_amount,
        "day": _readable_day,
        "count": int,
    }
    if kind not in readers:
        return {}
    meanings = ((readers[kind](value), value) for value in values)
    return {meaning: value for meaning, value in meanings if meaning is not None}


def _readable_clock(value: str) -> int | None:
    tokens = tokens_of(value)
    clock = clock_at(tokens, 0) if tokens else None
    if clock is None or clock.end != len(tokens) or not clock.explicit:
        return None
    return clock.minutes[0]


def _readable_amount(value: str) -> tuple[float, str] | None:
    tokens = tokens_of(value)
    amount = amount_at(tokens, 0) if tokens else None
    if amount is None or amount[2] != len(tokens) or not amount[1]:
        return None
    return amount[0], amount[1]


def _readable_day(value: str) -> tuple[str, bool] | None:
    tokens = tokens_of(value)
    day = day_at(tokens, 0) if tokens else None
    if day is None or day.end != len(tokens) or not day.name:
        return None
    return day.name, day.following


def squash(tokens: Sequence[str]) -> str:
    """Return what all spellings of a text share: letters and digits, without accents, numbers in digits."""
    pieces = []
    at = 0
    while at < len(tokens):
        number = number_at(tokens, at) if tokens[at].split("-")[0] not in _NO_DIGITS else None
        if number is not None and (tokens[at].isdigit() or tokens[at].isalpha()):
            pieces.append(str(number[0]) if not tokens[at].isdigit() else tokens[at])
            at = number[1]
        else:
            pieces.append(tokens[at])
            at += 1
    text = unicodedata.normalize("NFKD", "".join(pieces)).casefold()
    return "".join(sign for sign in text if sign.isalnum())


_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})


def _spellings(tokens: Sequence[str]) -> set[str]:
    """Return the squashed spellings of a value: also without its article, and with ae for ä."""
    forms = {squash(tokens), squash([token.translate(_UMLAUTS) for token in tokens])}
    if len(tokens) > 1 and tokens[0] in _ARTICLE:
        forms.add(squash(tokens[1:]))
    return forms - {""}


def _singular(tokens: Sequence[str]) -> list[str]:
    """Return the tokens with the last one in the singular, or without its possessive."""
    last = re.sub(r"'s$", "", tokens[-1])
    if last == tokens[-1] and len(last) > 4 and last.endswith("s"):
        last = last[:-3] + "y" if last.endswith("ies") else last[:-1]
    return [*tokens[:-1], last]


def _marked(text: str, tokens: Sequence[str]) -> set[int]:
    """Return the tokens in quotation marks, or with a capital letter that does not begin a sentence."""
    marked: set[int] = set()
    place, quoted, words = 0, False, []
    lowered = text.lower()
    for at, token in enumerate(tokens):
        place = lowered.find(token, place)
        if place < 0:
            return marked
        if token in '"“”„«»':
            quoted = not quoted and token not in "”»"
        elif quoted:
            marked.add(at)
        if token[0].isalpha():
            words.append(text[place].isupper())
            begins = at == 0 or tokens[at - 1] in ".!?"
            title = at + 1 < len(tokens) and tokens[at] in _ARTICLE
            own = token in ("i", "i'm", "i'd", "i'll", "i've")
            if text[place].isupper() and not own and (title or not begins):
                marked.add(at)
        place += len(token)
    if words and all(words) and len(words) > 1 and '"' not in tokens:
        return set() if text.isupper() else marked
    return marked


def _limited(tokens: Sequence[str], at: int) -> bool:
    """Whether a number is a limit: "before 9", "no more than $11"."""
    before = [
        token for token in tokens[max(0, at - 3) : at] if token not in ("the", "a", "$", "to", "of")
    ]
    return any(token in _LIMIT for token in before[-1:])


def _number_beside(tokens: Sequence[str], one: _Mention) -> bool:
    """Whether another number stands beside "or": "two or three"."""
    for at in (one.end + 1, one.start - 2):
        if 0 <= at < len(tokens) and number_at(tokens, at) is not None:
            return True
    return False


def _negated(tokens: Sequence[str], start: int, end: int) -> bool:
    """Whether the line takes a value back: "not X", "any but X", "instead of X", "X is too late"."""
    at = start - 1
    while at >= 0 and tokens[at] in _PASSED and start - at < 7:
        if tokens[at] == "of" and at and tokens[at - 1] in ("instead", "place"):
            return True
        if tokens[at] in ("from", "for") and at and tokens[at - 1] == "apart":
            return True
        at -= 1
    word = tokens[at] if at >= 0 else ""
    if word == "than":
        return True
    if word in _EXCEPTION and set(tokens[max(0, at - 4) : at]) & (
        _ALL | {"not"} if word != "but" else _ALL
    ):
        return True
    if word == "no" and at == start - 1 and at > 0 and tokens[at - 1] not in ",.":
        return True
    if word in _NEGATION:
        asks = (at and tokens[at - 1] in ("why",)) or (
            at == 0 and tokens[at + 1 : at + 2] in (["you"], ["we"], ["there"])
        )
        mind = "mind" in tokens[at:start]
        return not asks and not mind
    after = " ".join(tokens[end : end + 3])
    return bool(_CLOSED.match(after)) and "?" not in tokens


def _sounds_like_an_answer(tokens: Sequence[str]) -> bool:
    return " ".join(tokens) in ("yes", "no")


def _is_free(one: _Mention, taken: Sequence[tuple[int, int]]) -> bool:
    return all(one.end <= start or end <= one.start for start, end in taken)


def _without_overlaps(mentions: Sequence[_Mention], about: str | None) -> list[_Mention]:
    """Return mentions that do not overlap: the longest first, then those that answer, then the heaviest."""
    chosen: list[_Mention] = []
    order = sorted(
        mentions,
        key=lambda one: (
            one.value is None,
            -(one.end - one.start),
            one.slot != about,
            -one.weight,
            one.start,
        ),
    )
    for one in order:
        if _is_free(one, [(other.start, other.end) for other in chosen]):
            chosen.append(one)
    return chosen


def _has_digits(text: str) -> bool:
    return any(sign.isdigit() for sign in text)
