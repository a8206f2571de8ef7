"""The rewritten tail of a classifier is run once beside the classifier's own.

Rewriting follows rules, and somebody's own network may do what no rule thought of. So the result
is not trusted: both tails get the same last map, random in its channels, and must agree, and the
network must take a larger image.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from fcnseg.errors import UsageError
from fcnseg.trace import Feature, evaluating
from fcnseg.tracer import first_channels, run_on_shapes


class Proof:
    """Holds a classifier's own tail while the surgery rewrites it.

    Args:
        net: the traced classifier.
        tail: the nodes of its tail, in order.
        features: shapes at the native size.
    """

    def __init__(
        self, net: fx.GraphModule, tail: Sequence[fx.Node], features: Mapping[str, Feature]
    ) -> None:
        # Where the tail starts: the last map, and whatever tensor it asks for a size.
        starts = {n for n in net.graph.nodes if n.name in features} - set(tail)
        starts = {n for n in starts if n.op != "get_attr"}
        self.own, self.sources = _after(net, starts)
        self.shapes = [features[s.name].shape for s in self.sources]

    def check(self, rewritten: fx.GraphModule) -> None:
        """Compare the tails on maps of the native size.

        The maps are the same in every cell: then a pool that was dropped changes nothing, and
        every cell must give the classifier's scores. Networks without numbers (on PyTorch's
        ``meta`` device) are not compared.

        Raises:
            UsageError: the scores differ by more than rounding.
        """
        tensors = [*rewritten.parameters(), *rewritten.buffers()]
        if any(t.is_meta for t in tensors):
            return
        reference = next((t for t in tensors if t.is_floating_point()), torch.zeros(()))
        generator = torch.Generator().manual_seed(0)
        maps = [
            torch.randn(*shape[:2], *(1 for _ in shape[2:]), generator=generator, device="cpu")
            .expand(shape)
            .contiguous()
            .to(reference)
            for shape in self.shapes
        ]
        after, _ = _after(rewritten, set(self.sources), self.sources)
        with torch.no_grad(), evaluating(self.own), evaluating(after):
            expected, got = self.own(*maps), after(*maps)
        if not _agree(expected, got):
            raise UsageError(
                f"{type(rewritten).__name__}: its tail cannot be written as convolutions: the "
                "rewritten tail gives other scores than the classifier; please report the network"
            )


def check_larger(net: fx.GraphModule, size: Sequence[int]) -> None:
    """Run a rewritten network on the shape of a larger image; no arithmetic.

    Args:
        net: the network, up to date.
        size: (height, width) in pixels that it was traced at.

    Raises:
        UsageError: it takes images of that size only.
    """
    # No multiple of the size: windows of attention that divide it would divide its multiples.
    larger = [2 * side + 64 for side in size]
    try:
        with evaluating(net):
            run_on_shapes(net, (1, first_channels(net), *larger))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{type(net).__name__} takes images of {size[0]}x{size[1]} px only; expected layers "
            f"that slide over an image of any size ({reason})"
        ) from error


@contextmanager
def refusing(classifier: nn.Module) -> Iterator[None]:
    """Add to what is said against a network that it has attention over positions, if it has."""
    try:
        yield
    except UsageError as error:
        for name, module in classifier.named_modules():
            if _attends(module):
                raise UsageError(
                    f"{type(classifier).__name__} cannot be made fully convolutional: it has "
                    f"attention over positions ({name}: {type(module).__name__}), laid out for one "
                    f"number of them, where a convolution slides; choose a CNN ({error})"
                ) from error
        raise


def _attends(module: nn.Module) -> bool:
    """Whether a module is attention as transformers have it, with queries, keys and values.

    Convolutional networks have attention too, over channels or by a mask: it is another thing.
    """
    if isinstance(module, nn.MultiheadAttention):
        return True
    asks = any(hasattr(module, name) for name in ("qkv", "to_qkv", "query", "to_q", "q", "q_proj"))
    return asks and "att" in type(module).__name__.lower()


def _agree(expected: Tensor, got: Tensor) -> bool:
    if got.dim() != 4 or got.shape[:2] != expected.shape:
        return False
    tolerance = torch.finfo(expected.dtype).eps ** 0.5
    close = (got - expected[:, :, None, None]).abs() <= tolerance * expected.abs().max()
    # Weights that are not finite are somebody else's to refuse.
    return bool(close.all()) or not bool(torch.isfinite(expected).all())


def _after(
    net: fx.GraphModule, starts: set[fx.Node], inputs: Sequence[fx.Node] = ()
) -> tuple[fx.GraphModule, list[fx.Node]]:
    """The part of a graph after ``starts``, and those of them that it reads, its inputs in order.

    Layers are shared. ``inputs`` sets the order, and may have more than is read.
    """
    output = next(node for node in net.graph.nodes if node.op == "output")
    needed, waiting = {output}, [output]
    while waiting:
        for node in waiting.pop().all_input_nodes:
            if node not in needed:
                needed.add(node)
                waiting += [] if node in starts else [node]
    read = list(inputs) or [n for n in net.graph.nodes if n in starts & needed]
    graph = fx.Graph()
    copied = {node: graph.placeholder(node.name) for node in read}
    for node in net.graph.nodes:
        if node in needed and node not in copied:
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    return fx.GraphModule(net, graph), read
