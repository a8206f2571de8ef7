"""Classes by what people call them: on the command line, and in the names of folders."""

import re
from collections.abc import Sequence

from fcnseg.checks import nearest
from fcnseg.errors import DataError, UsageError


def find_classes(
    classes: Sequence[str], names: Sequence[str], what: str = "--classes"
) -> list[int]:
    """The ids of classes by their names, whatever the case.

    A whole name wins over whole words of a name, and these over any part of it: ``cat`` means
    the classes with the word, not ``catamaran``, unless no class has the word. ``what`` is what
    errors call ``names``.

    Raises:
        UsageError: no class has this in its name; the message has the nearest name.
    """
    found: list[int] = []
    lower = [c.lower() for c in classes]
    for name in names:
        wanted = name.strip().lower()
        word = re.compile(rf"\b{re.escape(wanted)}\b")
        ids = (
            [i for i, c in enumerate(lower) if c == wanted]
            or [i for i, c in enumerate(lower) if word.search(c)]
            or [i for i, c in enumerate(lower) if wanted in c]
        )
        if not wanted or not ids:
            hint = nearest(wanted, classes) or nearest(wanted, lower)
            raise UsageError(f"{what} {name!r}: no class has this in its name{hint}")
        found += ids
    return list(dict.fromkeys(found))


def wordnet_ids() -> tuple[str, ...]:
    """The WordNet ids (``n02123045``) of ImageNet's 1000 classes, in the order of the outputs."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


def class_of_folder(name: str, classes: Sequence[str], ids: Sequence[str] = ()) -> int:
    """The class that a folder is named after.

    Args:
        name: the folder's: a class name, with ``_`` or spaces between its words and in any case,
            one of ``ids``, or the place of the class, from 0.
        classes: K names.
        ids: K other names (those of WordNet), or none.

    Returns:
        The place of the class, 0 to K - 1.

    Raises:
        DataError: no class, or more than one, has this name; the message has the nearest name.
    """
    if name in ids:
        return list(ids).index(name)
    if name.isascii() and name.isdigit():
        if int(name) < len(classes):
            return int(name)
        raise DataError(f"expected the number of a class, 0 to {len(classes) - 1}, got {name}")
    wanted = _plain(name)
    # In the case that it is written first: ImageNet has a Cardigan, a dog, and a cardigan.
    for spelling in (str, str.lower):
        found = [i for i, c in enumerate(classes) if spelling(_plain(c)) == spelling(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            places = " and ".join(map(str, found))
            raise DataError(
                f"{len(found)} classes have the name {name!r}; name the folder after the number of "
                f"the one you mean ({places})"
            )
    hint = nearest(wanted, classes) or nearest(wanted.lower(), [c.lower() for c in classes])
    raise DataError(f"no class has the name {name!r}{hint}")


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split())
