"""Where the skips leave, and the arithmetic that brings coarse maps back to the image."""

from collections.abc import Mapping
from typing import Any

from fcnseg.classifiers import count_parameters
from fcnseg.explain.records import Cells, Place, Skip, Upsampling
from fcnseg.heads import SkipHead


def list_skips(
    head: SkipHead,
    nodes: Mapping[int, str],
    places: Mapping[int, Place],
    channels: Mapping[int, int],
) -> tuple[Skip, ...]:
    """The maps that are scored, coarsest first.

    Args:
        head: of the FCN.
        nodes: stride -> name of the layer that makes the map.
        places: stride -> where its cells lie.
        channels: stride -> its channels.
    """
    return tuple(
        Skip(
            stride=stride,
            node=nodes[stride],
            channels=channels[stride],
            place=places[stride],
            scale=float(head.scales.get(stride, 1.0)),
            score_parameters=count_parameters(head.score[f"stride{stride}"]),
        )
        for stride in head.strides
    )


def list_upsamplings(
    head: SkipHead, places: Mapping[int, Place], size: Cells
) -> tuple[Upsampling, ...]:
    """Every upsampling from the coarsest map to the image.

    Args:
        head: of the FCN.
        places: stride -> where the cells of the scored map lie, for this size of the image.
        size: (height, width) of the input of the network in pixels.
    """
    image = Place(size, (1.0, 1.0), (0.0, 0.0), (1.0, 1.0), False)
    found = []
    source, coarse = head.strides[0], places[head.strides[0]].size
    for finer in (*head.strides[1:], 1):
        target = image if finer == 1 else places[finer]
        step = _upsampling(head, source, finer, coarse, target)
        found.append(step)
        source, coarse = finer, step.result
    return tuple(found)


def _upsampling(head: SkipHead, source: int, to: int, coarse: Cells, target: Place) -> Upsampling:
    layer: Any = head.upsample[f"to{to}"]
    ratio, shift = int(layer.ratio), (float(layer.shift[0]), float(layer.shift[1]))
    kernel = (int(layer.weight.shape[-2]), int(layer.weight.shape[-1]))
    crop = (int(layer.crop[0]), int(layer.crop[1]))
    offset = [o + s * d for o, s, d in zip(target.offset, target.stride, shift, strict=True)]
    extended: tuple[Cells, Cells] = ((0, 0), (0, 0))
    start, cropped = crop, "upsampled"
    if head.padding == "same":
        rows, columns = (layer.extension(axis, coarse[axis], target.size[axis]) for axis in (0, 1))
        extended = (rows, columns)
        start = (crop[0] + ratio * rows[0], crop[1] + ratio * columns[0])
    elif to > 1:
        start, cropped = (-crop[0], -crop[1]), "finer"
    up = [
        ratio * (cells + sum(more) - 1) + k
        for cells, more, k in zip(coarse, extended, kernel, strict=True)
    ]
    # Where the finer map is the one to be cut, the sum has the size of the upsampled one.
    result = (up[0], up[1]) if cropped == "finer" else target.size
    return Upsampling(
        source=source,
        to=to,
        ratio=ratio,
        stride=target.stride,
        offset_coarse=(offset[0], offset[1]),
        offset_fine=target.offset,
        shift=shift,
        kernel=kernel,
        crop=crop,
        coarse=coarse,
        extended=extended,
        up=(up[0], up[1]),
        start=start,
        cropped=cropped,
        fine=target.size,
        result=result,
        parameters=count_parameters(layer),
    )
