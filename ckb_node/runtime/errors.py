"""What commands fail with."""


class CommandError(Exception):
    """A command cannot do what it was asked for, or not all of it; one line that a person can read."""
