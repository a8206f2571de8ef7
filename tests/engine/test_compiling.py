"""``--compile``: the cheap backend traces and differentiates as inductor does, no more."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from fcnseg.build import build_fcn
from fcnseg.config import TrainConfig
from fcnseg.engine import compiling, start
from fcnseg.engine.checkpoint import read_model
from fcnseg.engine.compiling import Compiled, check_compiler
from fcnseg.errors import EnvironmentFault

SIZES = [(64, 64), (96, 64), (50, 70), (33, 90)]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch._dynamo.reset()


def cheap(model: nn.Module) -> Compiled:
    return Compiled(model, "aot_eager")


def gradients(net: nn.Module, model: nn.Module, image: Tensor) -> list[Tensor]:
    model.zero_grad(set_to_none=True)
    net(image).square().mean().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.slow
def test_scores_and_gradients_are_those_of_the_network_at_every_size() -> None:
    torch.manual_seed(0)
    model = build_fcn("small_cnn", "8s", 3).to(memory_format=torch.channels_last)
    for numbers in model.head.parameters():
        nn.init.normal_(numbers, std=0.1)
    net = cheap(model)
    for size in SIZES:
        image = torch.randn(2, 3, *size).contiguous(memory_format=torch.channels_last)
        expected = gradients(model, model, image)
        found = gradients(net, model, image)
        assert len(found) == len(expected) > 0
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_it_shares_parameters_and_mode_with_the_network(make_net: Callable[..., Any]) -> None:
    model = make_net()
    net = cheap(model)
    assert [id(p) for p in net.parameters()] == [id(p) for p in model.parameters()]
    net.eval()
    assert not model.backbone[1].training
    image = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(net(image), net(image))  # no dropout
        net.train()
        before = model.backbone[1].running_mean.clone()
        net(image)
    assert not torch.equal(before, model.backbone[1].running_mean)


def test_a_compiled_run_is_the_run_and_resumes(
    config: TrainConfig,
    run_training: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "check_compiler", lambda device: None)
    monkeypatch.setattr(start, "Compiled", cheap)
    torch.manual_seed(0)
    plain = replace(config, schedule="constant", warmup=0, run=str(tmp_path / "plain"))
    expected = run_training(plain)
    half = replace(plain, compile=True, epochs=1, run=str(tmp_path / "compiled"))
    run_training(half)
    ended = run_training(replace(half, epochs=2, resume=True))
    assert losses(ended.folder) == pytest.approx(losses(expected.folder), rel=1e-3)
    assert list(read_model(ended.best)[1]) == list(read_model(expected.best)[1])


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [row["loss"] for row in rows if "lr" in row]


def test_every_state_dict_has_the_names_of_the_network(make_net: Callable[..., Any]) -> None:
    model = make_net()
    names = list(model.state_dict())
    cheap(model)(torch.rand(1, 3, 24, 32))
    assert list(model.state_dict()) == names
    assert not any("_orig_mod" in name for name in names)


def missing(model: Any, **options: Any) -> Any:
    def run(*args: Any) -> Any:
        raise TorchDynamoException("No working C++ compiler found: g++\n  more\n")

    return run


def test_a_missing_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.torch, "compile", missing)
    line = (
        r"^--compile: torch\.compile fails \(No working C\+\+ compiler found: g\+\+\); leave "
        r"--compile out, or install what it needs \(a C\+\+ compiler, on CUDA triton\)$"
    )
    with pytest.raises(EnvironmentFault, match=line):
        check_compiler(torch.device("cpu"))
    with pytest.raises(EnvironmentFault, match=line):
        Compiled(nn.Conv2d(3, 3, 1))(torch.rand(1, 3, 4, 4))


def test_it_is_found_missing_before_anything_is_trained(
    config: TrainConfig, run_training: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(device: torch.device) -> None:
        raise EnvironmentFault("--compile: no compiler")

    monkeypatch.setattr(start, "check_compiler", broken)
    with pytest.raises(EnvironmentFault, match="--compile"):
        run_training(replace(config, compile=True))
    assert not (config.run_folder / "log.jsonl").exists()


@pytest.mark.slow
def test_inductor_without_a_compiler_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    missing_one = inductor.patch({"cpp.cxx": (None, "no-such-compiler")})
    line = r"--compile: .*no-such-compiler.*; leave --compile"
    with missing_one, pytest.raises(EnvironmentFault, match=line):
        check_compiler(torch.device("cpu"))


@pytest.mark.slow
def test_inductor_compiles_a_network() -> None:
    check_compiler(torch.device("cpu"))
    torch.manual_seed(0)
    model = build_fcn("small_cnn", "8s", 3).to(memory_format=torch.channels_last)
    for numbers in model.head.parameters():
        nn.init.normal_(numbers, std=0.1)
    net = Compiled(model)
    for size in SIZES[:2]:
        image = torch.randn(2, 3, *size).contiguous(memory_format=torch.channels_last)
        expected = gradients(model, model, image)
        for a, b in zip(gradients(net, model, image), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
