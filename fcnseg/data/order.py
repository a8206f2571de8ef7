"""Which samples make which batch, in which process, and the seeds of what is random in the data.

Nothing here draws from a global random state: the order of an epoch is a function of (seed,
epoch), the augmentation of a sample a function of (seed, epoch, index).
"""

import numpy as np

from fcnseg.checks import check_choice
from fcnseg.errors import UsageError

SAMPLING = ("once", "replacement")

# What a random number is for; without it (seed, epoch) and (seed, epoch, 0) would be one seed.
_ORDER, _AUGMENTATION, _DRAWS = 1, 2, 5


def epoch_order(length: int, seed: int, epoch: int, sampling: str = "once") -> list[int]:
    """Return ``length`` indices in the order of an epoch, the same in every process.

    ``sampling`` is ``"once"``: each index once; or ``"replacement"``: each place is drawn from
    all indices, as the data layer of the paper's networks did, so that some come several times
    and a third do not come at all.
    """
    check_choice("--sampling", sampling, list(SAMPLING))
    if sampling == "once":
        numbers = np.random.default_rng(np.random.SeedSequence([_ORDER, seed, epoch]))
        return numbers.permutation(length).tolist()
    numbers = np.random.default_rng(np.random.SeedSequence([_DRAWS, seed, epoch]))
    return numbers.integers(0, length, length).tolist()


def augmentation_seed(seed: int, epoch: int, index: int) -> int:
    """Return the seed, 0 to 2**64 - 1, for augmenting sample ``index`` in ``epoch``.

    A sample that is drawn twice in an epoch looks the same both times.
    """
    sequence = np.random.SeedSequence([_AUGMENTATION, seed, epoch, index])
    return int(sequence.generate_state(1, np.uint64)[0])


def batches_in_epoch(length: int, batch_size: int, world_size: int = 1) -> int:
    """Return how many batches each process has of an epoch of ``length`` samples.

    Where batches of ``world_size`` processes do not come out even, the rest is one more, smaller
    batch, unless a process would get fewer than two samples of it: batch norm cannot learn from
    one sample whose map is a single cell. A rest that is all there is makes the only batch.

    Raises :class:`UsageError` for fewer samples than processes.
    """
    if length < world_size:
        raise UsageError(
            f"torchrun: {world_size} processes cannot share {length} training images; lower "
            "--nproc-per-node"
        )
    whole, rest = divmod(length, batch_size * world_size)
    return max(1, whole + (rest >= 2 * world_size))


def epoch_batches(
    length: int,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world_size: int = 1,
    sampling: str = "once",
) -> list[list[int]]:
    """Return the indices of each batch that process ``rank`` has of an epoch.

    The batches number b of all processes, one after the other, are samples b * n to (b + 1) * n
    of the epoch's order, n being ``batch_size * world_size``: those that one process would have
    with batches of n. A rest is shared out evenly; see :func:`batches_in_epoch`, which says how
    many batches there are and what is raised.
    """
    order = epoch_order(length, seed, epoch, sampling)
    together = batch_size * world_size
    batches = []
    for start in range(0, batches_in_epoch(length, batch_size, world_size) * together, together):
        each, more = divmod(min(together, length - start), world_size)
        first = start + rank * each + min(rank, more)
        batches.append(order[first : first + each + (rank < more)])
    return batches


def evaluation_share(length: int, batch_size: int, rank: int, world_size: int) -> list[int]:
    """Return the indices, ascending, of the samples that process ``rank`` evaluates.

    Each is in one share. Whole batches are dealt out, so that where all images have one size each
    batch is one that a single process would have: the same numbers to the last bit. A share may
    be empty.
    """
    return [index for index in range(length) if index // batch_size % world_size == rank]
