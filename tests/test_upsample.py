"""Upsampling keeps cell centres, constants and straight lines."""

import pytest
import torch
from torch.nn import functional as F

from fcnseg.errors import UsageError
from fcnseg.upsample import Upsample, bilinear_kernel, resample

SHIFTS = [15.5, 12.5, 0.0, 31.0, -5.5, 6.5, 0.25, -3.7]


@pytest.mark.parametrize(("ratio", "size", "crop"), [(32, 64, 16), (16, 32, 8), (8, 16, 4)])
def test_between_cells_the_kernel_is_the_paper_s(ratio: int, size: int, crop: int) -> None:
    """The initialisation of the published networks, re-stated: even kernels, centre k/2 - 0.5."""
    kernel, got = bilinear_kernel(ratio, ratio / 2 - 0.5)
    factor, centre = (size + 1) // 2, size / 2 - 0.5
    expected = [1 - abs(i - centre) / factor for i in range(size)]
    assert kernel.tolist() == pytest.approx(expected)
    assert got == crop


@pytest.mark.parametrize("shift", [0.0, 2.0, -7.0])
def test_on_a_cell_the_kernel_is_odd(shift: float) -> None:
    kernel, crop = bilinear_kernel(4, shift)
    assert kernel.tolist() == [0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    assert crop == 3 - shift


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("ratio", [2, 8, 32])
def test_values_are_interpolated_between_centres(ratio: int, shift: float) -> None:
    """Against interpolation written out a value at a time; a ramp continues by its edge."""
    cells, size = 6, 6 * ratio
    values = torch.tensor([0.0, 5.0, 1.0, 2.0, 9.0, 4.0])
    up = Upsample(1, ratio, (shift, 0.0), learned=False)
    got = up(values.view(1, 1, cells, 1), (size, 1))[0, 0, :, 0]
    for index in range(size):
        position = min(max((index - shift) / ratio, 0), cells - 1)
        low = min(int(position), cells - 2)
        expected = values[low] + (position - low) * (values[low + 1] - values[low])
        assert float(got[index]) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_constant_stays_constant_up_to_the_border(shift: float) -> None:
    up = Upsample(3, 8, (shift, -shift))
    out = up(torch.full((2, 3, 5, 4), 2.5), (43, 37))
    assert out.shape == (2, 3, 43, 37)
    assert torch.allclose(out, torch.tensor(2.5), atol=1e-5)


def test_half_a_cell_agrees_with_torch() -> None:
    maps = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps, scale_factor=8, mode="bilinear")
    assert torch.allclose(Upsample(3, 8, (3.5, 3.5))(maps, (56, 40)), expected, atol=1e-5)
    assert torch.allclose(resample(maps, (8, 8), (3.5, 3.5), (56, 40)), expected, atol=1e-5)


def test_learned_kernels_are_parameters_of_each_class_and_fixed_ones_are_not() -> None:
    learned, fixed = Upsample(4, 2, (0.5, 0.5)), Upsample(4, 2, (0.5, 0.5), learned=False)
    assert [tuple(p.shape) for p in learned.parameters()] == [(4, 1, 4, 4)]
    assert not list(fixed.parameters())
    assert learned.state_dict().keys() == fixed.state_dict().keys()
    maps = torch.zeros(1, 4, 3, 3)
    maps[0, 2] = 1
    with torch.no_grad():
        out = learned(maps, (6, 6))
    assert out[0, [0, 1, 3]].abs().max() == 0  # classes do not mix


def test_without_a_size_it_is_the_bare_transposed_convolution() -> None:
    up = Upsample(2, 4, (1.5, 1.5))
    maps = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = F.conv_transpose2d(maps, up.weight, stride=4, groups=2)
    assert torch.equal(up(maps), expected)


@pytest.mark.parametrize(("stride", "offset"), [(9.3, 4.2), (30.7, -11.5), (2.0, 40.0), (0.5, 0.0)])
def test_resample_reads_the_map_at_the_pixel_s_place(stride: float, offset: float) -> None:
    ramp = torch.arange(11, dtype=torch.float64).view(1, 1, 11, 1).expand(1, 1, 11, 3)
    out = resample(ramp, (stride, stride), (offset, offset), (60, 8))[0, 0, :, 0]
    expected = [min(max((p - offset) / stride, 0), 10) for p in range(60)]
    assert out.tolist() == pytest.approx(expected, abs=1e-9)
    with pytest.raises(UsageError, match="expected an"):
        resample(ramp[0], (1, 1), (0, 0), (3, 3))


def test_dense_kernels_read_every_class() -> None:
    """Diagonal, they are the kernels of each class by itself; whole, a transposed convolution."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 5, 4, generator=generator)
    own, dense = Upsample(3, 4, (1.5, 6.0)), Upsample(3, 4, (1.5, 6.0), dense=True)
    assert [type(p) for p in dense.parameters()] == [torch.nn.Parameter]
    assert dense.weight.shape == (3, 3, *own.weight.shape[2:])
    assert "dense" in repr(dense)
    assert "dense" not in repr(own)
    assert torch.allclose(dense(maps, (20, 16)), own(maps, (20, 16)), atol=1e-5)
    with torch.no_grad():
        dense.weight.uniform_(generator=generator)
    expected = F.conv_transpose2d(maps, dense.weight, stride=4)
    assert torch.allclose(dense(maps), expected, atol=1e-5)
    assert dense(maps, (20, 16)).shape == (2, 3, 20, 16)
