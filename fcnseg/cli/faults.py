"""From an exception to an exit code and one line."""

from fcnseg.errors import FcnsegError

_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation")


def exit_code_and_line(error: BaseException) -> tuple[int, str]:
    """The exit code for ``error`` and the line for stderr; re-raises what is a bug."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return 130, "error: interrupted"
    if isinstance(error, BrokenPipeError):
        return 141, ""  # the reader of our output has gone, as in `fcnseg models | head`
    if isinstance(error, FcnsegError):
        return error.exit_code, f"error: {text}"
    if _is_out_of_memory(error):
        reason = text.split(". ")[0] or "the system has no more"
        return 5, (
            f"error: out of memory ({reason}); lower --batch-size or --crop-size, or choose a "
            "smaller --backbone"
        )
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 5, f"error: {where}{error.strerror or text}"
    raise error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY)
