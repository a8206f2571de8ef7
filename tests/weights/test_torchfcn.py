"""State dicts and checkpoints of pytorch-fcn, as it and Python 2 wrote them."""

import collections
import os
import pickle
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fcnseg.errors import WeightsError
from fcnseg.weights.state import read_state
from fcnseg.weights.torchfcn import _scalar, _Type, read_torchfcn

KINDS = ("?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d")


def checkpoint(**more: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    net = nn.Conv2d(3, 4, 1)
    optimizer = torch.optim.SGD(net.parameters(), 1e-10, 0.99)
    return {
        "epoch": 3,
        "iteration": np.int64(80_000),
        "arch": "FCN8s",
        "optim_state_dict": optimizer.state_dict(),
        "model_state_dict": net.state_dict(),
        "best_mean_iu": np.float64(0.6549),
        **more,
    }


def save(path: Path, content: Any, old: bool = False, module: Any = pickle) -> Path:
    new = not old
    torch.save(content, path, pickle_module=module, _use_new_zipfile_serialization=new)
    return path


class _Python2(pickle._Pickler):
    """Writes texts and bytes alike, as Python 2 did, and NumPy's old names."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_text(self, value: Any) -> None:
        data = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(value)

    def save_global(self, value: Any, name: str | None = None) -> None:
        if getattr(value, "__module__", "") == "numpy._core.multiarray":
            self.write(b"cnumpy.core.multiarray\nscalar\n")
            self.memoize(value)
        else:
            super().save_global(value, name)

    dispatch[str] = dispatch[bytes] = save_text
    dispatch[types.FunctionType] = dispatch[types.BuiltinFunctionType] = save_global


python2 = types.SimpleNamespace(
    Pickler=_Python2,
    dump=lambda value, file, protocol: _Python2(file, protocol).dump(value),
    __name__="python2",
)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.pth.tar", "A.PTH.TAR"])
@pytest.mark.parametrize("old", [True, False])
def test_checkpoints_with_numpy_scalars(tmp_path: Path, name: str, old: bool) -> None:
    written = checkpoint()
    before = set(torch.serialization.get_safe_globals())
    tensors, arch = read_torchfcn(save(tmp_path / name, written, old))
    assert set(torch.serialization.get_safe_globals()) == before  # allowed for that load alone
    assert arch == "FCN8s"
    state = written["model_state_dict"]
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[n], state[n]) for n in state)


def test_what_python_2_wrote(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth.tar", checkpoint(), old=True, module=python2)
    data = path.read_bytes()
    assert b"cnumpy.core.multiarray\nscalar\n" in data
    assert np.float64(0.6549).tobytes() in data  # bytes that are no UTF-8
    tensors, arch = read_torchfcn(path)
    assert sorted(tensors) == ["bias", "weight"]
    assert arch == "FCN8s"


def test_a_state_dict_says_no_network(tmp_path: Path) -> None:
    state = checkpoint()["model_state_dict"]
    for name in ("a.pth", "a.safetensors"):
        path = tmp_path / name
        if name.endswith("s"):
            from safetensors.torch import save_file

            save_file(state, path)
        else:
            save(path, state)
        tensors, arch = read_torchfcn(path)
        assert sorted(tensors) == ["bias", "weight"]
        assert arch is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", "<>")
def test_numbers_are_numpy_s(kind: str, order: str) -> None:
    written = np.array(7 / 4).astype(np.dtype(order + kind))
    _, arguments, state = written.dtype.__reduce__()
    own = _Type(*arguments)
    own.__setstate__(state)
    assert _scalar(own, written.tobytes()) == written[()]


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(
    "hostile",
    [
        lambda marker: Call(os.system, f"touch {marker}"),
        lambda marker: Call(eval, f"open({str(marker)!r}, 'w')"),
        lambda marker: Call(np.save, str(marker), 1),
        lambda marker: Call(np.fromfile, str(marker)),
        lambda marker: Call(np.ndarray, (3,)),
        lambda marker: np.zeros(3),
        lambda marker: np.str_("text"),
        lambda marker: np.datetime64(3, "s"),
        lambda marker: np.array([(1, 2.0)], "i4,f4")[0],
        lambda marker: Call(np.dtype, "O"),
        lambda marker: Call(np.dtype, "V4000000000"),
        lambda marker: Call(np.dtype, [("a", "O")]),
        lambda marker: Call(np._core.multiarray.scalar, np.dtype("f8"), b"short"),
        lambda marker: Call(np._core.multiarray.scalar, np.dtype("f8")),
        lambda marker: Call(np._core.multiarray.scalar, "f8", b"12345678"),
        lambda marker: collections.Counter("ab"),
        lambda marker: Path(marker),
    ],
)
def test_anything_else_is_refused_and_not_executed(tmp_path: Path, hostile: Any, old: bool) -> None:
    marker, path = tmp_path / "executed", tmp_path / "a.pth.tar"
    save(path, checkpoint(best_mean_iu=hostile(marker)), old)
    if isinstance(hostile(marker), collections.Counter):  # torch itself allows these
        read_torchfcn(path)
        return
    with pytest.raises(WeightsError) as caught:
        read_torchfcn(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_plain_state_dicts_get_no_numpy(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", checkpoint())
    with pytest.raises(WeightsError, match="refused"):
        read_state(path)


@pytest.mark.parametrize("old", [True, False])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, old: bool) -> None:
    path = save(tmp_path / "a.pth.tar", checkpoint(), old)
    whole = path.read_bytes()
    # zip archives may end in bytes that say nothing
    lengths = range(0, len(whole) - (0 if old else 64), 7 if old else 13)
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError) as caught:
            read_torchfcn(path)
        assert "\n" not in str(caught.value)


def test_a_storage_that_claims_a_billion_numbers_is_refused(tmp_path: Path) -> None:
    for old in (True, False):
        path = save(tmp_path / "a.pth.tar", {"weight": torch.zeros(70_000)}, old)
        data = path.read_bytes()
        count = b"J" + (70_000).to_bytes(4, "little")
        assert count in data
        path.write_bytes(data.replace(count, b"J" + (10**9).to_bytes(4, "little")))
        with pytest.raises(WeightsError):
            read_torchfcn(path)


def test_an_archive_that_grows_is_refused(tmp_path: Path) -> None:
    plain, bomb = tmp_path / "plain.pth.tar", tmp_path / "bomb.pth.tar"
    save(plain, checkpoint(extra=torch.zeros(1 << 20)))
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(WeightsError, match=r"refused: .* bytes that unpack to"):
        read_torchfcn(bomb)


def test_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.npz: expected a \.pth, \.pt, \.pth\.tar or"):
        read_torchfcn(tmp_path / "a.npz")
    for name in ("a.pth.tar", "a.safetensors"):
        with pytest.raises(WeightsError, match="there is no such file"):
            read_torchfcn(tmp_path / name)
    with pytest.raises(WeightsError, match=r"expected a dictionary of names and dense tensors"):
        read_torchfcn(save(tmp_path / "a.pth", {"model_state_dict": 3, "arch": "FCN8s"}))
