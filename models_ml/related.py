"""Lists of items related to an item, within and across domains.

Holds the neighbours by the angle between item factors of a model of all items: films for a film, contents for a film, and so on.
Cosine, because the length of a factor mostly says how popular the item is.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.cold_items import ColdItemsModel
from models_ml.costs import Ledger
from models_ml.factors import FactorModel
from models_ml.interactions import Interactions
from models_ml.retrieval import NO_ITEM, TopK, top_k_by_factors, top_k_by_order
from models_ml.selection import FittedModels

RELATED_SCHEMA = pa.schema(
    [
        ("item_key", pa.string()),
        ("target_domain", pa.string()),
        ("rank", pa.int32()),
        ("related_item_key", pa.string()),
        ("score", pa.float64()),
        ("strategy", pa.string()),
        ("model_version", pa.string()),
    ]
)


def score_related_items(
    models: FittedModels,
    interactions: Interactions,
    *,
    k: int = 20,
    block_items: int = 8192,
    fill_with_popularity: bool = True,
    ledger: Ledger | None = None,
) -> Iterator[pa.RecordBatch]:
    """Related items on every target for every item.

    Args:
        models: The fitted models; the one with factors of all items relates them.
        interactions: Item index and domains.
        k: Length of the lists.
        block_items: Items in one batch.
        fill_with_popularity: Whether an item that the model knows nothing about gets the popular items of the
            target, marked by their strategy, instead of no list.
        ledger: Told what it took to `relate` the items to those of each target.

    Yields:
        Batches of `RELATED_SCHEMA`, by target, then by item, then by rank.
    """
    relating = models.models[models.related] if models.related else None
    assert relating is None or isinstance(relating, FactorModel | ColdItemsModel), (
        "only models with factors relate items"
    )
    ledger = ledger or Ledger()
    items = interactions.shape[1]
    directions = np.zeros((items, 1), np.float32) if relating is None else _directions(relating.item_factors)
    for domain in interactions.domains:
        columns = interactions.domain_range(domain)
        fallback_version, fallback = models.fallback_for(domain)
        strategy = (relating.config.name if relating else fallback.config.name, fallback.config.name)
        version = (models.related or fallback_version, fallback_version)
        for start in range(0, items, block_items):
            block = np.arange(start, min(start + block_items, items))
            itself = _itself(block, items)
            with ledger.stage(strategy[0], domain, "relate"):
                lists = top_k_by_factors(directions[block], directions, itself, k, columns=columns)
                unknown = np.flatnonzero(lists.lengths == 0)
                if fill_with_popularity and unknown.size:
                    popular = top_k_by_order(fallback.item_scores, itself[unknown], k, columns=columns)
                    lists.items[unknown], lists.scores[unknown] = popular.items, popular.scores
            is_fallback = np.zeros(len(block), dtype=np.int8)
            is_fallback[unknown] = 1
            yield _batch(interactions, block, domain, lists, is_fallback, strategy, version)


def _batch(
    interactions: Interactions,
    block: NDArray[np.int64],
    domain: str,
    lists: TopK,
    is_fallback: NDArray[np.int8],
    strategy: tuple[str, str],
    version: tuple[str, str],
) -> pa.RecordBatch:
    rows, ranks = np.nonzero(lists.items != NO_ITEM)
    source = pa.array(is_fallback[rows])
    return pa.RecordBatch.from_arrays(
        [
            interactions.item_keys.take(pa.array(block[rows])),
            pa.array([domain], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int8))),
            pa.array(ranks.astype(np.int32) + 1, pa.int32()),
            interactions.item_keys.take(pa.array(lists.items[rows, ranks])),
            pa.array(lists.scores[rows, ranks].astype(np.float64), pa.float64()),
            pa.array(strategy, pa.string()).take(source),
            pa.array(version, pa.string()).take(source),
        ],
        schema=RELATED_SCHEMA,
    )


def _directions(item_factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Factors of length 1, and of length 0 where there is none."""
    lengths = np.linalg.norm(item_factors, axis=1, keepdims=True)
    directions: NDArray[np.float32] = np.divide(
        item_factors, lengths, out=np.zeros_like(item_factors), where=lengths > 0
    )
    return directions


def _itself(items: NDArray[np.integer], width: int) -> csr_matrix:
    """Mask that hides each item from its own list."""
    queries = len(items)
    return csr_matrix((np.ones(queries, dtype=np.bool_), items, np.arange(queries + 1)), shape=(queries, width))
