"""Multiply-adds: how many products a network sums for one image."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from fcnseg.spread import DilatedAvgPool
from fcnseg.trace import evaluating, on_meta

COUNTED = "convolutions, transposed convolutions, linear layers and matrix products"
"""What is counted; biases, norms, activations, pools and sums are not."""


def multiply_adds(net: fx.GraphModule, size: tuple[int, int], channels: int = 3) -> dict[str, int]:
    """Multiply-adds of each node of a traced network for one image, computed on shapes alone.

    A convolution takes, for every cell and channel of its output, one multiply-add for each
    number of the kernel: ``rows * columns * channels / groups``. A transposed convolution takes
    as many for every cell of its input. See :data:`COUNTED` for what counts.

    Args:
        net: from :func:`fcnseg.trace.trace`.
        size: (height, width) of the image in pixels.
        channels: of the image.

    Returns:
        Node name -> count.
    """
    counter = _Counter(net)
    state, dtype = on_meta(net)
    held = _Held(counter)
    with evaluating(net), torch.no_grad(), torch.device("meta"):
        image = torch.empty(1, channels, *size, dtype=dtype)
        named = {f"net.{name}": tensor for name, tensor in state.items()}
        torch.func.functional_call(held, named, (image,))
    return counter.counts


class _Counter(fx.Interpreter):
    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__(net)
        self.extra_traceback = False
        self.counts: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            out = super().run_node(n)
        # A dilated pool sums by a convolution with ones; it is a pool all the same.
        called = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        pools = isinstance(called, DilatedAvgPool)
        self.counts[n.name] = 0 if pools else int(counter.get_total_flops()) // 2
        return out


class _Held(nn.Module):
    """Lets the counter run with other tensors in place of the network's own."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self.net = counter.module
        self.counter = counter

    def forward(self, image: Tensor) -> None:
        self.counter.run(image)
