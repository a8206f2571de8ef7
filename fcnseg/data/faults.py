"""Several faults in one error, so that a check can list all of them and not the first."""

from collections.abc import Sequence

from fcnseg.errors import DataError


class DataFaults(DataError):
    """One or more faults of a data set; ``faults`` has a one-line message for each.

    As text it is the messages joined by ``"; also "``, which stays one line.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; also ".join(self.faults))

    def __reduce__(self) -> tuple[type["DataFaults"], tuple[tuple[str, ...]]]:
        return type(self), (self.faults,)


def faults_of(error: DataError) -> tuple[str, ...]:
    """Return the one-line messages of an error, one for each fault."""
    return error.faults if isinstance(error, DataFaults) else (str(error),)


def raise_faults(faults: Sequence[str]) -> None:
    """Raise one :class:`DataError` that has every message, if there are any."""
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        raise DataFaults(faults)


def first_names(names: Sequence[str], count: int = 3) -> str:
    """Return ``"a, b, c and 4 more"``."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
