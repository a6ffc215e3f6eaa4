"""Settings for all tests."""

from hypothesis import settings

# How long an example takes says nothing on a machine that does other things too.
settings.register_profile("fathom", deadline=None)
settings.load_profile("fathom")
