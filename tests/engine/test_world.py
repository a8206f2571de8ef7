"""Processes of a training: what they compute together, and how they end when one fails."""

import ctypes
import importlib.util
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import Ending, together
from torch import nn

from fcnseg.build import build_fcn
from fcnseg.engine import peers
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.world import World, _noticing, joined, with_common_statistics
from fcnseg.errors import DataError, EnvironmentFault, UsageError

LOST = r"error: torchrun: another process of this training was killed \(out of memory\?\) or lost"
BROKEN = "error: a.png: is broken; mend it"
CPU = torch.device("cpu")


def everything() -> dict[str, Any]:
    """What each method gives in this process."""
    before = torch.get_rng_state()
    with joined() as world:
        order = time.monotonic()
        with world.first():
            order = time.monotonic()
            time.sleep(0.2 * world.is_first)
        return {
            "world": (world.rank, world.size, world.local_rank, str(world.device)),
            "sum": world.sum(0.1, world.rank, 2**53),
            "array": world.sum_array(np.array([[world.rank, 2**60]], np.uint64)),
            "gather": world.gather({"rank": world.rank}),
            "share": world.share(["of", world.rank]),
            "order": order,
            "drew": not torch.equal(torch.get_rng_state(), before),
        }


def test_what_processes_tell_each_other() -> None:
    found = [ending.value for ending in together(everything, size=3)]
    assert [f["world"] for f in found] == [(rank, 3, rank, "cpu") for rank in range(3)]
    for each in found:
        assert each["sum"] == [pytest.approx(0.3, rel=1e-15), 3.0, 3 * 2.0**53]
        assert each["sum"] == found[0]["sum"]
        assert each["array"].dtype == np.int64
        assert each["array"].tolist() == [[3, 3 * 2**60]]
        assert each["gather"] == [{"rank": rank} for rank in range(3)]
        assert each["share"] == ["of", 0]
        assert not each["drew"]
    assert all(each["order"] >= found[0]["order"] + 0.2 for each in found[1:])


def joins_twice() -> list[float]:
    """When the block of the first begins in this process, in each of two trainings."""
    begun = []
    for _ in range(2):
        with joined() as world, world.first():
            begun.append(time.monotonic())
            time.sleep(0.3 * world.is_first)
    return begun


def test_the_first_goes_first_in_a_second_training_too() -> None:
    first, second = (ending.value for ending in together(joins_twice))
    for number in range(2):
        assert second[number] >= first[number] + 0.3


@pytest.mark.parametrize("name", ["peers", "world"])
def test_a_torch_without_distributed_is_enough_to_import(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for missing in ("Store", "PrefixStore", "GradBucket", "DistError"):
        monkeypatch.delattr(torch.distributed, missing)
    path = Path(peers.__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"again_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)


def test_a_killed_worker_is_not_taken_for_a_process_of_the_training() -> None:
    text = "DataLoader worker (pid 7) is killed by signal: Killed."
    with pytest.raises(RuntimeError, match=re.escape(text)), _noticing():
        raise RuntimeError(text)
    with pytest.raises(peers.PeerLost, match="Connection closed"), _noticing():
        raise RuntimeError("Connection closed by peer")


def test_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined() as world:
        assert world == World()
    assert world.is_first
    assert world.sum(1, 2.5) == [1.0, 2.5]
    counts, net = np.arange(3), nn.Linear(2, 2)
    assert world.sum_array(counts) is counts
    assert world.gather("a") == ["a"]
    assert world.share("a") == "a"
    assert world.wrap(net, CPU) is net
    with world.first(), world.deferring(net, last=False):
        world.agree(net)
        world.wait()
    assert not torch.distributed.is_initialized()


class Net(nn.Module):
    """A convolution, batch norm, and a layer on top."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))

    def forward(self, pixels_N3HW: torch.Tensor) -> torch.Tensor:
        score: torch.Tensor = self.layers(pixels_N3HW)
        return score


def batch(rank: int, number: int) -> torch.Tensor:
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(10 * rank + number))


def gradients(net: nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def two_batches_each() -> dict[str, Any]:
    """Gradients of a step of two batches in each process, and statistics after it."""
    with joined() as world:
        torch.manual_seed(world.rank)
        net = Net()
        wrapped = world.wrap(net, world.device)
        start = {name: value.clone() for name, value in net.state_dict().items()}
        for number in range(2):
            with world.deferring(wrapped, last=number == 1):
                wrapped(batch(world.rank, number)).square().sum().backward()
        found = {"start": start, "gradients": gradients(net)}
        world.agree(net)
        return {**found, "end": {name: value.clone() for name, value in net.state_dict().items()}}


def test_gradients_of_all_batches_are_summed() -> None:
    first, second = (ending.value for ending in together(two_batches_each))
    torch.manual_seed(0)
    alone = [Net(), Net()]
    alone[1].load_state_dict(alone[0].state_dict())
    for rank, net in enumerate(alone):
        for number in range(2):
            net(batch(rank, number)).square().sum().backward()
    expected = [a + b for a, b in zip(*map(gradients, alone), strict=True)]
    for found in (first, second):
        for got, want in zip(found["gradients"], expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
        for name, value in found["start"].items():
            assert torch.equal(value, first["start"][name])
        for name, value in found["end"].items():
            assert torch.equal(value, first["end"][name])
    for name, value in alone[0].state_dict().items():
        torch.testing.assert_close(first["end"][name], value)


def test_common_statistics_keep_names_numbers_and_activations() -> None:
    """Of a network whose batch norms hold activations, as timm's do, and drops in them."""
    net: nn.Module = build_fcn("efficientnet_lite0", "32s", 2).eval()
    with torch.no_grad():
        for value in (*net.parameters(), *net.buffers()):
            if value.is_floating_point() and value.ndim == 1:
                value.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, names = net(pixels), list(net.state_dict())
        parameters = [id(p) for p in net.parameters()]
        changed = with_common_statistics(net)
        assert torch.equal(changed(pixels), expected)
    kinds = [type(m) for m in changed.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(kinds) == 49
    assert all(issubclass(kind, nn.SyncBatchNorm) for kind in kinds)
    assert not any(module.training for module in changed.modules())
    assert list(changed.state_dict()) == names
    assert [id(p) for p in changed.parameters()] == parameters


def fails(how: str, rank: int) -> None:
    """Process ``rank`` fails in a way; the others wait for it."""
    with Interruption(), joined(timeout_s=2 if how == "hang" else 30) as world:
        if world.rank == rank or rank < 0:
            if how == "raise":
                raise DataError("a.png: is broken; mend it")
            if how == "bug":
                raise LookupError("no such thing")
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "hang":
                time.sleep(4)
            if how == "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
        world.wait()


def endings(how: str, rank: int, size: int = 2) -> list[Ending]:
    return together(fails, how, rank, size=size)


@pytest.mark.parametrize("rank", [0, 2])
def test_an_error_ends_all_and_is_said_once(rank: int) -> None:
    found = endings("raise", rank, size=3)
    assert found[rank] == Ending(None, 3, BROKEN)
    assert [f for i, f in enumerate(found) if i != rank] == [Ending(None, 5, "")] * 2


def test_the_same_error_in_all_is_said_once() -> None:
    found = endings("raise", -1, size=3)
    assert [f.code for f in found] == [3, 3, 3]
    assert sorted(f.line for f in found) == ["", "", BROKEN]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all(rank: int) -> None:
    found = endings("kill", rank)
    assert found[rank].code == -signal.SIGKILL
    other = found[1 - rank]
    assert other.code == 5
    assert re.match(LOST, other.line)


def test_a_process_that_does_not_answer() -> None:
    found = endings("hang", 1)
    assert found[0].code == 5
    assert "another process of this training does not answer" in found[0].line


def test_an_interruption_is_said_once() -> None:
    found = endings("terminate", -1, size=3)
    assert [f.code for f in found] == [143] * 3
    assert sorted(f.line for f in found) == ["", "", "error: interrupted by SIGTERM"]


@pytest.mark.parametrize("rank", [0, 1])
def test_an_interruption_of_one_is_that_of_all(rank: int) -> None:
    found = endings("terminate", rank)
    assert found[rank] == Ending(None, 143, "error: interrupted by SIGTERM")
    assert found[1 - rank] == Ending(None, 143, "")


def fails_first(rank: int, folder: Path) -> None:
    with joined(timeout_s=30) as world:
        with world.first():
            if world.rank == rank:
                raise DataError("a.png: is broken; mend it")
            (folder / str(world.rank)).touch()
        world.wait()


@pytest.mark.parametrize(("rank", "ran"), [(0, []), (1, ["0"])])
def test_a_failure_in_the_block_of_the_first_hangs_nobody(
    rank: int, ran: list[str], tmp_path: Path
) -> None:
    found = together(fails_first, rank, tmp_path)
    assert found[rank] == Ending(None, 3, BROKEN)
    assert found[1 - rank].code == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ran


def stuck(folder: Path) -> None:
    """Process 0 waits inside a library, where no Python runs, as process 1 fails."""
    peers._GRACE_AFTER_FAULT_S = 0.5
    with open(folder / str(os.environ["RANK"]), "w") as file:
        os.dup2(file.fileno(), 2)
    with joined(timeout_s=30) as world:
        if world.rank == 1:
            raise DataError("a.png: is broken; mend it")
        ctypes.CDLL(None).sleep(50)


def test_a_process_that_waits_in_a_library_is_ended(tmp_path: Path) -> None:
    found = together(stuck, tmp_path)
    assert found[1] == Ending(None, 3, BROKEN)
    assert found[0].code == 5


def test_torchrun_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    endings("raise", 1)
    told = json.loads((tmp_path / "error.json").read_text())["message"]
    assert told["message"] == told["extraInfo"]["py_callstack"] == BROKEN.removeprefix("error: ")


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    refused = r"torchrun: process 0 of 2 cannot join the others \(.*MASTER_ADDR.*\); check"
    with pytest.raises(EnvironmentFault, match=refused), joined():
        pass
    with pytest.raises(UsageError, match=r"--device meta: takes one process"), joined("meta"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    wrong = "WORLD_SIZE: expected a number from torchrun, got 'two'"
    with pytest.raises(UsageError, match=wrong), joined():
        pass
