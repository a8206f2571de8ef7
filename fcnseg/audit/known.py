"""Colour tables of published data sets, recognised in masks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fcnseg.data.camvid_classes import COLOURS as CAMVID
from fcnseg.data.camvid_classes import GROUP_COLOURS as CAMVID_GROUPS
from fcnseg.data.camvid_classes import VOID_COLOURS as CAMVID_VOID
from fcnseg.palette import Colour, voc_palette

_VOC_NAME = re.compile(r"20\d\d_\d{6}")

# So many of a table's colours are no coincidence.
_ENOUGH_VOC, _ENOUGH_CAMVID = 12, 6


def known_colours(
    seen: set[Colour], files: Sequence[Path]
) -> tuple[dict[str, Colour] | None, list[str]]:
    """Return name -> colour of the table that all of ``seen`` are from, and what to say of it.

    PASCAL VOC's colours are what many programs use for any classes, in the order of their ids:
    its names are proposed only where the files have VOC's names or most of its colours occur.
    """
    voc = dict(zip(_voc_classes(), voc_palette(len(_voc_classes())), strict=True))
    if seen <= set(voc.values()):
        if _is_voc(len(seen), files):
            return voc, ["the colours are those of PASCAL VOC, and so are the proposed names"]
        if len(seen) > 2 or seen == set(list(voc.values())[:2]):
            kept = {name: colour for name, colour in voc.items() if colour in seen}
            return _by_number(voc, seen), [_only_the_table(kept)]
        return None, []
    for table, what in ((CAMVID, "31 classes"), (CAMVID_GROUPS, "11 grouped classes")):
        colours = set(table.values())
        if seen <= colours | set(CAMVID_VOID) and len(seen) >= _ENOUGH_CAMVID:
            found = dict(table)
            lines = [f"the colours are those of CamVid's {what}, and so are the proposed names"]
            if seen & set(CAMVID_VOID):
                found["Void"] = CAMVID_VOID[0]
                lines.append(
                    "black is taken for a class of its own, Void; the reader of CamVid's own "
                    "folders (--data camvid) leaves it out"
                )
            return found, lines
    return None, []


def known_names(
    shown: Mapping[Colour, int], files: Sequence[Path]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return names for palette indices from the colours they are shown in, and what to say."""
    classes = _voc_classes()
    palette = voc_palette(len(classes))
    if not all(i < len(classes) and palette[i] == colour for colour, i in shown.items()):
        return None, []
    if _is_voc(len(shown), files):
        return classes, ["ids and colours are those of PASCAL VOC, and so are the proposed names"]
    if len(shown) > 1:
        return None, [_only_the_table(classes[i] for i in sorted(shown.values()))]
    return None, []


def _only_the_table(names: Iterable[str]) -> str:
    return (
        "the colours are from PASCAL VOC's table, which labelling tools use for other classes "
        f"too; in VOC they are {', '.join(names)}"
    )


def _by_number(voc: Mapping[str, Colour], seen: set[Colour]) -> dict[str, Colour]:
    """Colours in the order of their ids in VOC's table, with these in their names."""
    numbered = {
        "background" if i == 0 else f"class{i}": colour
        for i, colour in enumerate(voc.values())
        if colour in seen
    }
    return numbered


def _is_voc(colours: int, files: Sequence[Path]) -> bool:
    named = sum(_VOC_NAME.fullmatch(path.stem) is not None for path in files)
    return 2 * named > len(files) or colours >= _ENOUGH_VOC


def _voc_classes() -> tuple[str, ...]:
    from fcnseg.data.voc import CLASSES

    return CLASSES
