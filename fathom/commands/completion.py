"""A script that completes Fathom's command line in a shell, e.g. source <(fathom completion bash)."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from fathom.arguments import asks_for_help, parse
from fathom.errors import FathomError, printable
from fathom.runs.options import STRICT

USAGE = "completion SHELL"


@dataclass(frozen=True, config=STRICT)
class CompletionFlags:
    """Print the script for bash, zsh or fish.

    bash: source <(fathom completion bash)        in ~/.bashrc
    zsh:  source <(fathom completion zsh)         in ~/.zshrc, after compinit
    fish: fathom completion fish | source         in ~/.config/fish/config.fish
    """


def run(words: list[str]) -> int:
    """Print a script, or what the script asks for."""
    from fathom.completing import SHELLS, completions

    if words[:1] == ["words"]:
        from fathom.commands import command_module, command_names

        for word in completions(words[1:], command_names(), command_module):
            print(printable(word))
        return 0
    if asks_for_help(words):
        parse(CompletionFlags(), ["--help"], "fathom completion SHELL")
    if len(words) != 1 or words[0] not in SHELLS:
        raise FathomError(
            f"completion is there for {', '.join(SHELLS)}, as in `source <(fathom completion bash)`"
        )
    print(SHELLS[words[0]], end="")
    return 0
