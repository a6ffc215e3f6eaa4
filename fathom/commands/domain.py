"""Check the file of a dialogue domain, e.g. fathom domain check tools.yaml."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse, split_positional
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT

USAGE = "domain check FILE"
_SHOWN = 60
"""Letters of the list of a slot's values."""


@dataclass(frozen=True, config=STRICT)
class DomainFlags:
    """Check the file of a dialogue domain, and show its slots and a dialogue of the rule agent."""

    seed: int = 0
    """Of the dialogue."""


def run(words: list[str]) -> int:
    """Print what a domain has; the first fault of its file is an error."""
    if asks_for_help(words):
        parse(DomainFlags(), ["--help"], f"fathom {USAGE}")
    given, rest = split_positional(words, [DomainFlags])
    if len(given) != 2 or given[0] != "check":
        raise FathomError("domain needs check and a file, as in `fathom domain check tools.yaml`")
    flags: DomainFlags = parse(DomainFlags(), rest, f"fathom domain check {given[1]}")
    from envs.dialogue.dialogue import Dialogue
    from envs.hooks import WorldError
    from fathom.play.spotting import kind_of

    try:
        env = Dialogue(given[1], split="test")
    except WorldError as error:
        raise FathomError(str(error)) from error
    domain = env.domain
    print(printable(f"{domain.name}: {domain.task}; {len(domain.rows):,} rows, {domain.digest()}"))
    for slot in domain.slots:
        values = ", ".join(slot.values)
        values = values if len(values) <= _SHOWN else values[:_SHOWN].rpartition(",")[0] + ", …"
        about = f"{len(slot.values):,} of kind {kind_of(slot.values)}"
        print(printable(f"  {slot.name}: {about}: {values}"))
    observation, _ = env.reset(seed=flags.seed)
    over = False
    while not over:
        observation, _, over, _, _ = env.step(int(env.expert_action(observation[None])[0]))
    print()
    for line in env.transcript()[".txt"].splitlines():
        print(printable(line))
    return 0
