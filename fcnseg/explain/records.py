"""What there is to say about an FCN, as plain numbers and strings: the schema of the JSON.

Pairs are (vertical, horizontal); lengths are in pixels of the image unless they are said to be in
cells. ``dataclasses.asdict`` of an :class:`Explanation` is what ``fcnseg explain --json`` prints
and what :func:`fcnseg.render.explain_page.explain_page` draws.
"""

from dataclasses import dataclass

Pair = tuple[float, float]
Cells = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where the cells of a map lie.

    Attributes:
        size: rows and columns of cells.
        stride: pixels from cell to cell.
        offset: centre of cell (0, 0); pixel ``p`` has its centre at ``p``.
        field: receptive field of one cell.
        sees_all: every cell depends on the whole image as well (squeeze-excite, group norm).
    """

    size: Cells
    stride: Pair
    offset: Pair
    field: Pair
    sees_all: bool


@dataclass(frozen=True)
class Window:
    """The window of a convolution or a pool, in cells of its input.

    Attributes:
        kernel: rows and columns.
        step: from one window to the next: its stride.
        padding: cells before and after.
        pads_itself: the layer chooses its padding by the size of its input, as TensorFlow does.
        dilation: from one cell of the kernel to the next.
        rounds_up: the last window may reach over the border.
    """

    kernel: Cells
    step: Cells
    padding: Cells
    pads_itself: bool
    dilation: Cells
    rounds_up: bool


@dataclass(frozen=True)
class Side:
    """A layer at one size of the image: in the classifier, or in the FCN.

    Attributes:
        what: the layer in words, ``"Linear 25088->4096"``.
        window: of a convolution or a pool, else None.
        parameters: count of numbers.
        shape: what it gives: (channels, rows, columns), or (channels,).
        place: where its cells lie; None for a vector, which lies nowhere.
        multiply_adds: for one image.
    """

    what: str
    window: Window | None
    parameters: int
    shape: tuple[int, ...]
    place: Place | None
    multiply_adds: int


@dataclass(frozen=True)
class Layer:
    """One node of the classifier's graph, and what became of it.

    Attributes:
        node: name in the graph.
        name: the module as the classifier names it, or the name of the node.
        part: the part of the network it belongs to: a layer of a chain, or a block.
        stage: stride of the map that the part ends in; 0 for the tail that is rewritten.
        listed: whether short tables have it: convolutions, pools, linear layers, what is rewritten.
        tap: the stride under which a score layer reads its map, else None.
        in_fcn: whether the FCN has it; the classifier's last layer is left out, for one.
        before: in the classifier, at its native size.
        after: convolutional, at the size asked for; None where nothing is left of it. What the
            FCN leaves out is told as it would be.
    """

    node: str
    name: str
    part: str
    stage: int
    listed: bool
    tap: int | None
    in_fcn: bool
    before: Side
    after: Side | None


@dataclass(frozen=True)
class Part:
    """A layer of a chain or a block: what lies between two maps that all paths pass through.

    Attributes:
        name: the path that its layers have in common.
        stage: as in :class:`Layer`.
        layers: nodes of its listed layers.
        what: what it is in the classifier, in words.
        window: of its one layer in the classifier, None for a block.
        becomes: what is new after the surgery, empty where nothing is.
        tap: the stride under which a score layer reads a map of it, else None.
        in_fcn: whether the FCN has it.
        parameters_before: in the classifier.
        parameters_after: after the surgery.
        native_shape: what it gives in the classifier at its native size.
        shape: what it gives at the size asked for; None where nothing is left of it.
        place: where the cells of that map lie.
        multiply_adds_native: in the classifier at its native size.
        multiply_adds: at the size asked for.
    """

    name: str
    stage: int
    layers: tuple[str, ...]
    what: str
    window: Window | None
    becomes: str
    tap: int | None
    in_fcn: bool
    parameters_before: int
    parameters_after: int
    native_shape: tuple[int, ...]
    shape: tuple[int, ...] | None
    place: Place | None
    multiply_adds_native: int
    multiply_adds: int


@dataclass(frozen=True)
class Change:
    """One thing that was done to the classifier.

    Attributes:
        names: the layers it was done to, as the classifier names them.
        before: what it was.
        after: what it is now.
        why: the reason, in a sentence.
    """

    names: tuple[str, ...]
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Skip:
    """A map that is scored: the coarsest, and those that the skips leave from.

    Attributes:
        stride: the level of the map: the stride that it has in the classifier. Its own stride
            is that of ``place``, which dilation makes smaller.
        node: the layer that makes it.
        channels: of the map.
        place: of the map.
        scale: what the map is multiplied by before its score layer.
        score_parameters: of its 1x1 score layer.
    """

    stride: int
    node: str
    channels: int
    place: Place
    scale: float
    score_parameters: int


@dataclass(frozen=True)
class Step:
    """A line of arithmetic: its name, the formula with its numbers, and what it means."""

    name: str
    formula: str
    why: str


@dataclass(frozen=True)
class Upsampling:
    """One transposed convolution and the crop that lays it on a finer map.

    Attributes:
        source: level of the coarser map: the stride that it has in the classifier.
        to: level of the finer map; 1 is the image.
        ratio: finer cells to one coarse cell.
        stride: of the finer map.
        offset_coarse: offset of the coarser map.
        offset_fine: offset of the finer map.
        shift: index in the finer map of the centre of coarse cell 0.
        kernel: cells.
        crop: cells of the bare transposed convolution before index 0 of the finer map; negative
            where it begins inside the finer map.
        coarse: cells of the coarser map.
        extended: cells by which the coarser map is continued by its edge: ((top, bottom),
            (left, right)).
        up: cells of the bare transposed convolution.
        start: first cell that is kept.
        cropped: which of the two maps is cut from ``start`` on: ``"upsampled"`` or ``"finer"``.
        fine: cells of the finer map.
        result: cells of the sum, or the size of the input for the last one.
        parameters: of the transposed convolution.
        title: from where to where, in words.
        steps: the arithmetic in words.
    """

    source: int
    to: int
    ratio: int
    stride: Pair
    offset_coarse: Pair
    offset_fine: Pair
    shift: Pair
    kernel: Cells
    crop: Cells
    coarse: Cells
    extended: tuple[Cells, Cells]
    up: Cells
    start: Cells
    cropped: str
    fine: Cells
    result: Cells
    parameters: int
    title: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Totals:
    """Counts of numbers and of multiply-adds.

    Attributes:
        classifier: parameters of the classifier.
        converted: parameters after the surgery, the last layer included.
        backbone: parameters of the part that the FCN keeps.
        score: parameters of the score layers.
        upsampling: parameters of the transposed convolutions, learned ones.
        fcn: all parameters of the FCN.
        multiply_adds_native: of the classifier at its native size.
        multiply_adds_backbone: of the backbone at the size asked for.
        multiply_adds_head: of score layers and transposed convolutions at that size.
    """

    classifier: int
    converted: int
    backbone: int
    score: int
    upsampling: int
    fcn: int
    multiply_adds_native: int
    multiply_adds_backbone: int
    multiply_adds_head: int


@dataclass(frozen=True)
class Explanation:
    """An FCN, explained for one image size.

    Attributes:
        backbone: name in the catalogue.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        padding: ``"same"`` or ``"paper"``.
        output_stride: the coarsest stride left.
        num_classes: score maps K.
        native: the classifier's size.
        size: of the image.
        input: what the image is extended to before the first layer.
        parts: the layers gathered, a line each.
        layers: every node of the classifier, in order.
        surgery: how the classifier became convolutional.
        changes: what else the FCN changes: paddings, rounding, the last layer.
        skips: the scored maps, coarsest first.
        upsamplings: from the coarsest map to the image.
        totals: parameters and multiply-adds.
    """

    backbone: str
    variant: str
    padding: str
    output_stride: int
    num_classes: int
    native: Cells
    size: Cells
    input: Cells
    parts: tuple[Part, ...]
    layers: tuple[Layer, ...]
    surgery: tuple[Change, ...]
    changes: tuple[Change, ...]
    skips: tuple[Skip, ...]
    upsamplings: tuple[Upsampling, ...]
    totals: Totals
