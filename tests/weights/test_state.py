import contextlib
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fcnseg.errors import WeightsError
from fcnseg.weights.state import load_into, read_state


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


@pytest.fixture
def state():
    return {name: tensor.clone() for name, tensor in network().state_dict().items()}


def save(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        legacy = path.name.startswith("legacy")
        torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return path


FILES = ["a.safetensors", "a.pth", "a.pt", "legacy.pth"]


@pytest.mark.parametrize("name", FILES)
def test_what_was_saved_is_read(tmp_path, state, name):
    got = read_state(save(state, tmp_path / name))
    assert type(got) is dict
    assert sorted(got) == sorted(state)
    assert all(torch.equal(got[n], state[n]) for n in state)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, state, name, kept):
    path = save(state, tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_any_damage_is_a_weights_error_or_harmless(tmp_path, state, name):
    path = save(state, tmp_path / name)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(WeightsError):
            read_state(path)


class Malicious:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path, monkeypatch, form, forced):
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker, path = tmp_path / "executed", tmp_path / "evil.pth"
    content = {"weight": torch.zeros(2), "payload": Malicious(marker)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"payload": Malicious(marker)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"refused: .*nothing in it was run") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_training_checkpoint_is_unwrapped(tmp_path, state, wrapper):
    path = tmp_path / "a.pth"
    torch.save({wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}}, path)
    assert sorted(read_state(path)) == sorted(state)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "got list"),
        ({}, "got 0 entries"),
        ({"epoch": 1, "b": 2, "c": 3, "d": 4}, r"got 4 entries \('epoch', 'b', 'c', \.\.\.\)"),
        ({0: torch.zeros(1)}, "got 1 entries"),
        ({"w": torch.eye(3).to_sparse()}, "names and dense tensors"),
        ({"w": torch.zeros(3, device="meta")}, "names and dense tensors"),
    ],
)
def test_something_else_than_a_state_is_refused(tmp_path, content, expected):
    path = tmp_path / "a.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=expected):
        read_state(path)


def test_missing_files_and_other_kinds_are_named(tmp_path):
    with pytest.raises(WeightsError, match="there is no such file"):
        read_state(tmp_path / "none.pth")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(WeightsError, match="there is no such file"):
        read_state(tmp_path / "folder.pt")
    with pytest.raises(WeightsError, match=r"expected a \.safetensors, \.pth or \.pt file"):
        read_state(tmp_path / "a.npz")


def test_text_under_a_weights_name_is_refused(tmp_path):
    for name in ("page.pth", "page.safetensors"):
        path = tmp_path / name
        path.write_text("<html>Not found</html>" * 100)
        with pytest.raises(WeightsError):
            read_state(path)


def test_an_archive_that_grows_is_refused(tmp_path, state):
    plain, bomb = tmp_path / "plain.pth", tmp_path / "bomb.pth"
    state["0.weight"] = torch.zeros(1 << 20)
    torch.save(state, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(WeightsError, match=r"refused: .* bytes that unpack to"):
        read_state(bomb)


def test_a_small_file_of_a_huge_shape_costs_no_memory(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.zeros(1).expand(10**12), "bias": torch.zeros(2)}, path)
    state = read_state(path)
    with pytest.raises(WeightsError, match=r"1 of another shape \(weight: \(1000000000000,\)"):
        load_into(nn.Linear(3, 2), state, path)


def test_loading_copies_everything(state):
    module = network()
    load_into(module, state, "a.pth")
    assert all(torch.equal(t, state[n]) for n, t in module.state_dict().items())


def test_half_floats_are_converted(state):
    module = network()
    halves = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    load_into(module, halves, "a.pth")
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, halves["0.weight"].float())


def test_counters_of_old_files_may_be_missing(state):
    del state["1.num_batches_tracked"]
    module = network()
    module[1].num_batches_tracked += 7
    load_into(module, state, "a.pth")
    assert torch.equal(module[0].weight, state["0.weight"])


def unchanged_after(module, state, message):
    before = {n: t.clone() for n, t in module.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as caught:
        load_into(module, state, "a.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[n], t) for n, t in module.state_dict().items())


def test_keys_that_do_not_fit_are_counted_and_named(state):
    wrong = dict(state)
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        del wrong[name]
    wrong["extra"] = torch.zeros(1)
    wrong["2.weight"] = torch.zeros(5, 4, 1, 1)
    wrong["2.bias"] = torch.zeros(2, dtype=torch.int64)
    unchanged_after(
        network(),
        wrong,
        r"a\.pth: does not fit this network of 9 tensors: "
        r"4 missing \(0\.weight, 0\.bias, 1\.weight, \.\.\.\), 1 unexpected \(extra\), "
        r"1 of another shape \(2\.weight: \(5, 4, 1, 1\) in the file, \(2, 4, 1, 1\) in the "
        r"network\), 1 of another type \(2\.bias: torch\.int64 in the file",
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(state, bad):
    state["2.weight"][1, 2] = bad
    unchanged_after(network(), state, r"NaN or infinity in 1 tensors \(2\.weight\)")


SMALL_FLOATS = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", [*SMALL_FLOATS, torch.float4_e2m1fn_x2, torch.complex64])
def test_other_floats_are_of_another_type(tmp_path, state, suffix, kind):
    numbers = torch.zeros(4, 3, 3, 3 * kind.itemsize, dtype=torch.uint8)
    state["0.weight"] = numbers.view(kind) if not kind.is_complex else numbers[..., :3].to(kind)
    path = save(state, tmp_path / f"a{suffix}")
    unchanged_after(
        network(),
        read_state(path),
        rf"1 of another type \(0\.weight: {kind} in the file, torch\.fl",
    )


def test_a_counter_is_a_whole_number(state):
    state["1.num_batches_tracked"] = torch.zeros((), dtype=torch.complex64)
    unchanged_after(network(), state, r"1 of another type \(1\.num_batches_tracked")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_each_width_are_converted(state, kind):
    module = network()
    given = {n: t.to(kind) if t.is_floating_point() else t for n, t in state.items()}
    load_into(module, given, "a.pth")
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, given["0.weight"].to(torch.float32))


def test_what_is_infinite_in_the_networks_type_is_refused(state):
    state["2.bias"] = torch.tensor([0.0, 1e300], dtype=torch.float64)
    unchanged_after(
        network(), state, r"a\.pth: NaN or infinity in 1 tensors \(2\.bias\) as float32;"
    )
    module = network().double()
    load_into(module, state, "a.pth")
    assert module[2].bias[1] == 1e300


@pytest.mark.parametrize(
    "name",
    ["\x1b[31mred", "a\nb", "\u202eleft", "k" * 100_000, "\x00" * 100_000],
    ids=["escape", "lines", "turned", "long", "zeros"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_names_of_a_file_stay_short_and_printable(tmp_path, state, suffix, name):
    state[name] = torch.zeros(1)
    path = save(state, tmp_path / f"a{suffix}")
    with pytest.raises(WeightsError, match=r"1 unexpected \('") as caught:
        load_into(network(), read_state(path), "a.pth")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800
    torch.save({name: [1], ("x", name): 2}, tmp_path / "entries.pth")
    with pytest.raises(WeightsError, match=r"got 2 entries \('") as caught:
        read_state(tmp_path / "entries.pth")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800 + len(str(tmp_path))


def test_a_tensor_of_many_sides_makes_no_long_message(state):
    state["2.bias"] = torch.zeros([1] * 5000)
    with pytest.raises(WeightsError, match=r"1 of another shape \(2\.bias: ") as caught:
        load_into(network(), state, "a.pth")
    assert len(str(caught.value)) < 400


def test_what_a_library_quotes_of_a_file_is_printable(tmp_path):
    header = '{"a\x7f\u202e":{"dtype":"U8","shape":[8],"data_offsets":[4,2]}}'.encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(WeightsError, match="not a whole safetensors file") as caught:
        read_state(path)
    assert str(caught.value).isprintable()


def test_a_pickle_of_the_hub_is_read(tmp_path, state):
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)
    assert sorted(read_state(path)) == sorted(state)
