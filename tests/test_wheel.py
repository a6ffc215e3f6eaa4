"""The wheel holds all that Fathom needs, and says under which licences it is.

`make wheel-test` installs it with all dependencies on every Python that is supported.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "wheel_test", Path(__file__).parents[1] / "tools" / "wheel_test.py"
)
assert _spec is not None
wheel_test = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(wheel_test)  # type: ignore[union-attr]


@pytest.mark.skipif(importlib.util.find_spec("build") is None, reason="there is no `build`")
def test_the_wheel_works_away_from_the_source(capfd: pytest.CaptureFixture[str]) -> None:
    code = wheel_test.main(["--reuse", sys.executable])
    assert code == 0, capfd.readouterr().err
    assert "installed and used" in capfd.readouterr().out
