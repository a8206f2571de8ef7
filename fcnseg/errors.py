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
