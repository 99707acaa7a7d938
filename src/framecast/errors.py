"""The two ways a command ends without success, both as one line and never as a traceback."""

AFFECTS_NUMBERS = False


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one line: which file, key or cell; what was found; what was allowed; what to do.
    """

    exit_code = 1


class NotFinished(Exception):
    """Training stopped in time (budget or signal) with a checkpoint on disk: run the command again."""

    exit_code = 75
