"""The examples in docstrings run, and the public renderers and entries all have one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import fcnseg
from fcnseg import render

MODULES = (
    *("fcnseg.inference.predictor", "fcnseg.inference.pictures", "fcnseg.heatmaps"),
    *("fcnseg.palette", "fcnseg.convolutionalize", "fcnseg.build"),
    *sorted({inspect.getmodule(getattr(render, name)).__name__ for name in render.__all__}),
)


@pytest.mark.parametrize("name", sorted(set(MODULES)))
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


ENTRIES = [(render, name) for name in render.__all__]
ENTRIES += [(fcnseg, name) for name in ("Predictor", "heatmap", "build_fcn")]


@pytest.mark.parametrize(("home", "name"), ENTRIES, ids=lambda v: v if isinstance(v, str) else "")
def test_public_entries_have_an_example(home: object, name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(home, name)) or "")
