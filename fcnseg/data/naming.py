"""How the names of masks differ from those of their images: by an addition, or by what they start
with.

Names are paths below a folder, with ``/`` and without the ending of the file. A rule is given up at
the first image that it finds no mask for, so that the work stays in proportion to the names.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

Prefixes = tuple[str, str]
"""What the file names of images start with, and what those of masks have in its place."""

PICTURES_UNREAD = (
    *(".heic", ".heif", ".avif", ".raw", ".dng", ".cr2", ".nef", ".svg", ".pdf", ".psd"),
)
"""Endings of pictures that are not read, in lower case."""

NOTES_UNREAD = (".json", ".xml")
"""Endings of what annotation programs write in place of masks."""


def common_addition(images: Collection[str], masks: Collection[str]) -> str:
    """Return the addition with which every image has a mask; "" if some names fit as they are.

    ``masks`` is a set or a dictionary; of several additions, the shortest is returned.
    """
    if any(image in masks for image in images):
        return ""
    first = max(images, key=len)  # the longest fits the fewest masks
    additions = {mask[len(first) :] for mask in masks if mask.startswith(first)}
    fitting = [a for a in additions if all(image + a in masks for image in images)]
    return min(fitting, key=len, default="")


def common_prefixes(images: Collection[str], masks: Collection[str]) -> Prefixes | None:
    """Return the exchange of prefixes with which every image has a mask.

    None if some names fit as they are, if there are fewer than two images, or unless exactly one
    exchange fits. ``masks`` is a set or a dictionary.
    """
    if len(images) < 2 or any(image in masks for image in images):
        return None
    names = [_split(image)[1] for image in images]
    first = max(images, key=len)
    ending = _split(first)[1][_common(min(names), max(names)) :]
    exchanges = {_difference(first, mask) for mask in masks if mask.endswith(ending)}
    fitting = [
        exchange
        for exchange in exchanges
        if exchange is not None and all(exchanged(image, exchange) in masks for image in images)
    ]
    return fitting[0] if len(fitting) == 1 else None


def exchanged(name: str, prefixes: Prefixes) -> str | None:
    """Return ``name`` with the second prefix in place of the first, at the start of its file name.

    None where it does not start so, and where a number would be cut in two: ``mask_25`` is not the
    mask of ``img_15``.
    """
    old, new = prefixes
    folder, file = _split(name)
    rest = file[len(old) :]
    cut = rest[:1].isdigit() and (old[-1:].isdigit() or new[-1:].isdigit())
    return None if cut or not file.startswith(old) else folder + new + rest


def nearly(
    missing: Sequence[str], others: Mapping[str, Path], unread: Mapping[str, Path], save: str
) -> dict[str, str]:
    """Say of names without a partner which file was probably meant to be it.

    Args:
        missing: names of one folder.
        others: name -> file of the other folder that has no partner either.
        unread: name -> file of the other folder that has an ending which is not read.
        save: what such a file is to be saved as.

    Returns:
        Name -> a clause that starts with the file, for those names where there is one.
    """
    folded = {name.casefold(): file for name, file in others.items()}
    unread = {name.casefold(): file for name, file in unread.items()}
    said = {}
    for name in missing:
        if (file := folded.get(name.casefold())) is not None:
            said[name] = f"{file} differs in upper and lower case only; rename one of the two"
        elif (file := unread.get(name.casefold())) is not None:
            as_what = "export masks from it" if file.suffix.lower() in NOTES_UNREAD else "save it"
            said[name] = f"{file} is there but cannot be read; {as_what} as {save}"
    return said


def first_of_many(clauses: Mapping[str, str]) -> str:
    """Return ``"; "``, the first of the clauses, and how many more there are; "" of none."""
    more = f" (and {len(clauses) - 1} more such)" if len(clauses) > 1 else ""
    return next((f"; {clause}{more}" for clause in clauses.values()), "")


def hint(images: Sequence[str], masks: Sequence[str]) -> str:
    """Say what some masks have behind, or before, the names of images; "" if nothing is seen.

    Both are names without a partner, in their order.
    """
    for image in images:
        start = bisect_left(masks, image)
        if start < len(masks) and masks[start].startswith(image):
            end = bisect_left(masks, image + chr(0x10FFFF), start)
            addition = min((mask[len(image) :] for mask in masks[start:end]), key=len)
            return f", or give --mask-suffix {addition}"
    return _hint_of_prefixes(images, masks)


def _hint_of_prefixes(images: Sequence[str], masks: Sequence[str]) -> str:
    # The mask with the longest common ending is a neighbour in the order of names read backwards.
    backwards = sorted(mask[::-1] for mask in masks)
    votes: Counter[Prefixes] = Counter()
    for image in images:
        place = bisect_left(backwards, image[::-1])
        near = backwards[max(place - 1, 0) : place + 1]
        votes.update(filter(None, [_difference(image, mask[::-1]) for mask in near]))
    if not votes:
        return ""
    ((of_images, of_masks), _) = votes.most_common(1)[0]
    there = set(masks)
    fit = sum(exchanged(image, (of_images, of_masks)) in there for image in images)
    # Fewer may be a coincidence of numbers.
    if fit < min(2, len(images)) or 2 * fit < min(len(images), len(masks)):
        return ""
    return (
        f", or rename the masks: with {of_images!r} at the start in place of {of_masks!r}, {fit} "
        f"of {len(images)} images would have one"
    )


def _difference(image: str, mask: str) -> Prefixes | None:
    """Return what two names of one folder start with before their common ending."""
    (folder, image), (other, mask) = _split(image), _split(mask)
    if folder != other:
        return None
    common = _common(image[::-1], mask[::-1])
    return image[: len(image) - common], mask[: len(mask) - common]


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at the start."""
    length = min(len(one), len(other))
    return next((i for i in range(length) if one[i] != other[i]), length)


def _split(name: str) -> tuple[str, str]:
    """Return the folder, with its slash, and the name of the file."""
    folder, slash, file = name.rpartition("/")
    return folder + slash, file
