"""Checkpoints come back whole or are refused."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fcnseg.build import build_fcn
from fcnseg.engine.average import Average
from fcnseg.engine.checkpoint import (
    Progress,
    load_fitting,
    load_state,
    load_tensors,
    read_config,
    read_model,
    save_model,
    save_state,
)
from fcnseg.engine.optimizer import build_optimizer, parameter_groups
from fcnseg.engine.tensors import read_tensors, write_tensors
from fcnseg.errors import EnvironmentFault, FcnsegError, NumericError, WeightsError
from fcnseg.model import ModelInfo


def test_round_trip_with_everything_that_use_needs(tiny: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tiny.to(memory_format=torch.channels_last)
    save_model(path, tiny, {"lr": 0.1})
    info, tensors = read_model(path)
    assert ModelInfo.from_dict(info) == tiny.info
    own = tiny.state_dict()
    assert own.keys() == tensors.keys()
    assert all(torch.equal(own[name], tensors[name]) for name in own)
    assert read_config(path) == {"lr": 0.1}
    save_model(tmp_path / "b.safetensors", tiny)
    assert read_config(tmp_path / "b.safetensors") == {}
    (tmp_path / "b.safetensors").unlink()
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_that_share_memory_come_back(tmp_path: Path) -> None:
    path, both = tmp_path / "a.safetensors", torch.arange(6.0)
    write_tensors(path, {"a": both, "b": both, "c": both[:2]}, {})
    found = read_tensors(path)[1]
    assert torch.equal(found["a"], both)
    assert torch.equal(found["b"], both)
    assert torch.equal(found["c"], both[:2])


def test_every_changed_byte_and_every_length_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.arange(4.0), "b": torch.ones(2)}, {"kind": "model"})
    whole = path.read_bytes()
    good = read_tensors(path)
    unnoticed = []
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x11
        path.write_bytes(changed)
        try:
            content, tensors = read_tensors(path)
        except WeightsError:
            continue
        # only what carries no meaning may differ
        same = content == good[0] and tensors.keys() == good[1].keys()
        if not (same and all(torch.equal(tensors[k], good[1][k]) for k in tensors)):
            unnoticed.append(place)
    assert unnoticed == []
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"a\.safetensors: "):
            read_tensors(path)


def test_foreign_files_are_refused_and_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "executed",)

    pickled = tmp_path / "model.pth"
    pickled.write_bytes(pickle.dumps(Evil()))
    foreign = tmp_path / "b.safetensors"
    save_file({"w": torch.ones(2)}, foreign)
    huge = tmp_path / "c.safetensors"
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}})
    huge.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    for path, match in (
        (pickled, "not a complete safetensors file"),
        (foreign, "not written by fcnseg"),
        (huge, "not a complete safetensors file"),
        (tmp_path / "none", "no such file"),
        (tmp_path, "is a folder; give the best.safetensors in it"),
    ):
        with pytest.raises(WeightsError, match=match) as caught:
            read_model(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_a_failed_write_keeps_the_old_file(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, tiny)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fcnseg.files.os.replace", full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        save_model(path, tiny)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_are_not_finite_are_not_saved(tiny: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, tiny)
    before = path.read_bytes()
    with torch.no_grad():
        tiny.head.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NumericError, match=r"head\.weight holds NaN"):
        save_model(path, tiny)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_state_round_trip(kind: str, make_net: Callable[..., Any], tmp_path: Path) -> None:
    def steps(net: Any, optimizer: Any, count: int) -> None:
        for step in range(count):
            torch.manual_seed(step)  # as in training, randomness is a function of the position
            optimizer.zero_grad()
            (net(torch.rand(2, 3, 8, 8)) ** 2).mean().backward()
            optimizer.step()

    def fresh() -> tuple[Any, Any]:
        net = make_net().to(memory_format=torch.channels_last)
        groups = parameter_groups(net, net.head, 1e-2, 2, 0.1)
        return net, build_optimizer(kind, groups)

    torch.manual_seed(1)
    net, optimizer = fresh()
    steps(net, optimizer, 2)
    path = tmp_path / "state.safetensors"
    save_state(path, net, optimizer, Progress(1, 2, 0.5, 1))
    steps(net, optimizer, 3)

    other, other_optimizer = fresh()
    assert load_state(path, other, other_optimizer) == Progress(1, 2, 0.5, 1)
    steps(other, other_optimizer, 3)
    one, two = net.state_dict(), other.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_scale_of_the_loss_comes_back(tiny: Any, tmp_path: Path) -> None:
    optimizer = build_optimizer("sgd", parameter_groups(tiny, tiny.head, 1, 1, 0))
    scaler, fresh = (torch.amp.GradScaler("cpu", init_scale=2.0**n) for n in (5, 16))
    scaler.scale(torch.ones(1, requires_grad=True).sum())  # it takes its values on first use
    scaler.update(12.0)
    path = tmp_path / "state.safetensors"
    save_state(path, tiny, optimizer, Progress(), scaler)
    load_state(path, tiny, optimizer, fresh)
    assert fresh.state_dict() == scaler.state_dict()
    assert fresh.get_scale() == 12

    save_state(path, tiny, optimizer, Progress(), torch.amp.GradScaler("cpu", enabled=False))
    load_state(path, tiny, optimizer, fresh)  # fp32 before, fp16 now
    assert fresh.get_scale() == 12


def test_fixed_upsampling_stays_bilinear(tmp_path: Path) -> None:
    sizes = {"weights": "none", "num_classes": 3}
    learned = build_fcn("resnet18", "16s", **sizes, upsample="learned")
    with torch.no_grad():
        for parameter in learned.head.parameters():
            parameter.uniform_()
    save_model(tmp_path / "a.safetensors", learned)
    fixed = build_fcn("resnet18", "16s", **sizes, upsample="fixed")
    before = {name: kernel.clone() for name, kernel in fixed.head.named_buffers()}
    assert len(before) == 2
    taken, kept = load_fitting(tmp_path / "a.safetensors", fixed)
    after = fixed.state_dict()
    assert all(torch.equal(after[f"head.{name}"], kernel) for name, kernel in before.items())
    assert (taken, kept) == (len(after) - 2, [])
    learned_too = build_fcn("resnet18", "16s", **sizes, upsample="learned")
    assert load_fitting(tmp_path / "a.safetensors", learned_too) == (len(after), [])


def test_a_state_is_a_model_too_but_a_model_no_state(tiny: Any, tmp_path: Path) -> None:
    optimizer = build_optimizer("sgd", parameter_groups(tiny, tiny.head, 1, 1, 0))
    state, model = tmp_path / "s.safetensors", tmp_path / "m.safetensors"
    save_state(state, tiny, optimizer, Progress(), config={"lr": 1})
    save_model(model, tiny, {"lr": 1})
    (info, tensors), (known, own) = read_model(state), read_model(model)
    assert (info, tensors.keys(), read_config(state)) == (known, own.keys(), {"lr": 1})
    assert all(torch.equal(tensors[name], own[name]) for name in own)
    with pytest.raises(WeightsError, match="holds a segmentation network, not a classifier"):
        read_model(state, "classifier")
    with pytest.raises(WeightsError, match="a model, not a training state"):
        load_state(model, tiny, optimizer)


def test_of_a_state_with_an_average_the_average_is_the_model(tiny: Any, tmp_path: Path) -> None:
    optimizer = build_optimizer("sgd", parameter_groups(tiny, tiny.head, 1, 1, 0))
    average, path = Average(tiny, 0.5), tmp_path / "s.safetensors"
    with torch.no_grad():
        tiny.head.bias.fill_(7)
    save_state(path, tiny, optimizer, Progress(), average=average)
    tensors = read_model(path)[1]
    assert torch.equal(tensors["head.bias"], average.module.head.bias)
    assert not torch.equal(tensors["head.bias"], tiny.head.bias)
    with pytest.raises(WeightsError, match=r"s\.safetensors: has averaged weights; resume with"):
        load_state(path, tiny, optimizer)


def test_tensors_that_do_not_fit_are_counted(tiny: Any, make_net: Callable[..., Any]) -> None:
    tensors = tiny.state_dict()
    tensors["extra"] = tensors.pop("head.weight")
    with pytest.raises(WeightsError, match=r"1 tensors missing, 1 unknown, 0 of another shape"):
        load_tensors("x", tiny, tensors)
    with pytest.raises(WeightsError, match="2 of another shape"):
        load_tensors("x", tiny, make_net(("a", "b")).state_dict())


def test_start_from_a_checkpoint_with_other_classes(
    tiny: Any, make_net: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, tiny)
    other = make_net(("a", "b"))
    head = other.head.weight.clone()
    taken, kept = load_fitting(path, other)
    assert kept == ["head.weight", "head.bias"]
    assert taken == len(tiny.state_dict()) - 2
    assert torch.equal(other.backbone[0].weight, tiny.backbone[0].weight)
    assert torch.equal(other.head.weight, head)

    object.__setattr__(other.info, "backbone", "resnet18")
    with pytest.raises(FcnsegError, match="made from vgg16, this network from resnet18"):
        load_fitting(path, other)


def test_the_same_contents_are_the_same_bytes(tiny: Any, tmp_path: Path) -> None:
    written = set()
    for index in range(8):
        path = tmp_path / f"{index}.safetensors"
        save_model(path, tiny, {"a": 1, "b": 2})
        written.add(path.read_bytes())
    assert len(written) == 1
