"""What people say, in words: how text is cut into tokens, when two texts are the same value, and
the phrases of a domain with their defaults.

A phrase is lower-case or not, as one likes, with `{slot}` where a value goes. Whoever reads values
compares their keys: "7:30PM" and "7:30 pm", "Two" and "2", "Sci-Fi" and "sci-fi" are the same.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

USER_ACTS = ("inform", "any", "request", "affirm", "deny", "bye", "unclear")
"""Of the `phrases` of a user; "any" says of a slot that it does not matter."""
AGENT_ACTS = ("request", "inform", "confirm", "no_match", "book")
"""Of the `phrases` of an agent."""
ABOUT_A_SLOT = {
    "user": ("inform", "any", "request"),
    "agent": ("request", "inform", "confirm"),
}
"""The acts whose phrases are given slot by slot."""

ANY_WORDS = ("any", "whatever", "whichever")
"""What stands in place of a value where a slot does not matter."""
RESERVED = (*ANY_WORDS, "unknown")
"""What no value may be called: "unknown" is what an agent says of what its row lacks."""

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Number n is said as word n."""

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

_TOKEN = re.compile(r"\d+(?:[:.,]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*|\S")
_DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)}


def tokens_of(text: str) -> list[str]:
    """Lower-case words, numbers and signs, in order; "7:30pm" is two tokens, "sci-fi" is one."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


@lru_cache(maxsize=2**16)
def key_of(text: str) -> str:
    """What all spellings of a value share; "" where there is no word at all."""
    return " ".join(_DIGITS.get(token, token) for token in tokens_of(text))


def placeholders(phrase: str) -> list[str]:
    """The slots that a phrase mentions, in order."""
    return PLACEHOLDER.findall(phrase)


@dataclass(frozen=True)
class Phrases:
    """Act → slot → phrases, for every act and slot; acts about no slot have the slot ""."""

    user: dict[str, dict[str, tuple[str, ...]]]
    agent: dict[str, dict[str, tuple[str, ...]]]


def default_phrases(slots: tuple[str, ...]) -> Phrases:
    """What a domain file need not say: a plain phrase or more for each act and slot."""
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
        message, value = slot.replace("_", " "), "{" + slot + "}"
        user["inform"][slot] = (
            f"the {message} should be {value}",
            f"{value} for the {message}",
            f"i want {value} as {message}",
        )
        user["any"][slot] = (
            f"{value} {message} will do",
            f"{value} {message} is fine",
            f"i do not care , {value} {message}",
            f"the {message} does not matter , {value} is good",
        )
        user["request"][slot] = (f"what is the {message} ?", f"can you tell me the {message} ?")
        agent["request"][slot] = (f"Which {message}?", f"What {message} would you like?")
        agent["inform"][slot] = (f"The {message} is {value}.", f"The {message}: {value}.")
        agent["confirm"][slot] = (
            f"The {message} is {value}, right?",
            f"You said {message} {value}?",
        )
    return Phrases(user, agent)
