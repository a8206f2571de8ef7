"""Stride turned into dilation: a finer score map from the same numbers (CVPR 2015, section 3.2).

From a chosen stride on, no layer moves its window by more than one cell; instead every later
window is spread out, so that each cell still sees what it saw ("à trous", or *filter
rarefaction*). Strides and paddings are read off the geometry of the traced network, for
convolutions and pools alike, and the geometry of the result says whether every map is where it
was. ``stitch.py`` gets the same scores by running the network unchanged on shifted images.
"""

import copy
import math
from collections.abc import Mapping

from torch import fx, nn

from fcnseg.errors import UsageError
from fcnseg.geometry import Axis, Geometry
from fcnseg.spread import Move, spread_out
from fcnseg.trace import Feature, trace, trace_features

_JOINS = {"cat", "stack"}


def dilate(
    net: nn.Module, output_stride: int, input_size: int | tuple[int, int] = 224
) -> fx.GraphModule:
    """Limit the stride of a network's maps; later windows are dilated to see what they saw.

    Maps of a coarser stride S get ``S / output_stride`` times as many cells along each axis. The
    offset of the first cell stays, and so do parameters, state dict and names of nodes. Cells
    that the network had before keep their values, except near the border, where zeros are padded
    at other places, and where a layer looks at the whole image (squeeze-excite).

    Args:
        net: a network such as :func:`fcnseg.convolutionalize.convolutionalize` gives, or any that
            ``torch.fx`` can trace; it stays as it is.
        output_stride: the coarsest stride to be left, in pixels.
        input_size: an image size that the network takes, a side or (height, width), at which its
            paddings are read.

    Returns:
        A network with the same parameters, which it shares with ``net``.

    Raises:
        UsageError: the network does not have this stride, or a layer cannot be dilated; the
            message names it.
    """
    size = (input_size, input_size) if isinstance(input_size, int) else input_size
    net = trace(net, size)
    before = trace_features(net, size)
    strides = sorted({_stride(f.geometry) for f in before.values() if f.geometry})
    if output_stride not in strides:
        raise UsageError(
            "expected an output stride that the network has, one of "
            f"{', '.join(map(str, strides))}, got {output_stride}"
        )
    fine = fx.GraphModule(net, copy.deepcopy(net.graph), type(net).__name__)
    fine.meta.update(net.meta)
    nodes = list(fine.graph.nodes)
    moves = {node: _move(node, before, output_stride) for node in nodes}
    _check_shared(net, moves)
    for move in moves.values():
        if move is not None:
            spread_out(fine, net, move)
    fine.delete_all_unused_submodules()
    fine.graph.lint()
    fine.recompile()
    try:
        after = trace_features(fine, size)
    except UsageError as error:
        raise UsageError(
            f"the maps of this network do not fit together once it is dilated to output stride "
            f"{output_stride} ({error}); choose another"
        ) from error
    _verify(before, after, output_stride)
    return fine


def _move(node: fx.Node, features: Mapping[str, Feature], limit: int) -> Move | None:
    """How the windows of a node have to change; None for nodes that have none, or keep them."""
    feature = features.get(node.name)
    sources = [features[s.name].geometry for s in node.all_input_nodes if s.name in features]
    maps = [geometry for geometry in sources if geometry is not None]
    if feature is None or not maps or set(feature.ops) <= _JOINS:
        return None
    source, place = maps[0], feature.geometry
    if place is None:
        if len(feature.shape) == 4 and math.prod(feature.shape[2:]) > 1 and _stride(source) > limit:
            raise UsageError(
                f"{node.name}: gives a map whose cells have no place in the image "
                f"({', '.join(feature.ops)}); it cannot be dilated"
            )
        return None
    if _stride(place) <= limit or any(_same_cells(place, geometry) for geometry in maps):
        return None
    coarse, fine = _stride(place), _stride(source)
    if coarse % limit or (fine % limit if fine > limit else limit % fine):
        raise UsageError(
            f"{node.name}: goes from stride {fine} to {coarse}, which the output stride {limit} "
            "does not divide; choose another"
        )
    pairs = ((place.y, source.y), (place.x, source.x))
    down, along = (round((before.first - after.first) / before.stride) for after, before in pairs)
    return Move(node, max(fine // limit, 1), max(limit // fine, 1), (down, along))


def _stride(geometry: Geometry) -> int:
    return int(max(geometry.stride))


def _same_cells(a: Geometry, b: Geometry) -> bool:
    """Whether two maps have the same cells: then a node from one to the other has no window."""
    return (a.y, a.x) == (b.y, b.x)


def _check_shared(net: fx.GraphModule, moves: Mapping[fx.Node, Move | None]) -> None:
    """A layer with numbers has one stride and one dilation, wherever it is used."""
    ways: dict[str, object] = {}
    for node, move in moves.items():
        if node.op != "call_module":
            continue
        if next(net.get_submodule(str(node.target)).parameters(), None) is None:
            continue
        way = None if move is None else (move.spread, move.step, move.left)
        if ways.setdefault(str(node.target), way) != way:
            raise UsageError(
                f"{node.name}: the layer {node.target} is used at two strides and cannot be "
                "dilated; keep the stride of the network"
            )


def _verify(
    before: Mapping[str, Feature], after: Mapping[str, Feature], output_stride: int
) -> None:
    """Every first cell must see what it saw, in as many channels, with the stride limited."""
    for name, feature in before.items():
        old, new = feature.geometry, after[name].geometry
        if old is None:
            continue
        wanted = [_place(axis, output_stride) for axis in (old.y, old.x)]
        got = [_place(axis, axis.stride) for axis in (new.y, new.x)] if new else None
        channels = not feature.channels_first or feature.shape[1] == after[name].shape[1]
        if got != wanted or not channels:
            raise UsageError(
                f"{name}: dilated, its cells would see something else (stride, first and last "
                f"pixel of the first cell, down and along: {got}, expected {wanted}); this network "
                "cannot be dilated"
            )


def _place(axis: Axis, most: float) -> tuple[float, float, float]:
    """Stride, at most ``most``, and the pixels that the first cell sees, rid of rounding."""
    return min(axis.stride, most), round(axis.first, 6), round(axis.last, 6)
