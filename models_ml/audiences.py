"""Items of two platforms that the same people have.

Holds the check that the two catalogues do not hold the same product twice. If they do, whoever has it on one side has it on the
other, and every figure from side to side is better than it is. What to do about a pair is for a person to decide.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions

AUDIENCE_SCHEMA = pa.schema(
    [
        ("domain", pa.string()),
        ("item_key", pa.string()),
        ("other_domain", pa.string()),
        ("other_item_key", pa.string()),
        ("people", pa.int32()),
        ("other_people", pa.int32()),
        ("shared_people", pa.int32()),
        ("similarity", pa.float64()),
    ]
)

# Largest number of products that one block of items adds up: about 12 bytes each.
_BLOCK_PRODUCTS = 4_000_000


def near_identical_audiences(
    interactions: Interactions, *, min_people: int = 5, min_similarity: float = 0.8
) -> pa.Table:
    """Pairs of items of two domains whose audiences are nearly the same people.

    similarity(i, j) = |people of both| / |people of either| (Jaccard), with everyone who has an entry, liked or not, among the
    people who have entries in both domains: of whoever is known on one side only, nothing says whether they have the product on
    the other. The products are added up for blocks of items, so memory is bounded by one block, or by one row of items if
    that is more.

    Args:
        interactions: Everything.
        min_people: Items with fewer such people are left out, >= 1: small audiences are alike by chance.
        min_similarity: Least similarity, in (0, 1].

    Returns:
        Rows of `AUDIENCE_SCHEMA`, the domain that sorts first on the left; most similar first, then by keys. All numbers of
        people are of those with entries in both domains.

    Raises:
        ValueError: If a parameter is out of range.

    Source: Jaccard, "The Distribution of the Flora in the Alpine Zone", New Phytologist 1912.
    """
    if min_people < 1 or not 0 < min_similarity <= 1:
        raise ValueError(
            f"min_people must be at least 1 and min_similarity in (0, 1], got {min_people} and {min_similarity}"
        )
    history = {domain: interactions.people_with_history(domain) for domain in interactions.domains}
    found: list[NDArray[np.int64]] = [np.empty((5, 0), dtype=np.int64)]
    for domain, other_domain in combinations(interactions.domains, 2):
        on_both = interactions.where((history[domain] & history[other_domain])[interactions.rows])
        people = np.bincount(on_both.indices, minlength=interactions.shape[1])
        kept = on_both.where(people[on_both.indices] >= min_people)
        audience = kept.csr(np.ones(kept.entries, dtype=np.int32))
        left, right = interactions.domain_range(domain), interactions.domain_range(other_domain)
        of_left, of_right = audience[:, left.start : left.stop].T.tocsr(), audience[:, right.start : right.stop]
        for start, stop in _blocks(of_left, np.diff(of_right.indptr)):
            shared = (of_left[start:stop] @ of_right).tocoo()
            own, other = left.start + start + shared.row.astype(np.int64), right.start + shared.col.astype(np.int64)
            either = people[own] + people[other] - shared.data
            near = shared.data >= min_similarity * either * (1 - 1e-12)
            own, other = own[near], other[near]
            found.append(np.stack([own, other, people[own], people[other], shared.data[near]]))
    own, other, own_people, other_people, both = np.concatenate(found, axis=1)
    similarity = both / (own_people + other_people - both)
    order = np.lexsort((other, own, -similarity))
    own, other = own[order], other[order]
    domains, keys = pa.array(interactions.domains, pa.string()), interactions.item_keys
    domain_of = interactions.item_domain
    columns = [
        domains.take(pa.array(domain_of[own])),
        keys.take(pa.array(own)),
        domains.take(pa.array(domain_of[other])),
        keys.take(pa.array(other)),
        pa.array(own_people[order], pa.int32()),
        pa.array(other_people[order], pa.int32()),
        pa.array(both[order], pa.int32()),
        pa.array(similarity[order], pa.float64()),
    ]
    return pa.Table.from_arrays(columns, schema=AUDIENCE_SCHEMA)


def _blocks(left: csr_matrix, right_sizes: NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    """Ranges of rows of the left whose products with the right are few enough; at least one row each."""
    per_row = np.concatenate([[0], np.cumsum(right_sizes[left.indices])])[left.indptr]
    start, rows = 0, left.shape[0]
    while start < rows:
        stop = int(np.searchsorted(per_row, per_row[start] + _BLOCK_PRODUCTS, side="right")) - 1
        stop = max(start + 1, min(stop, rows))
        yield start, stop
        start = stop
