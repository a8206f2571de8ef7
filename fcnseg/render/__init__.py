"""Pictures from numbers: masks, overlays, heatmaps, comparisons and training curves.

Every renderer takes NumPy arrays and returns a new (H, W, 3) uint8 RGB array; the inputs are
never changed. No function here knows about networks or geometry: maps arrive at the size of the
image they belong to.
"""

from fcnseg.palette import voc_palette
from fcnseg.render.comparison import comparison, comparison_sheet, difference
from fcnseg.render.curves import training_curves
from fcnseg.render.files import write_image
from fcnseg.render.heatmap import heatmap
from fcnseg.render.legend import legend
from fcnseg.render.mask import colourise, write_mask
from fcnseg.render.overlay import overlay
from fcnseg.render.png import MaskWriter
from fcnseg.render.segmented import segmented, segmented_png

__all__ = [
    "MaskWriter",
    "colourise",
    "comparison",
    "comparison_sheet",
    "difference",
    "heatmap",
    "legend",
    "overlay",
    "segmented",
    "segmented_png",
    "training_curves",
    "voc_palette",
    "write_image",
    "write_mask",
]
