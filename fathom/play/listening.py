"""Understanding of a person's lines in a chat.

A line is read in this order: an answer to what the agent said last ("yes", "8", "I don't care"), a question, values of
slots. Values are found by what they are (`fathom.play.spotting`), and by a fitted model of slot filling. Only an exact
answer to the agent's last act is certain; the confidence in anything else is the model's, and low if the model reads
the line in another way. Lines that make no sense are not understood as anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from envs.dialogue.domain import Domain
from envs.dialogue.frames import ANY_WORD, AgentFrame, Frame, askable, requestable
from envs.dialogue.phrases import Sentence, understood
from envs.dialogue.words import is_printable, tokens_of
from fathom.play.spotting import Spotter, Spotting
from perception.networks.slot_filling import OUTSIDE, IntentSlotModel, spans

CERTAIN = 0.98
"""Confidence in an exact answer to the agent's last act."""
DOUBTFUL = 0.6
"""Greatest confidence in what the model does not confirm."""
SURE = 0.95
"""Confidence from which agents do not ask to confirm."""
_TRUSTED, _KNOWN = 0.45, 0.6
"""Without values: the least confidence of the model, and the least share of words that it knows."""
_LONGEST_TEXT, _LONGEST_LINE = 1000, 60
"""Largest number of letters and tokens that are read."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NO = _set(
    "no n nope nah not wrong incorrect never false neither isn't wasn't didn't don't nay negative"
)
_REFUSAL = _set("no nope nah wrong incorrect nay")
"""Words that begin a denial: "no, it's Chicago"."""
_YES = _set(
    "yes y yeah yea ya yep yup yess aye sure right correct ok okay k kk okey exactly indeed good great perfect true fine"
    " absolutely definitely alright affirmative certainly totally precisely course mhm mm-hm mmhm uh-huh huh"
    " naturally please affirm confirmed yeap"
)
_AFFIRMING = _set("yes yeah yep yup right correct exactly indeed sure")
_ACCEPT = _YES | _set(
    "cool nice awesome wonderful fantastic excellent brilliant deal thanks thank thx cheers bye goodbye ciao done book"
    " take works suits agreed super sweet lovely amazing reserve buy all nothing splendid terrific works do marvellous"
    " marvelous superb neat thankyou ta go booked"
)
_ENDING = _set("bye goodbye thanks thank thx nothing all done cheers ciao")
_SMALL = _set(
    "a an the that that's thats that’s is it it's its i i'm im i'll ill we we'll we're you your yours me my us of was were what said this"
    " one so very much uh um oh ah well just be will would sounds looks seems got for with at in on to and then now"
    " can could let's lets let go ahead not at all way need want more everything else thing am happy him her them"
    " lot lots million many set appreciate appreciated that'll that'd wanted know there ticket tickets have had did do does please too sir absolutely really quite entirely hit again who"
)
"""Words that change nothing in a yes or a no."""
_NOTHING = _REFUSAL | _set("not really nothing none special particular in thanks thank you")
"""Words of an answer that asks for nothing in particular."""
_HELLO = _set("hello hi hey good morning afternoon evening day there greetings hiya howdy")
_GREETING = _set("hello hi hey good greetings hiya howdy")
_QUESTION = _set(
    "what which when where who how whose why what's whats what’s where's wheres where’s when's whens when’s who's"
    " how's hows how’s whats"
)
_LEAD = _set(
    "and so ok okay great well hi hello hey but then also cool thanks fine good sorry excuse me oh please um on in at by"
)
_ASK = re.compile(
    r"\b(tell me|do you know|want to know|wanna know|wonder|let me know|like to know|need to know|ask about|any idea)\b"
)
_FILLER = _set(
    "a an the in on at for to of i we want would like need please is it be should my our me us with and there there's"
    " maybe perhaps about around some by from get it's its i'm im just only prefer think i'd we'd i'll we'll we're that"
    " that's this make could can do will hmm um uh well ok okay oh so then how what let's lets go going say said take"
    " show one ones rated rather actually sorry mean meant yes yeah are am you ya hi hello hey live lives based near"
    " your try give works good fine great best better cool been either way course sure , . ! - ' \" ’ : ; … $ € £ ? * "
    " people person tickets ticket seats seat price each rating film movie films movies thanks thank alone instead"
)
_INDIFFERENCE = (
    "care", "does not matter", "doesn't matter", "doesnt matter", "does n't matter", "matters not", "not matter",
    "mind", "no preference", "no preferences", "anything", "whatever", "whichever", "not fussy", "not picky",
    "either", "no idea", "don't know", "do not know", "dont know", "dunno", "not sure", "up to you", "you decide",
    "you choose", "you pick", "surprise me", "anywhere", "anytime", "wherever", "whenever", "skip", "any", "all the same",
    "makes no difference", "not important", "indifferent", "i'm flexible", "im flexible", "i'm easy", "open to",
    "all good", "no particular",
)  # fmt: skip
_UNDECIDED = re.compile(
    r"\b(yet|still (thinking|deciding|unsure|looking)|let (me|us) (think|see|check|ask)|undecided|hold on|hang on"
    r"|(one|a|just a) (moment|second|minute|sec)|have(n't| not) decided)\b"
)
_THAT = re.compile(r"(yes )?(that|this)('s| is|s) (it|the one|the plan|what i (want|said|meant))")
_UNSURE = re.compile(r"\b(know|dunno|sure|idea)\b")
_FAREWELL = re.compile(
    r"\b(see (you|ya)( (later|soon|then|there|around|tomorrow))?|have an? \w+ (one|time|day|evening|night|weekend)"
    r"|take care|until (then|next time)|talk (to you )?(later|soon)|good ?night|so long)\b"
)
_FORGET = re.compile(
    r"\b(forget|never mind|ignore|skip|(does not|doesn't|doesnt) matter|don't care about)\b"
)
_AUXILIARY = _set("is are do does can could will would shall should may")
_OPTIONS = re.compile(r"\b(options|choices|possibilities|suggestions|alternatives)\b")
_DISLIKE = re.compile(
    r"\btoo (late|early|expensive|much|far|long|short|dear|pricey|soon|cheap|big|small|high|low|few|many)\b"
    r"|\b(can't|cannot|can ?not|cant|couldn't|won't|wont) (do|make|work|go|come|afford|take|be)\b"
    r"|\b(doesn't|does not|doesnt|don't|dont|not|isn't|won't) (\w+ )?"
    r"(work|suit|fit|good|great|ideal|okay|ok|right|like|want|possible|convenient|what)\b"
    r"|\b(something|anything|another|some other|somewhere|other) (else|\w+er|one|time|day|option|options)\b"
    r"|\ba (bit|little) (much|late|early|far|long|high|expensive|pricey)\b"
    r"|\b(earlier|later|cheaper|closer|nearer|sooner|different)\b"
    r"|\b(i hate|i dislike|terrible|awful|nothing for me|i'd rather not|rather not|no good)\b"
)
_WHERE, _MONEY = (
    _set("theater theatre cinema place shop store venue address location area city town"),
    "amount",
)


@dataclass(frozen=True)
class Heard:
    """What was understood of a line."""

    frame: Frame
    confidence: float
    sentence: Sentence
    """The line with labels that mean the same, as far as labels can."""


@dataclass(frozen=True)
class _Line:
    """A line with all that its reading needs."""

    tokens: list[str]
    words: list[str]
    """The tokens that are no signs."""
    found: Spotting
    last: AgentFrame | None
    model: Frame
    """What the model hears."""
    intent: str
    chance: float
    """The model's confidence."""
    known: float
    """The share of words that the model or the domain knows."""

    @property
    def kind(self) -> str | None:
        return None if self.last is None else self.last.kind

    @property
    def about(self) -> str | None:
        """The slot that the agent asked for or wants confirmed."""
        return (
            self.last.slot
            if self.last is not None and self.kind in ("request", "confirm")
            else None
        )


class Listener:
    """Understands a person's lines in a domain."""

    def __init__(self, domain: Domain, understanding: IntentSlotModel) -> None:
        self.domain, self.understanding = domain, understanding
        self._words = set(understanding.vocabulary)
        names = [slot.name for slot in domain.slots]
        self._told = {names[slot] for slot in np.flatnonzero(requestable(domain))}
        self._asked = [names[slot] for slot in np.flatnonzero(askable(domain))]
        self._spotter = Spotter(domain, self._told, self._words)
        self._questions = {
            tuple(_spoken(tokens_of(phrase))): slot
            for slot in self._asked
            for phrase in domain.phrases.user["request"][slot]
        }
        self._heads = self._unique_heads()

    def hear(self, text: str, last: AgentFrame | None) -> Heard | None:
        """Return what a line means after the agent's last act; None if it makes no sense."""
        text = "".join(sign if is_printable(sign) else " " for sign in text[:_LONGEST_TEXT])
        text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("`", "'")
        tokens = self._spotter.apart(tokens_of(text))[:_LONGEST_LINE]
        words = _spoken(tokens)
        if not words:
            return None
        tags, intent, chance = self.understanding.understand(tokens)
        about = last.slot if last is not None and last.kind in ("request", "confirm") else None
        found = self._spotter.spot(text, tokens, spans(tags), about)
        known = sum(word in self._words or word in _FILLER or word in _SMALL for word in words)
        known += sum(end - start for start, end in found.places.values())
        line = _Line(
            tokens, words, found, last,
            understood(self.domain, tokens, tags, intent), intent, chance, known / len(words),
        )  # fmt: skip
        meant = self._bare(line) or self._request(line) or self._values(line) or self._act(line)
        if meant is None or not self._can_be_said(meant[0]):
            return None
        frame, confidence = meant
        return Heard(frame, confidence, self._sentence(line, frame))

    # -- answers to the agent's last act ------------------------------------------------------------

    def _bare(self, line: _Line) -> tuple[Frame, float] | None:
        """Return the frame of a bare yes, no or "I don't care"."""
        kind, about, words, found = line.kind, line.about, set(line.words), line.found
        if kind in ("inform", "no_match"):
            words = set(_FAREWELL.sub("bye", " ".join(line.words)).split())
        if "?" in line.tokens and kind != "request":
            return None
        if kind == "confirm":
            if _THAT.fullmatch(" ".join(line.words)):
                return Frame("affirm"), CERTAIN
            if not found.excluded and words <= _YES | _SMALL and words & _YES and not words & _NO:
                return Frame("affirm"), CERTAIN
            bare = not found.informs or words <= _REFUSAL  # also where a title is "No"
            if bare and words <= _NO | _YES | _SMALL and words & _NO:
                return Frame("deny"), CERTAIN
        if kind in ("inform", "no_match") and not found.informs:
            accepts = words <= _ACCEPT | _SMALL and words & _ACCEPT and not words & (_NO - {"no"})
            if accepts and ("no" not in words or words & _ENDING):
                return Frame("bye"), CERTAIN
            if words <= _NO | _SMALL and words & _NO:
                return Frame("deny"), CERTAIN
        nothing = words <= _NOTHING and words & (_NO | {"nothing"})
        if kind == "request" and not found.informs and nothing:
            assert about is not None
            sure = words <= _REFUSAL | {"thanks", "thank", "you"}
            return Frame("inform", None, {about: ANY_WORD}), CERTAIN if sure else DOUBTFUL
        named = self._named(line.words)
        forgotten = "?" not in line.tokens and _FORGET.search(" ".join(line.words))
        if forgotten and about is None and named in self._told and not found.informs:
            assert named is not None
            return Frame("inform", None, {named: ANY_WORD}), DOUBTFUL
        mentioned = set(found.informs) | found.excluded | found.unmet
        indifferent = self._is_indifferent(line.words) and "?" not in line.tokens
        if about is not None and indifferent and not mentioned:
            slot = self._named(line.words) or about
            act = "inform" if kind == "request" else "deny"
            sure = slot == about and len(line.words) <= 6
            return Frame(act, None, {slot: ANY_WORD}), CERTAIN if sure else DOUBTFUL
        others = found.informs and not found.excluded | found.unmet and about not in mentioned
        sure = not _UNSURE.search(" ".join(line.words))
        if kind == "request" and about is not None and indifferent and others and sure:
            # "I don't care, but in Boston"
            return Frame("inform", None, {**found.informs, about: ANY_WORD}), DOUBTFUL
        return None

    def _is_indifferent(self, words: Sequence[str]) -> bool:
        line = f" {' '.join(words)} "
        return not _UNDECIDED.search(line) and any(f" {one} " in line for one in _INDIFFERENCE)

    # -- questions ----------------------------------------------------------------------------------

    def _request(self, line: _Line) -> tuple[Frame, float] | None:
        """Return the frame of a question about a slot."""
        words, informs, kind = self._without_values(line), line.found.informs, line.kind
        while words and words[0] in _LEAD and len(words) > 1:
            words = words[1:]
        text = " ".join(words)
        if text.startswith(("how about", "what about", "why not", "why don't", "what if")):
            return None
        wh = next((at for at, word in enumerate(words) if word in _QUESTION), None)
        asks = bool(_ASK.search(text)) or (wh is not None and (wh == 0 or "?" in line.tokens))
        phrase = self._phrase(words) or self._phrase(line.words)
        slot = phrase
        asks = asks or ("?" in line.tokens and not informs)
        if slot is None and asks:
            slot = self._question(words[wh:] if wh is not None else words)
        trusted = line.chance >= _TRUSTED and line.known >= _KNOWN
        if slot is None and line.model.act == "request" and trusted and asks:
            slot = line.model.request
        told_now = line.last.slot if line.last is not None and kind == "inform" else None
        if slot == told_now and words[:1] in (["where"], ["where's"]):
            slot = next((one for one in self._asked if one in _WHERE and one != told_now), slot)
        if slot is None and line.about in self._asked and _OPTIONS.search(" ".join(line.words)):
            slot = line.about
        if slot is None or slot not in self._asked:
            return None
        told = {name: value for name, value in informs.items() if name != slot}
        frame = Frame("request", slot, told)
        exact = tuple(line.words) in self._questions and not told
        return frame, CERTAIN if exact else self._confidence(line, frame)

    def _without_values(self, line: _Line) -> list[str]:
        covered = {at for start, end in line.found.places.values() for at in range(start, end)}
        return _spoken([token for at, token in enumerate(line.tokens) if at not in covered])

    def _phrase(self, words: Sequence[str]) -> str | None:
        """Return the slot that one of the domain's phrases asks for; of several the longest."""
        text = f" {' '.join(words)} "
        fits = [phrase for phrase in self._questions if f" {' '.join(phrase)} " in text]
        return self._questions[max(fits, key=len)] if fits else None

    def _question(self, words: Sequence[str]) -> str | None:
        """Return the slot that a question asks for, by its first words, a slot's name, or words of phrases."""
        words = [re.sub(r"^(what|where|when|how|who)'?s$", r"\1 is", word) for word in words]
        words = " ".join(words).split()
        kinds = self._spotter.kinds
        text = " ".join(words)
        for openings, kind in (
            (
                ("what time", "which time", "how late", "how early", "how soon", "at what time"),
                "clock",
            ),
            (("how much", "how expensive"), "amount"),
            (("what day", "which day", "what date", "which date"), "day"),
        ):
            fits = [slot for slot in self._asked if kinds[slot] == kind]
            if len(fits) == 1 and any(opening in text for opening in openings):
                return fits[0]
        pairs = [_head(words[at : at + 2]) for at, word in enumerate(words) if word in _QUESTION]
        heads = [pair for pair in pairs if pair in self._heads]
        telling = [pair for pair in heads if pair[-1] not in _AUXILIARY]
        named = self._named(words)
        if telling or (heads and named is None):
            return self._heads[(telling or heads)[0]]
        if named in self._asked:
            return named
        for word in words:
            if word in _QUESTION and (slot := self._heads.get((word,))):
                return slot
        if words and words[0] == "where":
            return next((slot for slot in self._asked if slot in _WHERE), None)
        if words and words[0] == "when":
            return next((slot for slot in self._asked if kinds[slot] in ("clock", "day")), None)
        if (best := self._by_words(words)) is not None:
            return best
        if words and re.match(
            r"(what|which)\b.*\b(playing|showing|on|available|there|have|got|see|offer|recommend)\b",
            text,
        ):
            return self._asked[0] if self._asked else None
        return None

    def _unique_heads(self) -> dict[tuple[str, ...], str]:
        """Return the one or two first words of questions ("where", "what kind") that only one slot has."""
        owners: dict[tuple[str, ...], set[str]] = {}
        for phrase, slot in self._questions.items():
            for at, word in enumerate(phrase):
                if word in _QUESTION:
                    for size in (1, 2):
                        owners.setdefault(_head(phrase[at : at + size]), set()).add(slot)
        vague = _set("is are do does can could of")
        return {
            head: min(slots)
            for head, slots in owners.items()
            if len(slots) == 1 and not (len(head) == 2 and head[1] in vague - {"does"})
            and (len(head) == 2 or head[0] in ("where", "who", "whose"))
        }  # fmt: skip

    def _by_words(self, words: Sequence[str]) -> str | None:
        """Return the only slot whose questions have one of the words that no other slot's questions have."""
        owners: dict[str, set[str]] = {}
        for phrase, slot in self._questions.items():
            for word in phrase:
                owners.setdefault(_stem(word), set()).add(slot)
        hits = {
            min(owners[_stem(word)])
            for word in words
            if len(owners.get(_stem(word), ())) == 1 and word not in _SMALL | _QUESTION
        }
        return hits.pop() if len(hits) == 1 else None

    def _named(self, words: Sequence[str]) -> str | None:
        """Return the slot whose name, or its plural, is first in the line."""
        line = f" {' '.join(words)} "
        places = []
        for slot in dict.fromkeys((*self._asked, *sorted(self._told))):
            name = slot.replace("_", " ")
            forms = [name, name + "s", name.removesuffix("s"), name + "'s"]
            for form in [*forms, name[:-1] + "ies"] if name.endswith("y") else forms:
                if (place := line.find(f" {form} ")) >= 0:
                    places.append((place, -len(form), slot))
        return min(places)[2] if places else None

    # -- values -------------------------------------------------------------------------------------

    def _values(self, line: _Line) -> tuple[Frame, float] | None:
        """Return the frame of a line that gives values, or takes one back."""
        found, kind, about, words = line.found, line.kind, line.about, line.words
        informs = dict(found.informs)
        refused = words[0] in _REFUSAL and kind != "request"
        if kind == "confirm" and line.last is not None and about is not None:
            value = line.last.value
            if informs.get(about) == value:
                if refused or (set(words) & _NO and not set(words) & _YES):
                    return None  # "no, Boston" after "Boston?"
                del informs[about]
                frame = Frame("affirm", None, informs)
                return frame, CERTAIN if self._is_exact(line, about) else self._confidence(
                    line, frame
                )
            if about in informs or (refused and informs):
                frame = Frame("deny", None, informs)
                return frame, CERTAIN if self._is_exact(line, about) else self._confidence(
                    line, frame
                )
            if (about, value) in found.denied:
                return Frame("deny", None, informs), CERTAIN if not informs else DOUBTFUL
            if refused:
                return Frame("deny"), DOUBTFUL
            if informs and words[0] in _YES and words[0] not in _LEAD:
                frame = Frame("affirm", None, informs)
                return frame, self._confidence(line, frame)
        if words[0] in _QUESTION and line.words[0:2][-1:] != ["about"] and not informs:
            return None
        if not informs:
            return None
        told = line.last.slot if line.last is not None and kind == "inform" else None
        changes = told in informs and {"instead", "rather", "prefer"} & set(words)
        act = "deny" if kind == "inform" and (refused or changes) else "inform"
        frame = Frame(act, None, informs)
        if kind == "request" and about in informs and self._is_exact(line, about):
            return frame, CERTAIN
        summed_up = line.last is not None and kind == "inform" and line.last.slot is None
        if summed_up and len(informs) == 1 and self._is_exact(line, min(informs)):
            return frame, CERTAIN  # a correction of what the agent would book
        return frame, self._confidence(line, frame)

    def _is_exact(self, line: _Line, about: str | None) -> bool:
        """Whether a line gives nothing but an exact value of the slot that the agent asked about."""
        found = line.found
        if found.guessed or found.unmet or set(found.informs) != {about}:
            return False
        covered = {at for start, end in found.covered for at in range(start, end)}
        rest = [token for at, token in enumerate(line.tokens) if at not in covered]
        small = (
            _FILLER
            | _SMALL
            | (_YES | _NO if line.kind != "request" or found.denied else frozenset())
        )
        return all(token in small or not token.isalnum() for token in rest) and "?" not in rest

    def _confidence(self, line: _Line, frame: Frame) -> float:
        """Return the model's confidence if it hears the same, else a low one."""
        agrees = frame == line.model and not line.found.guessed and not line.found.unmet
        return line.chance if agrees else min(line.chance, DOUBTFUL)

    # -- what is left -------------------------------------------------------------------------------

    def _act(self, line: _Line) -> tuple[Frame, float] | None:
        """Return the frame of a line without values."""
        found, kind, words = line.found, line.kind, set(line.words)
        if words <= _HELLO and words & _GREETING:
            return Frame("inform"), CERTAIN
        text = " ".join(line.words)
        if kind == "inform" and found.denied and not found.informs:
            return Frame("deny"), DOUBTFUL
        if kind in ("inform", "confirm") and _DISLIKE.search(text) and not found.informs:
            return Frame("deny"), DOUBTFUL
        if found.excluded or found.unmet or line.words[0] in _QUESTION or "?" in line.tokens:
            return None
        if line.last is None or kind == "request":
            words = set(_FAREWELL.sub("bye", text).split())
            if words <= _ACCEPT | _SMALL and words & _ENDING:
                return Frame("bye"), DOUBTFUL if line.last is None else CERTAIN
            return None
        act = line.intent
        if act not in ("affirm", "deny", "bye") or line.chance < _TRUSTED or line.known < _KNOWN:
            return None
        if kind != "confirm" and act == "affirm":
            act = "bye"
        if kind == "confirm" and act == "bye":
            return None
        return Frame(act), line.chance if line.known >= 1 and act == line.intent else DOUBTFUL

    def _can_be_said(self, frame: Frame) -> bool:
        """Whether the frame is possible: slots without a column cannot be "any"."""
        return all(
            value != ANY_WORD or self.domain.slots[self.domain.index(slot)].column
            for slot, value in frame.informs.items()
        )

    def _sentence(self, line: _Line, frame: Frame) -> Sentence:
        tags = [OUTSIDE] * len(line.tokens)
        for slot, (start, end) in line.found.places.items():
            tags[start:end] = [f"B-{slot}", *[f"I-{slot}"] * (end - start - 1)]
        intent = frame.act if frame.request is None else f"request.{frame.request}"
        return Sentence(tuple(line.tokens), tuple(tags), intent)


def speaks_for_itself(domain: Domain, heard: Heard) -> bool:
    """Whether a line means the same without context, so that a model can learn from it."""
    sentence = heard.sentence
    telling = {"bye": _ENDING, "affirm": _AFFIRMING}.get(sentence.intent)
    if telling is not None and not telling & set(sentence.tokens):
        return False  # "ok" is either
    return understood(domain, sentence.tokens, sentence.tags, sentence.intent) == heard.frame


def _spoken(tokens: Sequence[str]) -> list[str]:
    return [token for token in tokens if token[0].isalnum()]


def _head(words: Sequence[str]) -> tuple[str, ...]:
    """The first words of a question; "what film" and "which film" are the same."""
    return tuple("which" if word == "what" else word for word in words)


def _stem(word: str) -> str:
    return word.removesuffix("s") if len(word) > 3 else word
