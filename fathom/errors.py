"""The one kind of error that Fathom explains to its user."""


class FathomError(Exception):
    """Something the user can act on, said in one clear sentence."""
