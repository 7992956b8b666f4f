"""Errors that a user can act on."""


class InputError(Exception):
    """Bad input: the message says what is wrong, where, and what to do.

    Commands print the message alone, without a traceback, and exit with status 2 (`sampath_jax.cli.run`).
    """


class StoppedElsewhere(InputError):
    """Another process of the run has met bad input and says so: this one ends silently, with that status."""
