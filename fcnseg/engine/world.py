"""The processes of one training, started by torchrun: each computes a share of every batch.

Numbers and objects travel by gloo over the CPU. Gradients travel by NCCL where the network is on
GPUs, else by gloo; they are summed, not averaged.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fcnseg.devices import choose_device
from fcnseg.engine.peers import PeerLost, Peers
from fcnseg.errors import EnvironmentFault, UsageError

T = TypeVar("T")

_CPU = torch.device("cpu")
_JOINS = itertools.count(1)  # of this process; all processes join equally often


@dataclass(frozen=True)
class World:
    """One of ``size`` processes; ``World()`` is a process alone, and every method is then free.

    All processes call the same methods in the same order. Where another one fails or does not
    answer, they raise :class:`~fcnseg.engine.peers.PeerLost`, an ``EnvironmentFault``.

    Attributes:
        rank: 0 to ``size`` - 1; process 0 alone writes files and shows progress.
        size: how many there are, on all machines together.
        local_rank: the number among those of its machine, and of its GPU.
        device: where this process computes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device = _CPU
    _peers: Peers | None = field(default=None, repr=False, compare=False)

    @property
    def is_first(self) -> bool:
        """True for process 0."""
        return self.rank == 0

    def sum(self, *numbers: float) -> list[float]:
        """The sum of each number over all processes, in float64, the same on each."""
        if self._peers is None:
            return [float(number) for number in numbers]
        total = torch.tensor(numbers, dtype=torch.float64)
        with _noticing():
            dist.all_reduce(total)
        return total.tolist()

    def sum_array(self, counts: np.ndarray) -> np.ndarray:
        """The exact sum of integer arrays of one shape, int64, over all processes."""
        if self._peers is None:
            return counts
        total = torch.from_numpy(counts.astype(np.int64))
        with _noticing():
            dist.all_reduce(total)
        return total.numpy()

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank; they are pickled."""
        if self._peers is None:
            return [value]
        values: list[Any] = [None] * self.size
        with _noticing():
            dist.all_gather_object(values, value)
        return values

    def share(self, value: T) -> T:
        """The value of process 0, which is pickled; what the others give is not used."""
        if self._peers is None:
            return value
        values = [value]
        with _noticing():
            dist.broadcast_object_list(values, src=0, device=_CPU)
        return values[0]

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.sum(0.0)

    def first(self) -> AbstractContextManager[None]:
        """Process 0 runs the block, then the others do, as for a download into a cache.

        However long it takes. Where process 0 fails, the others raise ``PeerLost`` in its words.
        """
        return contextlib.nullcontext() if self._peers is None else self._peers.in_turn()

    def wrap(self, net: nn.Module, device: torch.device) -> nn.Module:
        """``net``, which is on ``device``, so wrapped that its gradients are summed over all.

        It starts from the parameters and buffers of process 0. On GPUs, batch norm takes its
        statistics over all processes: ``net`` itself is changed to that. On the CPU, where there
        is no such batch norm, each process normalises by its own share, and the running
        statistics are those of process 0.
        """
        if self._peers is None:
            return net
        on_gpu = device.type == "cuda"
        if on_gpu:
            net = with_common_statistics(net)
        with _noticing():
            wrapped = DistributedDataParallel(net, [device] if on_gpu else None)
        wrapped.register_comm_hook(None, _sums())
        return wrapped

    def deferring(self, net: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Sum the gradients of ``net``, as :meth:`wrap` gave it, only with the last batch of a
        step; forward and backward of each batch are to be inside."""
        if last or not isinstance(net, DistributedDataParallel):
            return contextlib.nullcontext()
        return net.no_sync()

    def agree(self, net: nn.Module) -> None:
        """Give the buffers of ``net``, such as the statistics of batch norm, process 0's values.

        To be called before a network that trained is evaluated by all.
        """
        if self._peers is None:
            return
        with _noticing():
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)


@contextlib.contextmanager
def joined(device: str = "cpu", timeout_s: float = 600.0) -> Iterator[World]:
    """Join the processes that torchrun started; a process alone where it did not.

    An error that ends the block is told to the other processes, which then end too: the first
    that failed raises its own error, the others one that quotes it, or
    :class:`~fcnseg.errors.AlreadySaid`.

    Args:
        device: as ``--device``; on GPUs each process takes the one of its local rank.
        timeout_s: seconds that a process waits for the others in a collective.

    Raises:
        UsageError: the device is not there, or is one that several processes cannot share.
        EnvironmentFault: fewer GPUs than processes on this machine, or the others do not come.
    """
    rank, size, local_rank = (_number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if size <= 1:
        yield World(device=choose_device(device))
        return
    chosen = _device(device, local_rank)
    span = timedelta(seconds=timeout_s)
    try:
        kept, _, _ = next(iter(dist.rendezvous("env://", timeout=span)))
        # torchrun keeps the keys of an earlier training of these processes.
        store = dist.PrefixStore(f"fcnseg {next(_JOINS)}", kept)
        backend = "cpu:gloo,cuda:nccl" if _uses_nccl(chosen) else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=span)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise EnvironmentFault(
            f"torchrun: process {rank} of {size} cannot join the others ({reason}); check "
            "--master-addr, --rdzv-endpoint and the network between the machines"
        ) from error
    peers = Peers(dist.PrefixStore("said", store), rank, size)
    world = World(rank, size, local_rank, chosen, peers)
    try:
        with peers.watched():
            yield world
            world.wait()
        world.wait()  # nobody asks the store any more, which may be in one of the processes
    except (Exception, KeyboardInterrupt) as error:
        last = peers.last_word(error)
        if chosen.type != "cuda":  # NCCL would wait for what can no longer come
            dist.destroy_process_group()
        if last is error:
            raise
        raise last from error
    dist.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process is alone or the first of those that torchrun started."""
    return _number("RANK") == 0


def with_common_statistics(net: nn.Module) -> nn.Module:
    """``net`` with each batch norm changed to one over all processes; names and numbers stay."""
    if isinstance(net, nn.modules.batchnorm._BatchNorm):
        return _common(net)
    for name, child in net.named_children():
        changed = with_common_statistics(child)
        if changed is not child:
            setattr(net, name, changed)
    return net


class _CommonNormAct(nn.SyncBatchNorm):
    """Batch norm over all processes with the drop and activation that timm's holds."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape."""
        normed = self.get_submodule("drop")(super().forward(input))
        return self.get_submodule("act")(normed)


def _common(norm: nn.modules.batchnorm._BatchNorm) -> nn.Module:
    if isinstance(norm, nn.SyncBatchNorm):
        return norm
    has_act = hasattr(norm, "act")
    new = (_CommonNormAct if has_act else nn.SyncBatchNorm)(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    if has_act:
        new.act, new.drop = norm.act, norm.drop
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    return new.train(norm.training)


def _sums() -> Callable[[None, Any], torch.futures.Future[torch.Tensor]]:
    # torch compares the annotation with the class, which a torch without processes does not have.
    def summed(
        state: None,  # noqa: ARG001
        bucket: dist.GradBucket,
    ) -> torch.futures.Future[torch.Tensor]:
        work = dist.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    return summed


@contextlib.contextmanager
def _noticing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" in str(error):  # torch raises it wherever the process then is
            raise
        raise PeerLost(str(error)) from error


def _number(name: str) -> int:
    text = os.environ.get(name, "0")
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name}: expected a number from torchrun, got {text!r}") from None


def _device(name: str, local_rank: int) -> torch.device:
    device = choose_device(name)
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise UsageError(f"--device {device}: takes one process; leave torchrun out or give cpu")
    if device.index is not None:
        raise UsageError(f"--device {name}: each process takes a GPU of its own; give cuda")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise EnvironmentFault(
            f"torchrun: process {local_rank} of this machine finds {count} GPUs; lower "
            "--nproc-per-node or give --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _uses_nccl(device: torch.device) -> bool:
    return device.type == "cuda" and dist.is_nccl_available()
