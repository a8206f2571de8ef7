"""One head for all variants: FCN-32s, 16s and 8s are settings of it (CVPR 2015, section 4.2).

Each tapped map gets a 1x1 score layer that starts at zero. The coarsest scores are upsampled to
the next finer tap and added to its scores, and so on; the last sum is upsampled to the image.
Which way a coarse map has to be shifted onto a finer one follows from their offsets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor, nn

from fcnseg.checks import check_choice
from fcnseg.errors import UsageError
from fcnseg.geometry import Geometry
from fcnseg.upsample import Upsample

UpsampleMode = Literal["learned", "fixed", "dense"]
Padding = Literal["same", "paper"]


@dataclass(frozen=True)
class Variant:
    """Which strides are scored, coarsest first, and what a tap is multiplied by before it."""

    strides: tuple[int, ...]
    scales: Mapping[int, float] = field(default_factory=dict)


# Trained at once, the skips are scaled so that no stream drowns the others (PAMI 2017, 4.3).
VARIANTS: dict[str, Variant] = {
    "32s": Variant((32,)),
    "16s": Variant((32, 16)),
    "8s": Variant((32, 16, 8)),
    "8s-atonce": Variant((32, 16, 8), {16: 1e-2, 8: 1e-4}),
}


class SkipHead(nn.Module):
    """Scores, upsampling and fusion of tapped maps.

    Args:
        taps: level -> geometry of the map that the backbone gives there. The level is the stride
            of the map in the classifier, and its own unless the backbone is dilated.
        channels: level -> channels of that map.
        num_classes: score maps K.
        variant: a key of :data:`VARIANTS`.
        upsample: ``"learned"``: all transposed convolutions train, from bilinear; ``"fixed"``:
            they stay bilinear; ``"dense"``: they train and each class reads all others too, as in
            imported networks that were trained so.
        padding: ``"same"``: every sum has the size of the finer map, edges continued;
            ``"paper"``: the published arithmetic, sums cropped to where both maps exist.

    Attributes:
        strides: the levels that are scored, coarsest first.
        crops: the crop offset of each upsampling by the level it leads to (1 is the image), as
            (vertical, horizontal). With ``"paper"``, of the finer map where two are fused.

    Raises:
        UsageError: the backbone has no map at a stride of the variant, or the padding leaves a
            finer map short of a coarser one.
    """

    def __init__(
        self,
        taps: Mapping[int, Geometry],
        channels: Mapping[int, int],
        num_classes: int,
        variant: str = "8s",
        upsample: UpsampleMode = "learned",
        padding: Padding = "same",
    ) -> None:
        super().__init__()
        check_choice("variant", variant, list(VARIANTS))
        check_choice("upsample", upsample, get_args(UpsampleMode))
        check_choice("padding", padding, ("same", "paper"))
        chosen = VARIANTS[variant]
        # A network that ends at stride 16 (SqueezeNet) has all there is of a 16s or an 8s.
        levels = tuple(level for level in chosen.strides if level <= max(taps))
        if not levels or any(level not in taps for level in levels):
            have = ", ".join(map(str, sorted(taps)))
            raise UsageError(
                f"variant {variant}: needs maps at stride {', '.join(map(str, chosen.strides))}, "
                f"the backbone has {have}; choose a variant or a backbone that fits"
            )
        self.strides, self.scales, self.padding = levels, dict(chosen.scales), padding
        self.score = nn.ModuleDict()
        for stride in self.strides:
            score = nn.Conv2d(channels[stride], num_classes, 1)
            for numbers in score.parameters():
                nn.init.zeros_(numbers)
            self.score[f"stride{stride}"] = score
        self.upsample = nn.ModuleDict()
        self.crops: dict[int, tuple[int, int]] = {}
        place = _Cells.of(taps[self.strides[0]])
        for finer in [*self.strides[1:], 1]:
            target = _Cells.of(taps[finer]) if finer > 1 else _Cells((1.0, 1.0), (0.0, 0.0))
            ratio, shift = place.onto(target)
            learned, dense = upsample == "learned", upsample == "dense"
            layer = Upsample(num_classes, ratio, shift, learned, dense)
            self.upsample[f"to{finer}"] = layer
            place = target
            self.crops[finer] = layer.crop
            if padding == "paper":
                place = self._cropped(target, layer, finer)

    def _cropped(self, target: "_Cells", layer: Upsample, finer: int) -> "_Cells":
        """The published fusion: the finer map loses what the upsampled one does not reach."""
        image = finer == 1
        crop = layer.crop if image else (-layer.crop[0], -layer.crop[1])
        if min(crop) < 0:
            raise UsageError(
                f"padding paper: the {'score map' if image else f'map at stride {finer}'} would "
                f"need a crop of {crop}; expected 0 or more, as with VGG's padding of 100"
            )
        self.crops[finer] = crop
        return target.cropped(crop)

    def forward(self, features: Mapping[int, Tensor], size: Sequence[int]) -> Tensor:
        """Class scores for the whole image.

        Args:
            features: level -> (N, C, h, w), as the backbone gives them.
            size: (H, W) of the backbone's input in pixels.

        Returns:
            (N, K, H, W) scores, before any softmax.
        """
        fused = self._scored(features, self.strides[0])
        for finer in self.strides[1:]:
            scored, layer = self._scored(features, finer), self.upsample[f"to{finer}"]
            if self.padding == "same":
                fused = layer(fused, scored.shape[2:]) + scored
            else:
                up = layer(fused)
                fused = up + crop(scored, self.crops[finer], up.shape[2:])
        if self.padding == "same":
            return self.upsample["to1"](fused, size)
        return crop(self.upsample["to1"](fused), self.crops[1], size)

    def _scored(self, features: Mapping[int, Tensor], stride: int) -> Tensor:
        feature = features[stride]
        if stride in self.scales:
            feature = feature * self.scales[stride]
        return self.score[f"stride{stride}"](feature)


@dataclass(frozen=True)
class _Cells:
    """Stride and offset of a map, in pixels of the image."""

    stride: tuple[float, float]
    offset: tuple[float, float]

    @staticmethod
    def of(geometry: Geometry) -> "_Cells":
        return _Cells(geometry.stride, geometry.offset)

    def onto(self, finer: "_Cells") -> tuple[int, tuple[float, float]]:
        """Ratio of the strides, and the shift of this map in cells of the finer one."""
        ratios = [a / b for a, b in zip(self.stride, finer.stride, strict=True)]
        if ratios[0] != ratios[1] or ratios[0] != int(ratios[0]):
            raise UsageError(f"upsampling: expected one whole ratio of strides, got {ratios}")
        y, x = (
            (a - b) / s for a, b, s in zip(self.offset, finer.offset, finer.stride, strict=True)
        )
        return int(ratios[0]), (y, x)

    def cropped(self, crop: Sequence[int]) -> "_Cells":
        y, x = (o + s * c for o, s, c in zip(self.offset, self.stride, crop, strict=True))
        return _Cells(self.stride, (y, x))


def crop(map_NCHW: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """Cut ``size`` rows and columns from ``start`` on; both are (vertical, horizontal)."""
    return map_NCHW[:, :, start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
