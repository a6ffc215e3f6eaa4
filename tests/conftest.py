"""Settings for all tests."""

import torch
from hypothesis import settings

# How long an example takes says nothing on a machine that does other things too.
settings.register_profile("fathom", deadline=None)
settings.load_profile("fathom")

# For networks this small a second thread costs more than it brings, most of all on a busy machine.
torch.set_num_threads(1)
