"""Tokens, keys of values, and the phrases of a domain with their defaults.

A phrase may have any case, and `{slot}` in place of a value. Values are compared by their keys: "7:30PM" and
"7:30 pm", "Two" and "2", "Sci-Fi" and "sci-fi" are the same.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

USER_ACTS = ("inform", "any", "request", "affirm", "deny", "bye", "unclear")
"""The acts in a user's `phrases`; "any" means that a slot does not matter."""
AGENT_ACTS = ("request", "inform", "confirm", "no_match", "book")
"""The acts in an agent's `phrases`."""
ABOUT_A_SLOT = {
    "user": ("inform", "any", "request"),
    "agent": ("request", "inform", "confirm"),
}
"""The acts with phrases for each slot."""

ANY_WORDS = ("any", "whatever", "whichever")
"""Words in place of a value if a slot does not matter."""
RESERVED = (*ANY_WORDS, "unknown")
"""Words that cannot be values; "unknown" is what an agent says if its row lacks a value."""

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Number n as a word, at index n."""

JOINERS = "\u200c\u200d"
"""Zero width non-joiner and joiner: part of a word in Persian, Hindi and other languages."""

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

_TOKEN = re.compile(rf"\d+(?:[:.,]\d+)*|[^\W\d_]+(?:['’{JOINERS}-][^\W\d_]+)*|[^\s{JOINERS}]")
_NO_JOINERS = dict.fromkeys(map(ord, JOINERS))
_DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)}


def tokens_of(text: str) -> list[str]:
    """Return lower-case words, numbers and signs; "7:30pm" is two tokens, "sci-fi" is one."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


@lru_cache(maxsize=2**16)
def key_of(text: str) -> str:
    """Return the key that all spellings of a value share; "" if there is no word."""
    text = text.translate(_NO_JOINERS)
    return " ".join(_DIGITS.get(token, token) for token in tokens_of(text))


def is_printable(text: str) -> bool:
    """Whether all of a text can be printed; joiners between letters can."""
    return text.translate(_NO_JOINERS).isprintable()


def placeholders(phrase: str) -> list[str]:
    """Return the slots that a phrase mentions, in order."""
    return PLACEHOLDER.findall(phrase)


@dataclass(frozen=True)
class Phrases:
    """Act → slot → phrases, for every act and slot; the slot of acts without one is ""."""

    user: dict[str, dict[str, tuple[str, ...]]]
    agent: dict[str, dict[str, tuple[str, ...]]]


def default_phrases(slots: tuple[str, ...]) -> Phrases:
    """Return plain phrases for each act and slot, used if a domain file gives none."""
    user: dict[str, dict[str, tuple[str, ...]]] = {
        "affirm": {"": ("yes", "yes please", "that is right", "correct")},
        "deny": {"": ("no", "no , that is wrong", "not at all")},
        "bye": {"": ("that is all , thank you", "nothing else", "i have no more wishes")},
        "unclear": {"": ("sorry ?", "i did not get that", "what do you mean ?")},
    }
    agent: dict[str, dict[str, tuple[str, ...]]] = {
        "no_match": {"": ("I found nothing like that.", "Nothing fits all of that.")},
        "book": {"": ("It is booked.",)},
    }
    for act in ABOUT_A_SLOT["user"]:
        user[act] = {}
    for act in ABOUT_A_SLOT["agent"]:
        agent[act] = {}
    for slot in slots:
        name, value = slot.replace("_", " "), "{" + slot + "}"
        user["inform"][slot] = (
            f"the {name} should be {value}",
            f"{value} for the {name}",
            f"i want {value} as {name}",
        )
        user["any"][slot] = (
            f"{value} {name} will do",
            f"{value} {name} is fine",
            f"i do not care , {value} {name}",
            f"the {name} does not matter , {value} is good",
        )
        user["request"][slot] = (f"what is the {name} ?", f"can you tell me the {name} ?")
        agent["request"][slot] = (f"Which {name}?", f"What {name} would you like?")
        agent["inform"][slot] = (f"The {name} is {value}.", f"The {name}: {value}.")
        agent["confirm"][slot] = (
            f"The {name} is {value}, right?",
            f"You said {name} {value}?",
        )
    return Phrases(user, agent)
