"""How large a tile may be: what a network needs for a pixel, and what the machine has left."""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from fcnseg.errors import EnvironmentFault
from fcnseg.inference.views import Views
from fcnseg.model import Segmenter

_PROBE = 256  # side in pixels of the image that a network's need is measured with
_SHARE = 0.5  # of the free memory; workspaces, the image and the blending take from the rest
_LARGEST = 8192


def auto_tile(model: Segmenter, device: torch.device, grid: int, least: int, views: Views) -> int:
    """The side of the largest tile that fits into half of the memory that is free now.

    Args:
        model: a network on ``device``, in evaluation mode.
        device: where it computes.
        grid: the side is a multiple of it.
        least: the smallest side that is of use.
        views: those that are scored; of the largest scale most memory is needed.

    Returns:
        A power of two times ``grid``, so that small changes of the memory change nothing; 8192
        pixels at most.

    Raises:
        EnvironmentFault: not even ``least`` pixels fit.
    """
    bytes_per_pixel = peak_bytes(model, device) / _PROBE**2 * max(views.scales) ** 2
    if not views.plain:  # a view's scores at the size of the tile, its probabilities, their sum
        bytes_per_pixel += 3 * 4 * model.info.num_classes
    free = free_bytes(device)
    side = grid
    while 2 * side <= _LARGEST and (2 * side) ** 2 * bytes_per_pixel <= _SHARE * free:
        side *= 2
    if side < least:
        raise EnvironmentFault(
            f"--tile auto: {free / 1e9:.1f} GB of memory are free, a tile of {least} pixels needs "
            f"{least**2 * bytes_per_pixel / _SHARE / 1e9:.1f}; close other programs or choose a "
            "smaller network"
        )
    return side


def free_bytes(device: torch.device) -> int:
    """Bytes that may still be had on a device; on MPS and the CPU, of the machine's memory.

    In a container with a limit, what is left of that.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        return min(int(rows["MemAvailable"].split()[0]) * 1024, _left_in_container())
    except (OSError, KeyError, ValueError):
        pass
    try:  # macOS has no count of what is free: a quarter of all there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, ValueError, OSError):
        return 4 << 30  # Windows, where a guess must do


def _left_in_container() -> int:
    """What Linux's control groups leave; more than any machine has, where they set no limit."""
    root = Path("/sys/fs/cgroup")
    for limit, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(int(limit.read_text()) - int(used.read_text()), 0)
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return sys.maxsize


@torch.inference_mode()
def peak_bytes(model: Segmenter, device: torch.device) -> float:
    """Bytes that a network holds at once for an image of 256 x 256 pixels, without its weights.

    On CUDA as the allocator counts them. Elsewhere twice what the layer with the largest input
    and output holds, and the scores twice: a layer may copy its input.
    """
    assert isinstance(model, nn.Module)
    image = torch.zeros(1, 3, _PROBE, _PROBE, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        model(image)
        return float(torch.cuda.max_memory_allocated(device) - before)
    largest = 0

    def see(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        maps = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        largest = max(largest, sum(value.nbytes for value in maps))

    leaves = [module for module in model.modules() if not any(module.children())]
    handles = [module.register_forward_hook(see) for module in leaves]
    try:
        score = model(image)
    finally:
        for handle in handles:
            handle.remove()
    return float(2 * largest + 2 * score.nbytes)
