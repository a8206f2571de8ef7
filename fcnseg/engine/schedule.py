"""Learning-rate schedule: a linear warm-up, then a polynomial decay to zero."""


def poly_with_warmup(step: int, total: int, warmup: float = 0.05, power: float = 0.9) -> float:
    """The factor on the learning rate at ``step`` of ``total``, in (0, 1].

    ``warmup`` is the share of all steps over which the factor rises linearly; after it the
    factor is ``(1 - progress) ** power``. ``step`` counts from 0.
    """
    rising = int(total * warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (1 - (step - rising) / max(total - rising, 1)) ** power
