"""Folders are named after classes."""

import pytest

from fcnseg.catalogue import imagenet_classes
from fcnseg.errors import DataError
from fcnseg.inference.class_names import class_of_folder, wordnet_ids

CLASSES = ("tabby", "Egyptian cat", "Cardigan", "cardigan", "crane bird")
IDS = ("n1", "n2", "n3", "n4", "n5")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("tabby", 0), ("TABBY", 0), ("Egyptian_cat", 1), ("egyptian  cat", 1), ("crane_bird", 4),
        ("Cardigan", 2), ("cardigan", 3), ("n3", 2), ("0", 0), ("004", 4),
    ],
)  # fmt: skip
def test_names_ids_and_numbers(name: str, place: int) -> None:
    assert class_of_folder(name, CLASSES, IDS) == place


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("egyptn_cat", "no class has the name 'egyptn_cat'; did you mean 'Egyptian cat'?"),
        ("TABBI", r"no class has the name 'TABBI'; did you mean 'tabby'\?"),
        ("cat", "no class has the name 'cat'"),  # a part of a name is not enough
        ("n6", "no class has the name 'n6'"),
        ("CARDIGAN", r"2 classes have the name 'CARDIGAN'.*number of the one you mean \(2 and 3"),
        ("5", "expected the number of a class, 0 to 4, got 5"),
        ("²", "no class has the name"),
    ],
)
def test_other_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        class_of_folder(name, CLASSES, IDS)


def test_wordnet_ids_are_in_the_order_of_the_outputs() -> None:
    ids, classes = wordnet_ids(), imagenet_classes()
    assert len(set(ids)) == len(classes) == 1000
    known = {
        "n01440764": "tench", "n02124075": "Egyptian cat", "n02123045": "tabby",
        "n07920052": "espresso", "n15075141": "toilet tissue",
    }  # fmt: skip
    assert {i: classes[class_of_folder(i, classes, ids)] for i in known} == known
