"""Settings for all tests."""

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# How long an example takes says nothing on a machine that does other things too.
settings.register_profile("fathom", deadline=None)
settings.load_profile("fathom")

# For networks this small a second thread costs more than it brings, most of all on a busy machine.
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Where there is all that compiling needs, code of ours that cannot be compiled is an error.

    The key that signs runs is not the user's own.
    """
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="fathom-tests-")
    if shutil.which("g++") and Path(sysconfig.get_path("include"), "Python.h").is_file():
        config.addinivalue_line("filterwarnings", "error:compiling fails:UserWarning")
