"""Exact factors of people from their history, and what each past item contributes to a score.

Holds the one solution that all factor models share: given item factors, a person's factor is the minimum of a small least
squares problem, and each score is a sum over the person's past items. What a model takes for weights, targets and
regularisation is decided beside the model (`als`, `ials`); retrieval from factors is in `retrieval`.

Everyone is solved by Cholesky in stacks of people with about the same number of items, several stacks at a time. A result
does not depend on who else is in the stack, nor on the number of threads. Memory is bounded by `block_bytes` for each worker,
or by one person's own history where that is larger.

The solution. With A = (gram_weight Y'Y + ridge I)^-1/2, S = D^1/2 Y_S A (own items x factors), D = diag(d), and e = D^-1/2 b, a
person's factor is x = A (I + S'S)^-1 S'e, which by Woodbury's identity is A S'(I + SS')^-1 e: whichever system is smaller is
solved. In the eigenvectors of Y'Y, A is diagonal whatever the ridge.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import sposv
from scipy.sparse import csr_matrix

from models_ml.blas import BLAS
from models_ml.reasons import Contributions, Reasons, name_strongest
from models_ml.retrieval import BLOCK_BYTES, NO_ITEM

_GRAM_ROWS = 1 << 14
# Largest system that is solved by NumPy's stacked LU rather than one by one by Cholesky.
_SMALL = 8
# What d is taken for where it is smaller: it changes nothing in single precision and keeps e = b / d^1/2 finite.
_LEAST_WEIGHT = np.float32(1e-12)


@dataclasses.dataclass(frozen=True, eq=False)
class Systems:
    """The least squares problem of each person.

    Given item factors y, the factor x of a person with past items S is the minimum of
    gram_weight sum over all items i of (x . y(i))^2 + sum over j in S of [d(j) (x . y(j))^2 - 2 b(j) x . y(j)] + ridge |x|^2.

    So x = M^-1 sum of b(j) y(j), with M = gram_weight Y'Y + sum of d(j) y(j) y(j)' + ridge I.

    Attributes:
        history: d of the past items, >= 0, people x items CSR, float32.
        targets: b, aligned with the entries of `history`, float32.
        ridge: Regularisation of each person, > 0, float64, shape (people,).
        gram_weight: Weight of all items, seen or not, >= 0.
    """

    history: csr_matrix
    targets: NDArray[np.float32]
    ridge: NDArray[np.float64]
    gram_weight: float


@dataclasses.dataclass(frozen=True, eq=False)
class ItemBasis:
    """Item factors in the eigenvectors of Y'Y, in which (gram_weight Y'Y + ridge I)^-1 is diagonal for everyone.

    Attributes:
        rotated: Y V, float32, shape (items, factors).
        spectrum: Eigenvalues of Y'Y, >= 0, float64, shape (factors,).
        rotation: V, with the eigenvectors in its columns, float32, shape (factors, factors).
    """

    rotated: NDArray[np.float32]
    spectrum: NDArray[np.float64]
    rotation: NDArray[np.float32]

    @staticmethod
    def of(item_factors: NDArray[np.float32]) -> "ItemBasis":
        """The basis of item factors, shape (items, factors)."""
        width = item_factors.shape[1]
        gram = np.zeros((width, width))
        with BLAS.limit(limits=1):
            for start in range(0, len(item_factors), _GRAM_ROWS):
                block = item_factors[start : start + _GRAM_ROWS].astype(np.float64)
                gram += block.T @ block
            spectrum, vectors = np.linalg.eigh(gram)
            rotation = vectors.astype(np.float32)
            return ItemBasis(item_factors @ rotation, np.maximum(spectrum, 0), rotation)


def fold_in(
    basis: ItemBasis, systems: Systems, *, workers: int | None = None, block_bytes: int = BLOCK_BYTES
) -> NDArray[np.float32]:
    """Factors of people.

    Args:
        basis: The item factors.
        systems: Problems of the people.
        workers: Threads; default the number of processors. The result does not depend on it.
        block_bytes: Memory for the stack of one worker.

    Returns:
        Shape (people, factors), float32; a row of zeros for a person without history.

    Raises:
        numpy.linalg.LinAlgError: If a system cannot be solved in single precision.

    Source: Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, equation 4.
    """
    factors = np.zeros((systems.history.shape[0], basis.rotated.shape[1]), dtype=np.float32)

    def solve(stack: "_Stack") -> None:
        targets = stack.targets[:, :, None]
        inner = _solve(stack.system, targets if stack.is_dual else stack.scaled_t @ targets)
        if stack.is_dual:
            inner = stack.scaled_t @ inner
        # One product for each person: the rounding of a common one depends on the number of people.
        factors[stack.people] = (basis.rotation @ (stack.scale[:, :, None] * inner))[:, :, 0]

    people = np.flatnonzero(np.diff(systems.history.indptr))
    _for_each_stack(_stacks(basis, systems, people, 0, block_bytes), solve, workers)
    if not np.isfinite(factors).all():
        raise np.linalg.LinAlgError("the factors are not finite")
    return factors


def contributions(
    basis: ItemBasis, systems: Systems, items: NDArray[np.int32], *, block_bytes: int = BLOCK_BYTES
) -> Iterator[Contributions]:
    """What each past item j adds to the score of each listed item i: b(j) y(i)' M^-1 y(j).

    Args:
        basis: The item factors.
        systems: Problems of the people.
        items: Listed item indices, -1 for an empty place, shape (people, k).
        block_bytes: Memory for one stack.

    Yields:
        Stacks of the people who have both history and a list, each person once.

    Raises:
        numpy.linalg.LinAlgError: If a system cannot be solved in single precision.

    Source: Hu, Koren and Volinsky, ICDM 2008, section 5.
    """
    for stack in _stacks(basis, systems, _explained(systems, items), items.shape[1], block_bytes):
        with BLAS.limit(limits=1):
            yield _contributions(basis, stack(), items)


def strongest_contributions(
    basis: ItemBasis,
    systems: Systems,
    items: NDArray[np.int32],
    most: int,
    *,
    workers: int | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Reasons:
    """The past items that contribute most to each listed item, with their shares of the score.

    Args:
        basis: The item factors.
        systems: Problems of the people.
        items: Listed item indices, -1 for an empty place, shape (people, k).
        most: Largest number of past items for a place.
        workers: Threads; default the number of processors. The result does not depend on it.
        block_bytes: Memory for the stack of one worker.

    Returns:
        Positive contributions only, the smaller item index first among equals. A place whose score is not positive has no
        reason, since a share of it would mean nothing.

    Raises:
        numpy.linalg.LinAlgError: If a system cannot be solved in single precision.
    """
    reasons = Reasons.nothing(len(items), items.shape[1], most)

    def name(stack: "_Stack") -> None:
        name_strongest(reasons, _contributions(basis, stack, items), items[stack.people])

    _for_each_stack(_stacks(basis, systems, _explained(systems, items), items.shape[1], block_bytes), name, workers)
    return reasons


@dataclasses.dataclass(frozen=True, eq=False)
class _Stack:
    """People with about the same number of past items, padded with items whose rows of S are zero.

    Attributes:
        people: Rows of the people, shape (stack,).
        known: Their past items, -1 beyond the end, shape (stack, size).
        targets: e, shape (stack, size).
        scale: Diagonal of A, shape (stack, factors).
        scaled: S, shape (stack, size, factors).
    """

    people: NDArray[np.int64]
    known: NDArray[np.int32]
    targets: NDArray[np.float32]
    scale: NDArray[np.float32]
    scaled: NDArray[np.float32]

    @staticmethod
    def of(basis: ItemBasis, systems: Systems, people: NDArray[np.int64], size: int) -> "_Stack":
        indptr, indices = systems.history.indptr, systems.history.indices
        place = np.arange(size)
        filled = place < (indptr[people + 1] - indptr[people])[:, None]
        entry = np.where(filled, indptr[people][:, None] + place, 0)
        items = indices[entry]
        root = np.sqrt(np.maximum(systems.history.data[entry], _LEAST_WEIGHT))
        scale = (1 / np.sqrt(systems.gram_weight * basis.spectrum + systems.ridge[people][:, None])).astype(np.float32)
        scaled = basis.rotated[items]
        scaled *= scale[:, None, :]
        scaled *= np.where(filled, root, np.float32(0))[:, :, None]
        return _Stack(
            people,
            np.where(filled, items, np.int32(NO_ITEM)),
            systems.targets[entry] / root,
            scale,
            scaled,
        )

    @property
    def scaled_t(self) -> NDArray[np.float32]:
        """S', shape (stack, factors, size)."""
        return self.scaled.transpose(0, 2, 1)

    @property
    def is_dual(self) -> bool:
        """Whether the system is solved in the space of the past items."""
        _, size, factors = self.scaled.shape
        return bool(size < factors)

    @property
    def system(self) -> NDArray[np.float32]:
        """I + SS' (dual) or I + S'S, shape (stack, smaller side, smaller side)."""
        # A matrix times its own transpose is a symmetric rank-k update in NumPy, at half the cost of a product.
        system: NDArray[np.float32] = self.scaled @ self.scaled_t if self.is_dual else self.scaled_t @ self.scaled
        side = np.arange(system.shape[1])
        system[:, side, side] += 1
        return system


def _solve(systems: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Solutions of a stack of positive definite systems, shapes (stack, n, n) and (stack, n, m) to (stack, n, m)."""
    if systems.shape[1] <= _SMALL:
        small: NDArray[np.float32] = np.linalg.solve(systems, right)
        return small
    solved = np.empty_like(right)
    # NumPy has no stacked Cholesky solver; the call costs microseconds and leaves Python's lock to other threads.
    for system, given, solution in zip(systems, right, solved, strict=True):
        _, solution[...], failed = sposv(system.T, given, overwrite_a=True)
        if failed:
            raise np.linalg.LinAlgError("a system is not positive definite in single precision")
    return solved


def _contributions(basis: ItemBasis, stack: _Stack, items: NDArray[np.int32]) -> Contributions:
    """With Y_L the listed items: Y_L A S'(I + SS')^-1 diag(e) = Y_L A (I + S'S)^-1 S' diag(e)."""
    influence = _solve(stack.system, stack.scaled if stack.is_dual else stack.scaled_t)
    if stack.is_dual:
        influence = influence.transpose(0, 2, 1)
    influence *= stack.scale[:, :, None]
    influence *= stack.targets[:, None, :]
    return Contributions(stack.people, stack.known, basis.rotated[np.maximum(items[stack.people], 0)] @ influence)


def _explained(systems: Systems, items: NDArray[np.int32]) -> NDArray[np.int64]:
    """People who have both history and a list."""
    return np.flatnonzero((np.diff(systems.history.indptr) > 0) & (items != NO_ITEM).any(axis=1))


def _stacks(
    basis: ItemBasis, systems: Systems, people: NDArray[np.int64], places: int, block_bytes: int
) -> Iterator[Callable[[], _Stack]]:
    """Deals people into stacks of bounded memory, to be built where they are worked on.

    Histories are padded to the next of eight sizes in each power of two, at most 1/8 more, so that the size depends on
    nobody else.
    """
    counts = np.diff(systems.history.indptr)[people]
    step = 1 << np.maximum(np.frexp(counts)[1] - 4, 0)
    sizes = -(-counts // step) * step
    factors = basis.rotated.shape[1]
    for size in np.unique(sizes).tolist():
        members = people[sizes == size]
        numbers = 3 * size * factors + 2 * min(size, factors) ** 2 + places * (factors + 2 * size)
        rows = max(1, block_bytes // (4 * numbers))
        for start in range(0, len(members), rows):
            yield functools.partial(_Stack.of, basis, systems, members[start : start + rows], size)


def _for_each_stack(
    stacks: Iterator[Callable[[], _Stack]], work: Callable[[_Stack], None], workers: int | None
) -> None:
    def quietly(stack: Callable[[], _Stack]) -> None:
        # What has overflown is found in the solution, where it is an error and not a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            work(stack())

    # One BLAS thread for each worker: the stacks are the parallelism, and the sums do not depend on the number of threads.
    with (
        BLAS.limit(limits=1),
        ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool,
    ):
        for _ in pool.map(quietly, stacks):
            pass
