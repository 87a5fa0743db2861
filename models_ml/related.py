"""Lists of items related to an item, within and across domains.

Holds the rows that are published: films for a film, contents for a film, and so on, by the model that was chosen for each. What
neighbours are, and how models are judged by them, is in `relating`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.costs import Ledger
from models_ml.interactions import Interactions
from models_ml.popularity import PopularityModel
from models_ml.relating import RELATING_SEGMENTS, Relater, popular_relater, related_lists, relater
from models_ml.retrieval import NO_ITEM, TopK
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
        models: The fitted models, with what was chosen to relate items of each target, within it and from elsewhere.
        interactions: Item index and domains.
        k: Length of the lists.
        block_items: Items in one batch.
        fill_with_popularity: Whether lists that run short, for instance of an item that no model knows anything about, are
            filled up with the popular items of the target, marked by their strategy.
        ledger: Told what it took to `relate` the items to those of each target.

    Yields:
        Batches of `RELATED_SCHEMA`, by target, then the items of the target and those of others, then by item, then by rank.
    """
    ledger = ledger or Ledger()
    everything = np.arange(interactions.shape[1])
    for domain in interactions.domains:
        columns = interactions.domain_range(domain)
        fallback_version, fallback = models.fallback_for(domain)
        is_here = (everything >= columns.start) & (everything < columns.stop)
        for segment, items in zip(RELATING_SEGMENTS, (everything[is_here], everything[~is_here]), strict=True):
            ways = _ways(models, domain, segment)
            if fill_with_popularity:
                ways.append(_Way(fallback.config.name, fallback_version, popular_relater(fallback)))
            for start in range(0, len(items), block_items):
                block = items[start : start + block_items]
                with ledger.stage(ways[0].strategy if ways else fallback.config.name, domain, "relate"):
                    lists, source = related_lists([way.relate for way in ways], block, columns, k)
                yield _batch(interactions, block, domain, lists, source, ways)


class _Way(NamedTuple):
    """What relates items, and how its rows name it."""

    strategy: str
    version: str
    relate: Relater


def _ways(models: FittedModels, domain: str, segment: str) -> list[_Way]:
    """What was chosen to relate items, then what usually does; each once."""
    ways: dict[str, _Way] = {}
    for version in (models.served[domain].get(segment), models.related):
        if version is not None and not isinstance(models.models[version], PopularityModel):
            model = models.models[version]
            ways[version] = _Way(model.config.name, version, relater(model))
    return [*ways.values()]


def _batch(
    interactions: Interactions,
    block: NDArray[np.int64],
    domain: str,
    lists: TopK,
    source: NDArray[np.int8],
    ways: Sequence[_Way],
) -> pa.RecordBatch:
    rows, ranks = np.nonzero(lists.items != NO_ITEM)
    way = pa.array(source[rows, ranks])
    return pa.RecordBatch.from_arrays(
        [
            interactions.item_keys.take(pa.array(block[rows])),
            pa.array([domain], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int8))),
            pa.array(ranks.astype(np.int32) + 1, pa.int32()),
            interactions.item_keys.take(pa.array(lists.items[rows, ranks])),
            pa.array(lists.scores[rows, ranks].astype(np.float64), pa.float64()),
            pa.array([one.strategy for one in ways], pa.string()).take(way),
            pa.array([one.version for one in ways], pa.string()).take(way),
        ],
        schema=RELATED_SCHEMA,
    )
