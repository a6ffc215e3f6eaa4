"""How are the ordinary lines of a file heard by the agent of a domain?

    python benchmarks/conversation.py LINES.tsv [--domain movie] [--verbose]

A file has a header and three columns between tabs: what the agent said last ("(first line)", "request SLOT",
"confirm SLOT=VALUE", "inform SLOT=VALUE", "no_match"), the line that a person types, and how it should be heard: acts between
semicolons, such as "inform tickets=2, city=Boston", "request time; inform movie=Low Tide", "deny; inform
city=Chicago", "affirm", "deny", "bye", or "(not understood, or asked back)".

A line is right if it is heard as the file says; where the agent should ask back, if it is not understood or
heard with a confidence below 0.95, from which agents do not ask to confirm. Else it is not understood or wrong;
"wrong and sure" are the wrong ones with a confidence of 0.95 or more. Intervals are Wilson's, at 95 %. The
understanding is the one of `fathom play`: fitted to the domain's phrases, and kept in the user's cache folder.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

from envs.dialogue.domain import Domain
from envs.dialogue.domains import load_domain
from envs.dialogue.frames import AgentFrame, Frame
from fathom.play.listening import SURE, Listener
from fathom.play.understanding import understanding_for
from fathom.statistics import wilson_interval

OUTCOMES = ("right", "not understood", "wrong", "wrong and sure")


def agent_frame(text: str) -> AgentFrame | None:
    """What the agent said last, from the first column; None before its first act."""
    kind, _, about = text.partition(" ")
    slot, _, value = about.partition("=")
    if kind == "request":
        return AgentFrame("request", slot)
    if kind in ("confirm", "inform"):
        return AgentFrame("confirm" if kind == "confirm" else "inform", slot, value)
    return AgentFrame("no_match") if kind == "no_match" else None


def expected(text: str) -> Frame | None:
    """The frame that the third column describes; None where the agent should ask back."""
    if text.startswith("("):
        return None
    act, request, informs = "inform", None, {}
    for part in text.split(";"):
        word, _, rest = part.strip().partition(" ")
        if word == "inform":
            pairs = (pair.partition("=") for pair in rest.split(","))
            informs = {slot.strip(): value.strip() for slot, _, value in pairs if value}
        elif word == "request":
            act, request = "request", rest.strip()
            informs.pop(request, None)
        else:
            act = word
    return Frame(act, request, informs)


def outcome(listener: Listener, last: str, line: str, meaning: str) -> tuple[str, str]:
    """How a line is heard, one of `OUTCOMES`, and the frame that was heard with its confidence."""
    heard, meant = listener.hear(line, agent_frame(last)), expected(meaning)
    sure = heard is not None and heard.confidence >= SURE
    shown = "–" if heard is None else f"{heard.confidence:.2f} {heard.frame}"
    if (meant is None and not sure) or (heard is not None and heard.frame == meant):
        return "right", shown
    if heard is None:
        return "not understood", shown
    return ("wrong and sure" if sure else "wrong"), shown


def read(path: Path) -> list[list[str]]:
    """The rows of a file of lines, without its header."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row for row in rows[1:] if row]


def listener_for(name: str) -> Listener:
    """What `fathom play` hears with in a domain."""
    domain: Domain = load_domain(name)
    return Listener(domain, understanding_for(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lines", type=Path)
    parser.add_argument("--domain", default="movie")
    parser.add_argument("--verbose", action="store_true", help="print the lines not heard rightly")
    flags = parser.parse_args()
    rows, listener = read(flags.lines), listener_for(flags.domain)
    counts: Counter[str] = Counter()
    for last, line, meaning in rows:
        result, shown = outcome(listener, last, line, meaning)
        counts[result] += 1
        if flags.verbose and result != "right":
            print(f"{result:15} {last:22} {line!r}: {shown}, not {meaning}")
    counts["wrong"] += counts["wrong and sure"]
    for name in OUTCOMES:
        low, high = wilson_interval(counts[name], len(rows))
        share = counts[name] / max(1, len(rows))
        print(f"{name} {100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    print(f"{len(rows)} lines")


if __name__ == "__main__":
    main()
