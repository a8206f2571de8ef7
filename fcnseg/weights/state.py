"""Weights from a file, read without running anything in it, and loaded strictly."""

import os
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fcnseg.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of floating-point weights that are read; float8 and smaller stand for scaled numbers."""

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)
_NAMES_SHOWN = 3
_LONGEST_SHOWN = 100


def read_state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors``, ``.pth`` or ``.pt`` file by name, on the CPU.

    A pickle is read by torch's restricted loader only: anything but tensors and plain containers
    is refused and nothing in the file is executed. ``.bin``, the name of pickles on the Hugging
    Face hub, is one too. A dictionary that holds the tensors one level down, under
    ``state_dict``, ``model_state_dict`` or ``model``, is unwrapped. Memory is taken for what the
    file holds, not for what its shapes claim: a tensor may be an expanded view.

    Raises :class:`WeightsError` if the file is missing, damaged, of another kind or refused.
    """
    path = Path(path)
    pickles = dict.fromkeys((".pth", ".pt", ".bin"), read_pickle)
    reader = {".safetensors": _read_safetensors, **pickles}.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: expected a .safetensors, .pth or .pt file of weights")
    return named_tensors(path, reader(path))


def check_file(path: Path) -> None:
    """Raise :class:`WeightsError` unless ``path`` is a file."""
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file; check the path")


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: object) -> None:
    """Copy ``state`` into ``module``: every name, every shape, finite numbers, or nothing.

    ``source`` names the origin in messages. The counters ``num_batches_tracked`` may be missing,
    since files older than them are in use and inference does not read them. Floats are those of
    :data:`FLOATS`. Types are converted (float16 to float32), but not between integers and floats,
    and numbers have to be finite in the type that ``module`` holds them in.

    Raises :class:`WeightsError` with the counts and the first names of what does not fit; the
    module is unchanged then.
    """
    own = module.state_dict()
    check_fits(own, state, source)
    module.load_state_dict({n: state.get(n, own[n]) for n in own}, strict=True)


def check_fits(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: object) -> None:
    """Raise the errors of :func:`load_into` for a module whose state dict is ``own``."""
    counters = {n for n in own if n.rpartition(".")[2] == "num_batches_tracked"}
    missing = [n for n in own if n not in state and n not in counters]
    unexpected = [shown(n) for n in state if n not in own]
    both = [n for n in own if n in state]
    reshaped = [
        f"{n}: {_sides(state[n])} in the file, {_sides(own[n])} in the network"
        for n in both
        if state[n].shape != own[n].shape
    ]
    retyped = [
        f"{n}: {state[n].dtype} in the file, {own[n].dtype} in the network"
        for n in both
        if state[n].dtype not in (FLOATS if own[n].is_floating_point() else _INTEGERS)
    ]
    faults = [
        _counted(names, kind)
        for names, kind in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (reshaped, "of another shape"),
            (retyped, "of another type"),
        )
        if names
    ]
    if faults:
        raise WeightsError(
            f"{source}: does not fit this network of {len(own)} tensors: {', '.join(faults)}; "
            "use weights of the same architecture and number of classes"
        )
    # In the network's type: what float64 holds may be infinite in float32.
    broken = [n for n in both if not bool(torch.isfinite(state[n].to(own[n].dtype)).all())]
    if broken:
        kind = str(own[broken[0]].dtype).removeprefix("torch.")
        raise WeightsError(
            f"{source}: NaN or infinity in {_counted(broken, 'tensors')} as {kind}; "
            "use weights from before the training diverged"
        )


def shown(name: str) -> str:
    """A name out of an untrusted file, fit for a message: itself if printable and short.

    Otherwise its first 100 characters in quotes, escaped.
    """
    if name.isprintable() and len(name) <= _LONGEST_SHOWN:
        return name
    return ascii(name[:_LONGEST_SHOWN]) + "..." * (len(name) > _LONGEST_SHOWN)


def _sides(tensor: Tensor) -> str:
    return shown(str(tuple(tensor.shape)))


def _counted(names: Sequence[str], kind: str) -> str:
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)} {kind} ({', '.join(names[:_NAMES_SHOWN])}{more})"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_file(path)
    try:
        return load_file(path, device="cpu")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise WeightsError(
            f"{path}: not a whole safetensors file ({one_line(error)}); fetch or save it again"
        ) from None


def read_pickle(
    path: Path, allowed: Sequence[tuple[Callable, str]] = (), encoding: str = "utf-8"
) -> Any:
    """What ``torch.save`` wrote to ``path``, read by torch's restricted loader, on the CPU.

    Beside tensors and plain containers the file may name the functions and classes of
    ``allowed``, pairs of what is called and the name it has in the file. Texts that Python 2
    wrote are in ``encoding``.

    Raises :class:`WeightsError` if the file is missing, damaged or refused.
    """
    check_file(path)
    try:
        _refuse_zip_bomb(path)
        with warnings.catch_warnings():
            # What the loader thinks of a file's pickle protocol is of no use to its reader.
            warnings.simplefilter("ignore")
            with torch.serialization.safe_globals(list(allowed)):
                return torch.load(path, map_location="cpu", weights_only=True, encoding=encoding)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise WeightsError(f"{path}: refused: it claims more memory than there is") from None
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise _damaged(path, error) from None
        raise WeightsError(
            f"{path}: refused: it is damaged, or holds more than tensors and plain containers "
            "(nothing in it was run); convert it to safetensors where you trust it"
        ) from None
    # Damaged bytes make the loaders fail in every way that Python has, assertions included.
    except Exception as error:
        raise _damaged(path, error) from None


def _refuse_zip_bomb(path: Path) -> None:
    """torch stores its archive members as they are; one that grows when read is not its own."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
    with zipfile.ZipFile(path) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    if claimed > size:
        raise WeightsError(
            f"{path}: refused: {size} bytes that unpack to {claimed}; torch.save compresses nothing"
        )


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path}: truncated, or not a file of torch.save ({one_line(error)}); "
        "fetch or save it again"
    )


def one_line(error: BaseException) -> str:
    """At most 100 characters of a message that may go on for a page and quote an unread file."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 100 else text[:97] + "..."


def named_tensors(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, or of a dictionary that holds one as :func:`read_state` says.

    Raises :class:`WeightsError` for anything else; ``path`` names its origin.
    """
    if isinstance(content, Mapping) and not _is_state(content):
        inner = [content[key] for key in _WRAPPERS if _is_state(content.get(key))]
        content = inner[0] if inner else content
    if not _is_state(content):
        found = type(content).__name__
        if isinstance(content, Mapping):
            keys = [k if isinstance(k, str) else type(k).__name__ for k in content]
            found = _counted([ascii(key[:_LONGEST_SHOWN]) for key in keys], "entries")
        raise WeightsError(
            f"{path}: expected a dictionary of names and dense tensors, got {found}; "
            "save model.state_dict()"
        )
    # What DataParallel and its kin put before every name.
    wrapped = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(wrapped): tensor.detach() for name, tensor in content.items()}


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(n, str) and _is_dense(t) for n, t in content.items())
    )


def _is_dense(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )
