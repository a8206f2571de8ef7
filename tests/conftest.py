"""Fixtures that tests of several rooms share."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # a test on each core: threads would take turns
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kills import Helper, helper


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with the CamVid and VOC samples; skip where it is absent."""
    beside = Path(__file__).resolve().parents[1] / "../shared/data"
    folder = Path(os.environ.get("FCNSEG_TEST_DATA", beside)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (FCNSEG_TEST_DATA names another folder)")
    return folder


@pytest.fixture(scope="session")
def photograph() -> Callable[[str], np.ndarray]:
    """Return a reader of the photographs that come with scikit-image, (H, W, 3) uint8."""
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    return lambda name: np.ascontiguousarray(getattr(data, name)())


@pytest.fixture(scope="session")
def forks() -> Iterator[Helper]:
    """A process that forks trainings, for tests that end them by force."""
    with helper() as process:
        yield process


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The width of tables does not depend on where the tests run."""
    monkeypatch.delenv("COLUMNS", raising=False)
