"""Names of a board's points as in GTP: "A1" is at the bottom left."""

COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
"""The names of the columns from the left; there is no I."""


def vertex(action: int, size: int) -> str:
    """Return the name of an action, such as "D4" or "pass"."""
    if action == size * size:
        return "pass"
    row, column = divmod(action, size)
    return f"{COLUMNS[column]}{size - row}"


def action_at(name: str, size: int) -> int:
    """Return the action with a name, in upper or lower case.

    Raises:
        ValueError: there is no such point.
    """
    text = name.strip().upper()
    if text == "PASS":
        return size * size
    column, number = COLUMNS[:size].find(text[:1]), text[1:]
    if text and column >= 0 and number.isascii() and number.isdecimal() and len(number) < 3:
        row = size - int(number)
        if 0 <= row < size:
            return row * size + column
    shown = " ".join(name.split())[:80]
    raise ValueError(f"{shown!r} is no point of a {size}×{size} board")
