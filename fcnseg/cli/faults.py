"""From an exception to an exit code and one line."""

from fcnseg.errors import AlreadySaid, FcnsegError

_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory", "bad allocation"),
    "CUBLAS_STATUS_ALLOC_FAILED",
)

# What makes a command need less memory.
_LESS_MEMORY = {
    "train": "lower --batch-size (and raise --accumulate as much) or --crop-size, or choose a "
    "smaller --backbone",
    "eval": "lower --batch-size",
    "heatmap": "lower --size or give a smaller photograph",
    "predict": "cut photographs into tiles (--tile 512, or a lower --tile), lower --batch-size, or "
    "choose --device cpu",
    "classify": "lower --scales, or choose --mode center",
    "train-classifier": "lower --batch-size (and raise --accumulate as much) or --image-size, or "
    "choose a smaller --backbone",
}


def exit_code_and_line(error: BaseException, command: str = "") -> tuple[int, str]:
    """The exit code for ``error`` and the line for stderr; re-raises what is a bug.

    ``command`` is the name of the command that failed, for advice that names its flags.
    """
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return 130, f"error: interrupted; {text}" if text else "error: interrupted"
    if isinstance(error, BrokenPipeError):
        return 141, ""  # the reader of our output has gone, as in `fcnseg models | head`
    if isinstance(error, AlreadySaid):
        return error.exit_code, ""
    if isinstance(error, FcnsegError):
        return error.exit_code, f"error: {text}"
    if _is_out_of_memory(error):
        sentences = text.split(". ")
        tried = [s.rstrip(".") for s in sentences[1:2] if s.startswith("Tried to ")]
        reason = ". ".join([sentences[0].rstrip("."), *tried]) or "the system has no more"
        remedy = _LESS_MEMORY.get(command, "close other programs or take a larger machine")
        return 5, f"error: out of memory ({reason}); {remedy}"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 5, f"error: {where}{error.strerror or text}"
    raise error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY)
