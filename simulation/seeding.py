"""One random stream per part of the world, so that a change in one part leaves the others as they were."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def random_stream(seed: int, part: str) -> np.random.Generator:
    """The random generator of one part of the world.

    Args:
        seed: Seed of the world, >= 0.
        part: Name of the part, for instance "people".

    Returns:
        A generator that depends on the two arguments only.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(part.encode())]))


def gumbel_top(rng: np.random.Generator, log_weight: Floats, count: int) -> Ints:
    """Draws columns of every row without replacement, with probabilities proportional to `exp(log_weight)`.

    Args:
        rng: Random generator.
        log_weight: Log weights, shape (rows, columns); -inf is never drawn while finite ones are left.
        count: Columns drawn per row, at most the number of columns.

    Returns:
        Column numbers in the order of the draw, shape (rows, count).

    Source: Vieira, "Gumbel-max trick and weighted reservoir sampling", 2014; Kool et al., ICML 2019.
    """
    noisy = log_weight + rng.gumbel(size=log_weight.shape)
    return np.argsort(-noisy, axis=1, kind="stable")[:, :count]
