"""Classification as the training loop sees it, compared with plain sums."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from class_samples import CLASSES, scene, write_folders
from torch import nn

from fcnseg.data.class_batches import ClassBatch, ClassBatches
from fcnseg.data.class_folders import ClassFolders
from fcnseg.data.class_parts import ClassSubset
from fcnseg.engine import classification, events
from fcnseg.engine.classification import Classification, Classified, Seen
from fcnseg.engine.run import RunFolder
from fcnseg.engine.world import World
from fcnseg.errors import NumericError
from fcnseg.own_classifier import CentreView, OwnClassifier, build_own_classifier


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClassFolders:
    return ClassFolders(write_folders(tmp_path_factory.mktemp("few") / "data", 5, side=40))


@pytest.fixture
def model() -> OwnClassifier:
    torch.manual_seed(0)
    return build_own_classifier("small_cnn", CLASSES, size=32)


Make = Callable[..., Classification]


@pytest.fixture
def task(source: ClassFolders, model: OwnClassifier, tmp_path: Path) -> Make:
    def make(world: World | None = None, observer: Any = events.silent) -> Classification:
        return Classification(
            view=CentreView(model.info.preprocessing),
            training=ClassSubset(source, range(0, 15, 2), "train"),
            testing=ClassSubset(source, range(1, 15, 2), "test"),
            folder=RunFolder(tmp_path),
            pictures=lambda net: lambda image, ids: image,
            device=torch.device("cpu"),
            batch_size=2,
            world=world or World(),
            observer=observer,
        )

    return make


def plainly(model: OwnClassifier, indices: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, K) and truths (N,) of scenes, one image at a time."""
    view, found = CentreView(model.info.preprocessing), []
    for index in indices:
        pixels = torch.from_numpy(view(scene(CLASSES[index // 5], index % 5, 40)[0]))
        with torch.no_grad():
            score = model.eval()(model.info.preprocessing(pixels.permute(2, 0, 1)[None]))
        found.append(score.double().softmax(1)[0].numpy())
    return np.stack(found), np.array(indices) // 5


def test_parts_of_the_loss_add_up_to_the_mean(
    source: ClassFolders, model: OwnClassifier, task: Make
) -> None:
    view = CentreView(model.info.preprocessing)
    batches = list(ClassBatches(source, view, [[0, 7, 11], [3], [14, 6]]))
    how = task()
    mass = sum(how.mass(batch) for batch in batches)
    assert mass == 6
    parts = [how.loss(model.eval(), batch, mass) for batch in batches]
    probability, truth = plainly(model, [0, 7, 11, 3, 14, 6])
    expected = -np.log(probability[np.arange(6), truth]).mean()
    assert float(sum(part.detach() for part in parts)) == pytest.approx(expected, rel=1e-5)
    assert how.ids(batches[1]) == ["disc/0003.png"]


def test_an_evaluation_is_what_plain_sums_say(model: OwnClassifier, task: Make) -> None:
    model.train()
    result = task().evaluate(model)
    assert model.training
    probability, truth = plainly(model, list(range(1, 15, 2)))
    guess = probability.argmax(1)
    assert result.test_accuracy == pytest.approx((guess == truth).mean())
    assert result.test_loss == pytest.approx(-np.log(probability[np.arange(7), truth]).mean())
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (truth, guess), 1)
    assert np.array_equal(result.confusion, counts)
    assert [s.probability for s in result.images.values()] == pytest.approx(
        probability[np.arange(7), truth]
    )
    learned, truth = plainly(model, list(range(0, 15, 2)))
    assert result.train_accuracy == pytest.approx((learned.argmax(1) == truth).mean())


class Threads:
    """Processes of one training as threads: what each gives is exchanged at a barrier."""

    def __init__(self, size: int) -> None:
        self.barrier, self.values = threading.Barrier(size, timeout=60), [None] * size

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found


class Part(World):
    """One of the threads."""

    def __init__(self, threads: Threads, rank: int, size: int) -> None:
        super().__init__(rank, size)
        object.__setattr__(self, "threads", threads)

    def sum(self, *numbers: float) -> list[float]:
        return [
            sum(parts) for parts in zip(*self.threads.exchange(self.rank, numbers), strict=True)
        ]

    def gather(self, value: Any) -> list[Any]:
        return self.threads.exchange(self.rank, value)


@pytest.mark.parametrize("size", [2, 5])  # of five, one has nothing to evaluate
def test_several_processes_find_the_same(model: OwnClassifier, task: Make, size: int) -> None:
    alone = task().evaluate(model.eval())
    threads, found = Threads(size), {}

    def work(rank: int) -> None:
        found[rank] = task(Part(threads, rank, size)).evaluate(model)

    workers = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for rank in range(size):
        assert list(found[rank].images) == list(alone.images)
        assert found[rank].images == alone.images
        assert found[rank].train_accuracy == alone.train_accuracy
        assert found[rank].test_loss == pytest.approx(alone.test_loss, rel=1e-12)


def test_training_accuracy_is_measured_on_so_many_images(
    model: OwnClassifier, task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification, "MOST_TRAINING_IMAGES", 3)
    result = task().evaluate(model)
    probability, truth = plainly(model, [0, 6, 12])  # every third of the 8
    assert result.train_accuracy == pytest.approx((probability.argmax(1) == truth).mean())


def evaluated(*images: tuple[int, int, float], loss: float = 0.5) -> Classified:
    seen = {str(number): Seen(*values) for number, values in enumerate(images)}
    return Classified(seen, loss, 0.5, ("a", "b", "c"))


def test_the_score_prefers_accuracy_then_a_low_loss() -> None:
    right, wrong = (0, 0, 0.9), (1, 0, 0.1)
    order = [
        evaluated(wrong, wrong, right, loss=0.0),
        evaluated(wrong, right, right, loss=9.0),
        evaluated(wrong, right, right, loss=1.0),
        evaluated(right, right, right, loss=99.0),
        evaluated(right, right, right, loss=0.0),
    ]
    scores = [result.score for result in order]
    assert scores == sorted(scores)
    assert len(set(scores)) == 5
    assert 0 <= scores[0] <= scores[-1] <= 1


def test_a_class_without_test_images_has_no_accuracy() -> None:
    result = evaluated((0, 0, 0.9), (0, 1, 0.2), (2, 2, 0.8))
    assert result.class_accuracy == (0.5, None, 1.0)
    assert result.row["mean_class_accuracy"] == 0.75
    assert result.row["class_accuracy"] == {"a": 0.5, "b": None, "c": 1.0}
    event = result.event(3, 9, 0.1, best=True)
    assert isinstance(event, events.Tested)
    assert (event.epoch, event.test_accuracy, event.best) == (3, pytest.approx(2 / 3), True)


def test_one_answer_for_everything_is_a_warning(model: OwnClassifier, task: Make) -> None:
    nn.init.zeros_(model.net.fc.weight)
    with torch.no_grad():
        model.net.fc.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    said: list[events.Event] = []
    task(observer=said.append).evaluate(model)
    (notice,) = [event for event in said if isinstance(event, events.Notice)]
    assert notice.warning
    assert "every test image is taken for 'lozenge', although" in notice.text


def test_scores_that_are_not_finite_are_refused(model: OwnClassifier, task: Make) -> None:
    with torch.no_grad():
        model.net.fc.bias[0] = float("nan")
    with pytest.raises(NumericError, match=r"disc/0000.png, disc/0002.png: the network's scores"):
        task().evaluate(model)
    assert isinstance(model, OwnClassifier)


def test_a_step_takes_images_on_the_cpu_and_gives_a_gradient(
    source: ClassFolders, model: OwnClassifier, task: Make
) -> None:
    view = CentreView(model.info.preprocessing)
    (batch,) = list(ClassBatches(source, view, [[0, 5, 10]]))
    assert isinstance(batch, ClassBatch)
    task().loss(model.train(), batch, 3.0).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
