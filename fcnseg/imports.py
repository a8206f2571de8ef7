"""Other people's segmentation networks: their files in, networks of ours out.

The files are read by ``fcnseg.weights``; here every tensor finds its place in a network, in the
shape it has there, or the file is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from fcnseg.build import build_fcn
from fcnseg.checks import check_choice
from fcnseg.data.sample import check_classes
from fcnseg.data.voc import CLASSES
from fcnseg.errors import UsageError, WeightsError
from fcnseg.heads import VARIANTS, UpsampleMode
from fcnseg.model import FCN
from fcnseg.preprocessing import Preprocessing
from fcnseg.segmenters import TorchvisionSegmenter, load_segmenter, segmenters
from fcnseg.upsample import bilinear_kernel, densely
from fcnseg.weights.published import BACKBONE, SCALES, SCORES, SOURCES, UPSAMPLINGS, read_published
from fcnseg.weights.state import FLOATS, check_fits, read_state

CAFFE = Preprocessing((104.00699, 116.66877, 122.67892), (1.0, 1.0, 1.0), 1.0, "BGR")
"""What the published FCNs were trained on: 8-bit BGR, the mean of ImageNet subtracted."""

Report = Callable[[str], None]

_SAID = {"fixed": "bilinear", "learned": "one kernel a class", "dense": "a kernel for every pair"}
_MOST_CHANNELS = 512


def import_fcn(
    source: str,
    file: str | Path,
    variant: str,
    classes: Sequence[str] | None = None,
    palette: Sequence[tuple[int, int, int]] | None = None,
    report: Report | None = None,
) -> FCN:
    """A published FCN of VGG16, in evaluation mode, on the CPU.

    It has the paper's padding and crops, and takes (N, 3, H, W) images in BGR, 0 to 255, less
    the mean: what :data:`CAFFE` makes of 8-bit RGB.

    The transposed convolutions of these files have a kernel for every pair of classes. Where
    those between two classes are all zero, each class keeps its own kernel alone, which gives
    the same scores: ``info.upsample`` is then ``"fixed"`` if they are bilinear, ``"learned"``
    otherwise. If one layer has any other kernel, all layers keep all of theirs, ``"dense"``.

    Args:
        source: ``"torchfcn"``: a state dict or checkpoint of pytorch-fcn; ``"caffe"``: a
            ``.caffemodel`` in the layer names of Berkeley's FCNs.
        file: the weights.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        classes: their names; PASCAL VOC's for 21 classes, numbered ones otherwise.
        palette: their colours, 8-bit RGB; PASCAL VOC's if None.
        report: called with one line that says how many tensors matched.

    Raises:
        UsageError: an unknown source or variant, or names that are not as many as the classes.
        WeightsError: the file is missing, damaged or refused; a tensor is missing, unexpected,
            of another shape or not finite; the message names and counts them.
    """
    check_choice("SOURCE", source, list(SOURCES))
    check_choice("--variant", variant, list(VARIANTS))
    tensors = read_published(source, file, variant)
    found = len(tensors)
    scales = _take_scales(file, tensors, variant)
    count = _count_classes(file, tensors, classes)
    names = tuple(classes) if classes else CLASSES if count == len(CLASSES) else None
    if names and classes:
        check_classes(names, tuple(palette) if palette else None)

    def built(upsample: UpsampleMode) -> FCN:
        # Shapes alone: the numbers come from the file and are not copied again.
        with torch.device("meta"):
            return build_fcn(
                *("vgg16", variant, count),
                padding="paper",
                upsample=upsample,
                classes=names,
                palette=palette,
                preprocessing=CAFFE,
            )

    tensors = _shaped(file, tensors, built("learned"))
    upsample, kernels = _kernels({n: t for n, t in tensors.items() if n.startswith("upscore")})
    tensors |= kernels
    model = built(upsample)
    state = {own: tensors[name] for own, name in _places(model).items()}
    model.load_state_dict(state, strict=True, assign=True)
    if report is not None:
        parts = [
            f"{2 * len(BACKBONE)} of VGG16",
            f"{len(state) - 2 * len(BACKBONE) - len(kernels)} of score layers",
            f"{len(kernels)} of upsampling ({_SAID[upsample]})",
            *([f"{scales} scales"] if scales else []),
        ]
        matched = len(state) + scales
        line = f"{file}: {matched} tensors of {found} matched: {', '.join(parts)}; {count} classes"
        by = [f"stride {s} by {x:g}" for s, x in VARIANTS[variant].scales.items()]
        report(f"{line}; skips scaled, {' and '.join(by)}" if by else line)
    return model.eval()


def import_segmenter(file: str | Path, report: Report | None = None) -> TorchvisionSegmenter:
    """A segmentation network of torchvision, recognised by the tensors of its state dict.

    Args:
        file: a state dict of one of :func:`fcnseg.segmenters.segmenters`.
        report: called with one line that says which it is and how many tensors matched.

    Raises:
        WeightsError: the file is missing, damaged or refused, or fits none of the networks.
    """
    found = _essential(read_state(file))
    for name in segmenters():
        with torch.device("meta"):
            net = models.get_model(Path(name).name, weights=None, weights_backbone=None)
        if _essential(net.state_dict()) == found:
            model = load_segmenter(name, file)
            if report is not None:
                count = len(_essential(model.state_dict()))
                report(f"{file}: {count} tensors of {len(found)} matched: {name}")
            return model
    raise WeightsError(
        f"{file}: its tensors are those of none of {', '.join(segmenters())}; for the weights of "
        "a classifier use fcnseg train --weights FILE"
    )


def _essential(state: Mapping[str, Tensor]) -> set[str]:
    """Names without those of the auxiliary classifier and of counters, which scores do not need."""
    optional = ("aux_classifier.", "num_batches_tracked")
    return {n for n in state if not n.startswith(optional) and not n.endswith(optional)}


def _take_scales(file: str | Path, tensors: dict[str, Tensor], variant: str) -> int:
    """Take out what Caffe scales the skips by, once it is seen to be what our head does."""
    taken = 0
    for stride, scale in VARIANTS[variant].scales.items():
        values = tensors.pop(SCALES[stride], None)
        if values is None:
            continue
        sound = values.dtype in FLOATS and 1 <= values.numel() <= _MOST_CHANNELS
        if not sound or not bool((values / scale - 1).abs().max() < 1e-6):
            raise WeightsError(
                f"{file}: {SCALES[stride]} is not {scale:g} throughout, as FCN-{variant} has it; "
                "use the published network or one trained from it"
            )
        taken += 1
    return taken


def _count_classes(
    file: str | Path, tensors: Mapping[str, Tensor], classes: Sequence[str] | None
) -> int:
    count = tensors[f"{SCORES[32]}.bias"].numel()
    if not 1 <= count <= 255:
        raise WeightsError(f"{file}: {SCORES[32]} is for {count} classes; expected 1 to 255")
    if classes and len(classes) != count:
        raise UsageError(f"--classes: {len(classes)} names, but {file} has {count} classes")
    return count


def _places(model: FCN) -> dict[str, str]:
    """Our name of each tensor -> its published one."""
    convolutions = [n for n, m in model.backbone.named_modules() if isinstance(m, nn.Conv2d)]
    variant = model.info.variant
    layers = {
        **{f"backbone.{own}": name for own, name in zip(convolutions, BACKBONE, strict=True)},
        **{f"head.score.stride{s}": SCORES[s] for s in VARIANTS[variant].strides},
        **{f"head.upsample.to{s}": name for s, name in UPSAMPLINGS[variant].items()},
    }
    own = [n.rpartition(".") for n in model.state_dict()]
    return {f"{layer}.{kind}": f"{layers[layer]}.{kind}" for layer, _, kind in own}


def _shaped(file: str | Path, tensors: Mapping[str, Tensor], model: FCN) -> dict[str, Tensor]:
    """The tensors as float32 in the shapes of ``model``, kernels also in the dense shape.

    What holds the same numbers in the same order is reshaped: (1, 1, 1, C) of older Caffe for
    (C,), and fc6 and fc7 where they were saved as inner products.
    """
    published = _places(model)
    shapes = {published[own]: tuple(meta.shape) for own, meta in model.state_dict().items()}
    result = {}
    for name, tensor in tensors.items():
        shape = shapes[name]
        if name.startswith("upscore") and tensor.shape == (shape[0], shape[0], *shape[2:]):
            shapes[name] = shape = tuple(tensor.shape)
        inner_product = (shape[0], torch.Size(shape[1:]).numel())
        if _sides(tensor.shape) in (_sides(shape), _sides(inner_product)):
            tensor = tensor.reshape(shape)
        result[name] = tensor
    check_fits({n: torch.empty(s, device="meta") for n, s in shapes.items()}, result, file)
    return {name: tensor.float().contiguous() for name, tensor in result.items()}


def _sides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


def _kernels(kernels: Mapping[str, Tensor]) -> tuple[UpsampleMode, dict[str, Tensor]]:
    """The mode in which transposed convolutions keep all of their numbers, and these in it.

    Args:
        kernels: name -> (K, K, k, k) or (K, 1, k, k).
    """
    if not all(_is_diagonal(kernel) for kernel in kernels.values()):
        dense = {n: k if k.shape[1] == len(k) else densely(k) for n, k in kernels.items()}
        return "dense", dense
    own = {
        name: kernel
        if kernel.shape[1] == 1
        else kernel.diagonal(dim1=0, dim2=1).permute(2, 0, 1).unsqueeze(1).contiguous()
        for name, kernel in kernels.items()
    }
    return "fixed" if all(map(_is_bilinear, own.values())) else "learned", own


def _is_diagonal(kernel: Tensor) -> bool:
    if kernel.shape[1] == 1:
        return True
    between = kernel.count_nonzero((2, 3))
    return bool((between.fill_diagonal_(0) == 0).all())


def _is_bilinear(kernel_K1kk: Tensor) -> bool:
    """Whether all kernels are the published initialisation, up to the rounding of float32."""
    side = kernel_K1kk.shape[-1]
    line, _ = bilinear_kernel(side // 2, side / 4 - 0.5)
    expected = torch.outer(line, line).expand_as(kernel_K1kk)
    return torch.allclose(kernel_K1kk, expected, rtol=0, atol=1e-6)
