"""The last layer of a classifier: what its class scores come out of."""

from typing import Any

from torch import nn

from fcnseg.errors import UsageError
from fcnseg.trace import trace


def last_layer(classifier: nn.Module, input_size: int | None = None) -> str:
    """The name of the layer that gives the class scores, found in the network's graph.

    It is linear, or a convolution where the scores are pooled after it (SqueezeNet) or where the
    network is fully convolutional already.

    Args:
        classifier: any network that ``torch.fx`` can trace.
        input_size: side in pixels of the images it was made for, where its code asks for it.

    Raises:
        UsageError: the network cannot be traced, or has no such layer.
    """
    size = None if input_size is None else (input_size, input_size)
    for node in reversed(trace(classifier, size).graph.nodes):
        if node.op != "call_module":
            continue
        name = str(node.target)
        if isinstance(classifier.get_submodule(name), (nn.Linear, nn.Conv2d)):
            return name
    raise UsageError(
        f"{type(classifier).__name__}: has no linear layer and no convolution that could give "
        "class scores; choose another network"
    )


def replace_last_layer(
    classifier: nn.Module, num_classes: int, input_size: int | None = None
) -> str:
    """Give a classifier a new last layer, in place; return its name.

    Args:
        classifier: (N, 3, H, W) -> scores of any number of classes.
        num_classes: K scores that it gives from now on.
        input_size: as in :func:`last_layer`.

    The numbers of the layer are drawn from the global generator of torch. Raises
    :class:`UsageError` as :func:`last_layer`.
    """
    name = last_layer(classifier, input_size)
    old = classifier.get_submodule(name)
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    else:
        assert isinstance(old, nn.Conv2d)
        bias = old.bias is not None
        kernel: Any = old.kernel_size
        how: dict[str, Any] = {"stride": old.stride, "padding": old.padding}
        new = nn.Conv2d(old.in_channels, num_classes, kernel, bias=bias, **how)
    classifier.set_submodule(name, new.train(old.training))
    return name
