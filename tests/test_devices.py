"""Which precision is chosen, and what mixed precision computes in."""

import pytest
import torch
from torch import nn

from fcnseg.devices import autocast, choose_device, choose_precision
from fcnseg.errors import UsageError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_auto_is_fp32_away_from_cuda(device: str) -> None:
    assert choose_precision("auto", torch.device(device)) == torch.float32


@pytest.mark.parametrize(("native", "chosen"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_is_bf16_where_the_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, chosen: torch.dtype
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation  # every GPU can compute it by way of fp32

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("auto", CUDA) == chosen


def test_a_precision_by_name() -> None:
    assert choose_precision("bf16", CPU) == torch.bfloat16
    assert choose_precision("fp32", CUDA) == torch.float32
    assert choose_precision("fp16", CUDA) == torch.float16
    with pytest.raises(UsageError, match=r"^--precision fp16: needs CUDA, .*cpu; use bf16 or fp32"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize(
    ("precision", "computed"),
    [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)],
)
def test_layers_compute_in_the_chosen_type(precision: torch.dtype, computed: torch.dtype) -> None:
    layer = nn.Conv2d(3, 4, 3)
    with autocast(CPU, precision):
        score = layer(torch.rand(1, 3, 8, 8))
    assert score.dtype == computed
    assert layer(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_a_device_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"^--device nonsense: cannot be used"):
        choose_device("nonsense")
