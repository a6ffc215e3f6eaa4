"""The command line imports every command for its help, so importing one must be quick."""

import subprocess
import sys

import pytest

HEAVY = ("gymnasium", "numba", "numpy", "rich", "torch", "tyro")


@pytest.mark.parametrize("name", ["domain", "gtp", "inspect", "match", "play"])
def test_a_command_imports_nothing_heavy(name: str) -> None:
    code = f"import sys, fathom.commands.{name}; print(*({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["domain", "gtp", "inspect", "match", "play"])
def test_a_command_says_how_it_is_used(name: str) -> None:
    import importlib

    module = importlib.import_module(f"fathom.commands.{name}")
    assert module.USAGE.split()[0] == name
    assert (module.__doc__ or "").splitlines()[0].endswith(".")
    assert callable(module.run)
