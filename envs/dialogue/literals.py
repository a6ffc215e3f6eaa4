"""TC-Bot's files as Python 2 wrote them: dictionaries as text, read as literals and never run."""

import ast
import re
from pathlib import Path

from envs.dialogue.domain import DomainError

MOST_BYTES = 8_000_000
"""The largest of TC-Bot's files has 250,000."""


def read_text(path: Path) -> str:
    """A file's text; DomainError where it is missing, too large or no text."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DomainError(f"{path} has more than {MOST_BYTES // 10**6} MB")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise DomainError(f"{path} is missing or no text in UTF-8") from None


def read_table(path: Path) -> object:
    """What the one literal of a file says; DomainError where it is none.

    The numbers of rows may be Python 2's, 17L, and the file may lack its opening brace, as the published
    one does.
    """
    text = read_text(path).strip()
    text = re.sub(r"(?<=[{ ])(\d+)L(?=: \{)", r"\1", text if text[:1] == "{" else "{" + text)
    return _literal(text, f"{path}:1")


def read_lines(path: Path) -> list[tuple[str, object]]:
    """Every line's literal, after the place where it stands, "file:line"; DomainError where one is none."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    places = [(f"{path}:{number}", line) for number, line in lines if line.strip()]
    return [(place, _literal(line, place)) for place, line in places]


def _literal(text: str, place: str) -> object:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise DomainError(f"{place}: this is no Python literal") from None
