"""A small world with planted tastes, in which every figure can be reasoned about."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from models_ml import EvaluationConfig, Interactions, SelectionConfig, interactions_from_arrow
from models_ml.content import item_content_from_arrow
from models_ml.retrieval import TopK
from models_ml.traits import Traits

START = datetime(2024, 1, 1, tzinfo=UTC)
MakeTable = Callable[..., pa.Table]


def preference_table(rows: Sequence[tuple[str, str, float, int]], consumed: Sequence[bool] | None = None) -> pa.Table:
    """One row per (user, item, weight, day); the domain is what the item key starts with."""
    return pa.table(
        {
            "user_key": pa.array([row[0] for row in rows], pa.string()),
            "item_key": pa.array([row[1] for row in rows], pa.string()),
            "domain": pa.array([row[1].split(":")[0] for row in rows], pa.string()),
            "weight": pa.array([row[2] for row in rows], pa.float64()),
            "is_consumed": pa.array(consumed if consumed is not None else [True] * len(rows), pa.bool_()),
            "last_at": pa.array([START + timedelta(days=row[3]) for row in rows], pa.timestamp("us", "UTC")),
            "event_count": pa.array([1] * len(rows), pa.int32()),
        }
    )


def planted_rows(people: int = 240, items: int = 40, each: int = 8, seed: int = 0) -> list[tuple[str, str, float, int]]:
    """People of four tastes on both platforms; nine of ten items that they take are of their taste.

    Persons 0 to 9 know the film side only, 10 to 19 the knowledge side only.
    """
    random = np.random.default_rng(seed)
    rows = []
    for person in range(people):
        taste = person % 4
        for domain in ("film", "knowledge"):
            if (person < 10 and domain == "knowledge") or (10 <= person < 20 and domain == "film"):
                continue
            own = random.permutation([item for item in range(items) if item % 4 == taste])
            other = random.permutation([item for item in range(items) if item % 4 != taste])
            chosen = [*own[: each - 1], *other[:1]]
            days = random.permutation(len(chosen))
            rows += [
                (f"u{person:03}", f"{domain}:{item:02}", 5.0, int(day)) for item, day in zip(chosen, days, strict=True)
            ]
    return rows


@pytest.fixture
def make_table() -> MakeTable:
    return preference_table


@pytest.fixture
def make() -> Callable[..., Interactions]:
    def build(
        rows: Sequence[tuple[str, str, float, int]],
        consumed: Sequence[bool] | None = None,
        domains: Sequence[str] = ("film", "knowledge"),
    ) -> Interactions:
        return interactions_from_arrow(preference_table(rows, consumed), domains=domains)

    return build


@pytest.fixture(scope="session")
def own_taste() -> Callable[[Interactions, TopK], float]:
    """Share of the listed items of the planted world whose taste is the person's."""

    def share(people: Interactions, lists: TopK) -> float:
        person = np.array([int(key[1:]) % 4 for key in people.user_keys.to_pylist()])
        item = np.array([int(key.split(":")[1]) % 4 for key in people.item_keys.to_pylist()])
        return float((item[lists.items] == person[:, None])[lists.items >= 0].mean())

    return share


@pytest.fixture(scope="session")
def planted() -> Interactions:
    return interactions_from_arrow(preference_table(planted_rows()))


@pytest.fixture(scope="session")
def told(planted) -> Interactions:
    """The planted world, with what items are about and where people live."""
    keys = planted.item_keys
    numbers = [int(key.split(":")[1]) for key in keys.to_pylist()]
    items = pa.table(
        {
            "item_key": keys,
            "title": keys,
            "text": pa.nulls(len(keys), pa.string()),
            "topics": [[f"taste {number % 4}", f"shelf {number % 7}"] for number in numbers],
            "people": pa.nulls(len(keys), pa.list_(pa.string())),
        }
    )
    towns = Traits(("region",), (("east", "west"),), (np.arange(planted.shape[0]) % 2).astype(np.int32)[:, None])
    return planted.with_content(item_content_from_arrow(items, keys)).with_traits(towns)


@pytest.fixture(scope="session")
def planted_table() -> pa.Table:
    return preference_table(planted_rows())


@pytest.fixture(scope="session")
def quick() -> SelectionConfig:
    """The whole protocol on a few candidates."""
    return SelectionConfig(
        candidates=("recent_popularity", "als", "als_joint"),
        evaluation=EvaluationConfig(cutoffs=(5, 10), draws=200),
        min_people=10,
        blend_members=0,
    )
