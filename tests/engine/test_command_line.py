"""The command of a report gives the settings back."""

import shlex
from dataclasses import replace
from typing import Any

import pytest

from fcnseg.cli import train
from fcnseg.cli.parser import parse
from fcnseg.config import TrainConfig, load_config
from fcnseg.engine.command import command_line
from fcnseg.settings import Size


def read(flags: dict[str, Any]) -> TrainConfig:
    return load_config(TrainConfig, None, flags)


@pytest.mark.parametrize(
    "config",
    [
        read({"recipe": "paper", "backbone": "vgg16", "variant": "16s"}),
        read({"recipe": "paper", "backbone": "vgg16", "epochs": 30, "momentum": 0.9}),
        TrainConfig(),
        TrainConfig(data="shapes", backbone="resnet18", lr=0.00025, ema=0.999, compile=True),
        TrainConfig(data="folder", images="it's a town", masks="m", crop_size=Size(32, 48), seed=7),
    ],
)
def test_the_flags_are_read_back_as_the_settings(config: TrainConfig) -> None:
    entered = replace(config, run="somewhere", overwrite=True)
    words = shlex.split(command_line("fcnseg train", entered))
    assert words[:2] == ["fcnseg", "train"]
    assert train.settings(parse("train", train, words[2:])) == config


def test_what_a_recipe_implies_is_left_out() -> None:
    paper = read({"recipe": "paper", "backbone": "vgg16", "variant": "16s", "momentum": 0.9})
    line = command_line("fcnseg train", paper)
    assert set(line.split()[2::2]) <= {"--recipe", "--backbone", "--variant", "--momentum"}
    assert "--momentum 0.9" in line


def test_several_processes_are_started_by_torchrun() -> None:
    line = command_line("fcnseg train", TrainConfig(data="shapes"), processes=2)
    assert line == "torchrun --nproc-per-node 2 -m -- fcnseg train --data shapes"
