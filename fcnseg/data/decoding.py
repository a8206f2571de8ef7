"""What goes wrong while an image file is opened and decoded, as one line about the file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fcnseg.errors import DataError, EnvironmentFault


@contextlib.contextmanager
def faults_of(path: str | Path) -> Iterator[None]:
    """Report whatever is raised in the block as a fault of the file at ``path``.

    Raises:
        DataError: the file is missing, a folder, not to be read, or its bytes are damaged. One
            that is raised in the block passes as it is.
        EnvironmentFault: there is not enough memory.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected an image file") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read (permission denied)") from None
    except MemoryError:
        raise EnvironmentFault(f"{path}: too large for this machine's memory") from None
    except Exception as error:  # decoders raise almost anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be decoded ({reason}); copy or save it again") from error
