"""Scored lists of items for people, as Arrow batches.

Holds the last step: for every person and target the list of the model that serves the person's segment, filled up by
popularity, with the strategy and the reason of each row. Which model serves which segment is decided in `selection`; titles
and texts are joined in the warehouse.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.als import ALSModel
from models_ml.explain import strongest_reason
from models_ml.interactions import Interactions
from models_ml.model import Recommender
from models_ml.popularity import PopularityConfig
from models_ml.retrieval import NO_ITEM
from models_ml.selection import FittedModels
from models_ml.serving import serve

SCORED_SCHEMA = pa.schema(
    [
        ("user_key", pa.string()),
        ("target_domain", pa.string()),
        ("rank", pa.int32()),
        ("item_key", pa.string()),
        ("score", pa.float64()),
        ("strategy", pa.string()),
        ("reason_code", pa.string()),
        ("reason_item_key", pa.string()),
        ("model_version", pa.string()),
    ]
)

REASON_CODES = ("because_you_enjoyed", "similar_taste", "other_side_taste", "popular_now", "popular")


def score_people(
    models: FittedModels,
    interactions: Interactions,
    user_keys: pa.Array | pa.ChunkedArray,
    *,
    k: int = 50,
    block_people: int = 2048,
    explain: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Ranked items for every person on every target.

    A person with history on the target is served by its warm champion, a person with history elsewhere only by its cold
    champion, a person without any history by popularity. Lists hold no consumed item, have dense ranks from 1 and scores
    that never increase; they are shorter than k only where the target has nothing else.

    Reason codes: `because_you_enjoyed` (a model, with the own item that speaks most for this one in `reason_item_key`),
    `similar_taste` (a model, no single item speaks for it), `other_side_taste` (a model, for a person without history on
    the target; the item of the other side is in `reason_item_key`), `popular_now`, `popular`.

    Args:
        models: The fitted models.
        interactions: History, over the items that the models were fitted on.
        user_keys: Whom to serve, distinct, in the order of the output; people without any interaction are served too.
        k: Length of the lists.
        block_people: People in one batch.
        explain: Whether to look for `reason_item_key`.

    Yields:
        Batches of `SCORED_SCHEMA`, by target, then in the order of `user_keys`, then by rank.
    """
    if isinstance(user_keys, pa.ChunkedArray):
        user_keys = user_keys.combine_chunks()
    user_keys = pa.array(user_keys, pa.string()) if not isinstance(user_keys, pa.Array) else user_keys.cast(pa.string())
    positions = interactions.positions_of_users(user_keys)
    known = positions >= 0
    any_history = np.zeros(len(positions), dtype=np.bool_)
    any_history[known] = np.diff(interactions.indptr)[positions[known]] > 0
    for domain in interactions.domains:
        on_target = np.zeros(len(positions), dtype=np.bool_)
        on_target[known] = interactions.people_with_history(domain)[positions[known]]
        segment = np.where(on_target, "warm", np.where(any_history, "cold", "fallback"))
        for start in range(0, len(positions), block_people):
            stop = min(start + block_people, len(positions))
            yield _score_block(
                models,
                interactions.take(positions[start:stop]),
                user_keys[start:stop],
                segment[start:stop],
                domain,
                k,
                explain,
            )


def _score_block(
    models: FittedModels,
    people: Interactions,
    user_keys: pa.Array,
    segment: NDArray[np.str_],
    domain: str,
    k: int,
    explain: bool,
) -> pa.RecordBatch:
    """The lists of one block of people on one target."""
    columns = people.domain_range(domain)
    fallback_version, fallback = models.fallback_for(domain)
    versions = [*models.models]
    shape = (len(user_keys), k)
    items = np.full(shape, NO_ITEM, dtype=np.int32)
    scores = np.zeros(shape, dtype=np.float32)
    version = np.zeros(shape, dtype=np.int8)
    reason = np.zeros(shape, dtype=np.int8)
    reason_item = np.full(shape, NO_ITEM, dtype=np.int32)
    for name in ("warm", "cold", "fallback"):
        members = np.flatnonzero(segment == name)
        if not members.size:
            continue
        own_version, model = models.model_for(domain, name)
        history = people.take(members)
        served = serve(model, fallback, history, columns, k)
        items[members], scores[members] = served.lists.items, served.lists.scores
        version[members] = np.where(served.is_fallback, versions.index(fallback_version), versions.index(own_version))
        own_reason = np.full(served.is_fallback.shape, REASON_CODES.index(_reason(model, name)), dtype=np.int8)
        if explain and isinstance(model, ALSModel):
            because = strongest_reason(model, history, np.where(served.is_fallback, NO_ITEM, served.lists.items))
            reason_item[members] = because
            if name == "warm":
                own_reason[because != NO_ITEM] = REASON_CODES.index("because_you_enjoyed")
        reason[members] = np.where(served.is_fallback, REASON_CODES.index(_reason(fallback, "fallback")), own_reason)

    rows, ranks = np.nonzero(items != NO_ITEM)
    names = pa.array([models.models[version].config.name for version in versions], pa.string())
    row_version = pa.array(version[rows, ranks])
    row_reason_item = reason_item[rows, ranks]
    return pa.RecordBatch.from_arrays(
        [
            user_keys.take(pa.array(rows)),
            pa.array([domain], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int8))),
            pa.array(ranks.astype(np.int32) + 1, pa.int32()),
            people.item_keys.take(pa.array(items[rows, ranks])),
            pa.array(scores[rows, ranks].astype(np.float64), pa.float64()),
            names.take(row_version),
            pa.array(REASON_CODES, pa.string()).take(pa.array(reason[rows, ranks])),
            people.item_keys.take(pa.array(row_reason_item, mask=row_reason_item == NO_ITEM)),
            pa.array(versions, pa.string()).take(row_version),
        ],
        schema=SCORED_SCHEMA,
    )


def _reason(model: Recommender, segment: str) -> str:
    """Reason code of a model's rows where no single item speaks for them."""
    if isinstance(model.config, PopularityConfig):
        return "popular" if model.config.half_life_days is None else "popular_now"
    return "other_side_taste" if segment == "cold" else "similar_taste"
