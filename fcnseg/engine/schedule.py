"""Learning-rate schedules: a linear warm-up, then a polynomial decay to zero or no change."""

from collections.abc import Callable

from fcnseg.checks import check_choice

Schedule = Callable[[int, int, float], float]
"""(step from 0, steps in all, share of them that warms up) -> factor on the learning rate."""


def schedule(name: str) -> Schedule:
    """``"poly"``: :func:`poly_with_warmup`; ``"constant"``: :func:`constant_after_warmup`.

    Raises:
        UsageError: no such schedule.
    """
    check_choice("--schedule", name, list(_SCHEDULES))
    return _SCHEDULES[name]


def poly_with_warmup(step: int, total: int, warmup: float = 0.05, power: float = 0.9) -> float:
    """The factor on the learning rate at ``step`` of ``total``, in (0, 1].

    ``warmup`` is the share of all steps over which the factor rises linearly; after it the
    factor is ``(1 - progress) ** power``. ``step`` counts from 0.
    """
    rising = int(total * warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (1 - (step - rising) / max(total - rising, 1)) ** power


def constant_after_warmup(step: int, total: int, warmup: float = 0.0) -> float:
    """The factor on the learning rate at ``step`` of ``total``: rising over ``warmup``, then 1."""
    rising = int(total * warmup)
    return (step + 1) / (rising + 1) if step < rising else 1.0


_SCHEDULES: dict[str, Schedule] = {"poly": poly_with_warmup, "constant": constant_after_warmup}
