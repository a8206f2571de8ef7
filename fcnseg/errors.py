"""Errors that a person can act on, each with the exit code the command line ends with.

A message is one line: what was expected, what was got and what to do about it, starting with
the file or the flag it is about. Tracebacks are for bugs; these are for people.
"""


class FcnsegError(Exception):
    """Base of every error that fcnseg raises on purpose."""

    exit_code = 1


class UsageError(FcnsegError, ValueError):
    """A flag, a configuration key or an argument of a library call is wrong (exit 2)."""

    exit_code = 2


class DataError(FcnsegError):
    """An image, a mask or the layout of a data set is wrong (exit 3)."""

    exit_code = 3


class WeightsError(FcnsegError):
    """A weight file or a checkpoint is missing, damaged or does not fit (exit 4)."""

    exit_code = 4


class EnvironmentFault(FcnsegError):
    """The disk, the memory or a process failed (exit 5)."""

    exit_code = 5


class NumericError(FcnsegError):
    """NaN or infinity where numbers were expected (exit 6)."""

    exit_code = 6


class Interrupted(FcnsegError):
    """A signal asked the process to end: exit 128 + its number.

    129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM.
    """

    exit_code = 143

    def __init__(self, message: str = "interrupted", exit_code: int = 143) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class AlreadySaid(FcnsegError):
    """This process ends for a reason that another process of the same training prints.

    The command line ends with ``exit_code`` and prints nothing.
    """

    exit_code = 5

    def __init__(self, message: str, exit_code: int = 5) -> None:
        super().__init__(message)
        self.exit_code = exit_code
