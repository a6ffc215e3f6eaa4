"""Train an agent, e.g. fathom train dqn ALE/Pong-v5 --seed 1 --name pong."""

from __future__ import annotations

import dataclasses
import functools

from pydantic.dataclasses import dataclass

from fathom.arguments import (
    asks_for_help,
    parse,
    parse_with_config,
    path_in,
    prefixed_arguments,
    split_positional,
)
from fathom.errors import FathomError
from fathom.runs.options import STRICT, TrainOptions
from fathom.streams import quiet

USAGE = "train AGENT ENV [flags]"
HELP = """`fathom list` names the agents and environments. `fathom train AGENT ENV --help` adds the
hyperparameters of that agent, with the values that will be used in that environment."""


@dataclass(frozen=True, config=STRICT)
class TrainFlags(TrainOptions):
    """The run."""

    ray: str | None = None
    """Address of a Ray cluster that searches the groups of alphago's games, such as auto or ray-head:6379."""
    json: bool = False
    """Print one JSON object on standard output, and progress on standard error."""


def run(words: list[str]) -> int:
    """Train a new run to its end."""
    words, env_args = prefixed_arguments(words, "env")
    with quiet("--json" in words) as out:
        from agents import AGENTS

        given, rest = split_positional(words, [TrainFlags])
        for word in AGENTS.keys() & set(words):  # which flags take a value depends on the agent
            from fathom.runs.agent_learner import agent_class

            positional, flags_then = split_positional(words, [TrainFlags, agent_class(word).Config])
            if positional[:1] == [word]:
                given, rest = positional, flags_then
        if not given and asks_for_help(words):
            parse(TrainFlags(), ["--help"], "fathom train AGENT ENV", out, HELP)
        if not given or (len(given) < 2 and not asks_for_help(words)):
            raise FathomError(
                "train needs an agent and an environment, as in `fathom train dqn ALE/Pong-v5`"
            )
        from fathom.commands._training import train_and_report
        from fathom.display import Display
        from fathom.environments import resolve
        from fathom.runs.cluster import workers_at
        from fathom.runs.launcher import (
            defaults_for,
            known_agent,
            new_training,
            removing_unsuitable,
        )
        from fathom.runs.runner import learner_of
        from fathom.runs.trained_run import open_run

        agent = known_agent(given[0])
        environment = resolve(given[1], env_args, open_run) if len(given) > 1 else None
        reference = None if environment is None else environment.reference
        defaults = defaults_for(agent, reference, TrainFlags, path_in(rest, "--preset"))
        prog = " ".join(["fathom train", *given[:2], *(["ENV"] if len(given) < 2 else [])])
        flags, config = parse_with_config(
            defaults.options,
            defaults.config,
            agent,
            [*given[2:], *rest],
            prog,
            out,
            "The environment's own arguments follow as --env.NAME VALUE.",
        )
        assert environment is not None  # `parse` has printed the help
        display = Display(stderr=flags.json)
        chosen = dataclasses.replace(defaults, options=flags, config=config)
        with workers_at(flags.ray, agent, flags.threads, display.message) as workers:
            new = new_training(agent, environment, chosen, display.message)
            learner = functools.partial(learner_of, workers=workers)
            with removing_unsuitable(new):
                return train_and_report(new, display, flags.json, out, learner)
