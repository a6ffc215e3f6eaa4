"""TC-Bot's files in Python 2's notation: dictionaries as text, parsed as literals and never executed."""

import ast
import re
from pathlib import Path

from envs.dialogue.domain import DomainError

MOST_BYTES = 8_000_000
"""The largest of TC-Bot's files has 250,000."""


def read_text(path: Path) -> str:
    """Return a file's text; DomainError if it is missing, too large or no text."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DomainError(f"{path} has more than {MOST_BYTES // 10**6} MB")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise DomainError(f"{path} is missing or no text in UTF-8") from None


def read_table(path: Path) -> object:
    """Return the value of a file's literal; DomainError if it is none.

    Row numbers may be Python 2's, such as 17L, and the opening brace may be missing, as in the published
    file.
    """
    text = read_text(path).strip()
    text = re.sub(r"(?<=[{ ])(\d+)L(?=: \{)", r"\1", text if text[:1] == "{" else "{" + text)
    return _literal(text, f"{path}:1")


def read_lines(path: Path) -> list[tuple[str, object]]:
    """Return each line's place, "file:line", and literal; DomainError if a line is none."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    places = [(f"{path}:{number}", line) for number, line in lines if line.strip()]
    return [(place, _literal(line, place)) for place, line in places]


def _literal(text: str, place: str) -> object:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise DomainError(f"{place}: this is no Python literal") from None
