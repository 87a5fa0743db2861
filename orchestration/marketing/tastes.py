"""Segments of taste: clusters of people by the factors of a model over both platforms.

Holds which model it is, what is read for it and what is written; how people are clustered and clusters are called is in
`models_ml.campaigns.tastes`. Whoever needs segments between the two passes of dbt reads the views that are made here, of the
segments of the first pass and those of taste.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.campaigns.tastes import NO_TASTE, TasteConfig, Tastes, cluster_tastes
from models_ml.cold_items import ColdItemsModel
from models_ml.factors import FactorModel
from models_ml.interactions import Interactions
from models_ml.selection import FittedModels
from orchestration.marketing.observed_stays import OBSERVED_FAMILIES, observe_stays
from orchestration.recommendations.steps import load_interactions, load_models
from orchestration.resources.artifacts import Artifact
from orchestration.resources.warehouse import registered
from orchestration.settings import Settings

_PREFIX = "taste:joined:"

SEGMENT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("segment_key", "family", "name", "platform", "definition")]
)
_MEMBER_SCHEMA = pa.schema([("segment_key", pa.string()), ("user_key", pa.string())])

_KNOWN_SEGMENTS = """
create or replace view marketing.known_segment as
select segment_key, family, name, platform, definition from marketing.defined_segment
union all
select segment_key, family, name, platform, definition from marketing.taste_segment
"""

# A run as of an earlier moment does not know what later ones have seen. Of people whose accounts were joined with those of others
# the survivor's stays count, as two people may have been in two segments at once. Who may not be profiled now has none of them,
# as what they liked is nobody's business any more; it is kept, and there again if they agree again.
_KNOWN_MEMBERSHIPS = f"""
create or replace view marketing.known_membership as
with stays as (
    select segment_key, user_key, entered_at, exited_at from marketing.defined_stay
    where split_part(segment_key, ':', 1) not in {OBSERVED_FAMILIES}
    union all
    select
        observed.segment_key,
        observed.user_key,
        observed.entered_at,
        if(observed.exited_at <= runs.as_of, observed.exited_at, null) as exited_at
    from marketing.observed_stay as observed
    inner join core.dim_user as users on observed.user_key = users.user_key
    cross join raw.run as runs
    where users.may_be_personalised and observed.entered_at <= runs.as_of
)

select segment_key, user_key, exited_at is null as is_current, entered_at, exited_at from stays
"""


@dataclass(frozen=True)
class TasteSegments:
    """What is written.

    Attributes:
        segments: Rows of `SEGMENT_SCHEMA`.
        members: Key of the segment and of the person.
        report: What a person would ask first, by name.
    """

    segments: pa.Table
    members: pa.Table
    report: dict[str, Any]


def best_joint_factors(models: FittedModels, evaluation: pa.Table) -> tuple[str, FactorModel] | None:
    """The model with factors over both platforms that ranks best, of those that were fitted on everything.

    Args:
        models: The fitted models.
        evaluation: Rows of `recommendations.model_evaluation`; the mean over the platforms of NDCG@10 of the people with the
            longest histories decides, with the latest of each held out; a model that was not judged comes last.

    Returns:
        Version and model; None if no such model was fitted.
    """
    joint: dict[str, FactorModel] = {}
    for version, model in models.models.items():
        factors = model.base if isinstance(model, ColdItemsModel) else model
        if isinstance(factors, FactorModel) and factors.config.domain is None:
            joint[version] = factors
    if not joint:
        return None
    judged = evaluation.filter(
        (pc.field("metric") == "ndcg")
        & (pc.field("cutoff") == 10)
        & (pc.field("segment") == "warm")
        & (pc.field("split") != "global_time")
    )
    quality = {
        version: np.mean(values) if values else -np.inf
        for version in joint
        for values in [judged.filter(pc.field("model_version") == version)["value"].drop_null().to_pylist()]
    }
    best = max(sorted(joint), key=lambda version: quality[version])
    return best, joint[best]


def find_tastes(
    connection: duckdb.DuckDBPyConnection, models: Artifact, interactions: Artifact, settings: Settings
) -> TasteSegments:
    """Clusters people by taste.

    Args:
        connection: Reader of the build file, whose features tell what people like.
        models: The trained models.
        interactions: What they were trained on.
        settings: Number of clusters, who is clustered, and the seed.
    """
    found = best_joint_factors(load_models(models), models.table("evaluation"))
    if found is None:
        return _none("No model with factors over both platforms was trained.")
    version, model = found
    history = load_interactions(interactions)
    people = history.take(np.flatnonzero(np.diff(history.indptr) >= settings.taste_min_items))
    keys, names = _topics(connection)
    config = TasteConfig(clusters=settings.taste_clusters, seed=settings.seed % 2**32)
    tastes = cluster_tastes(
        people.user_keys.to_pylist(), model.fold_in(people), _shares(connection, people, len(keys)), config
    )
    report = {"model": version, "people asked about": people.shape[0]}
    if not tastes.topics:
        reason = (
            f"{people.shape[0]:,} people have had to do with {settings.taste_min_items} items or more; they are too few, or too "
            "much alike."
        )
        return _none(reason, report)
    segment_keys = [_PREFIX + "+".join(keys[topic] for topic in topics) for topics in tastes.topics]
    segments = [
        {
            "segment_key": segment_key,
            "family": "taste",
            "name": _listed([name_of(names[topic]) for topic in topics]),
            "platform": "joined",
            "definition": _definition([names[topic] for topic in topics], tastes, settings),
        }
        for segment_key, topics in zip(segment_keys, tastes.topics, strict=True)
    ]
    placed = tastes.taste != NO_TASTE
    members = [pa.array(segment_keys).take(pa.array(tastes.taste[placed])), people.user_keys.filter(pa.array(placed))]
    sizes = np.bincount(tastes.taste[placed], minlength=len(segments))
    return TasteSegments(
        pa.Table.from_pylist(segments, SEGMENT_SCHEMA),
        pa.Table.from_arrays(members, schema=_MEMBER_SCHEMA),
        {
            **report,
            "clusters": tastes.clusters,
            "people": {row["name"]: int(size) for row, size in zip(segments, sizes, strict=True)},
            "people in none": int((~placed).sum()),
            "silhouettes": {str(number): round(value, 4) for number, value in tastes.silhouettes.items()},
        },
    )


def write_tastes(connection: duckdb.DuckDBPyConnection, found: TasteSegments) -> None:
    """Replaces `marketing.taste_segment` and `taste_stay`, notes who is in which segment, and makes the views of all of them.

    Args:
        connection: Writer of the build file.
        found: What to write.
    """
    with registered(connection, taste_segments=found.segments, taste_members=found.members):
        connection.execute("begin")
        connection.execute(
            "create or replace table marketing.taste_segment as from taste_segments order by segment_key"
        )
        connection.execute(
            "create or replace table marketing.taste_stay as "
            "select members.segment_key, members.user_key, runs.as_of as entered_at, cast(null as timestamp) as exited_at "
            "from taste_members as members cross join raw.run as runs order by members.segment_key, members.user_key"
        )
        connection.execute(_KNOWN_SEGMENTS)
        observe_stays(connection)
        connection.execute(_KNOWN_MEMBERSHIPS)
        connection.execute("commit")


def _topics(connection: duckdb.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    """Keys and names of all topics, in the order of the keys."""
    topics = connection.execute("select topic_key, topic from core.dim_topic order by topic_key").to_arrow_table()
    return topics["topic_key"].to_pylist(), topics["topic"].to_pylist()


def _shares(connection: duckdb.DuckDBPyConnection, people: Interactions, topics: int) -> csr_matrix:
    """What people like, people x topics in the order of `_topics`."""
    rows = connection.execute(
        """
        with topics as (
            select topic_key, row_number() over (order by topic_key) - 1 as topic from core.dim_topic
        )

        select interests.user_key, topics.topic, interests.weight
        from features.user_interest as interests
        inner join topics on interests.topic_key = topics.topic_key
        order by interests.user_key, topics.topic
        """
    ).to_arrow_table()
    person = people.positions_of_users(rows["user_key"])
    known = person >= 0
    place: NDArray[np.int64] = rows["topic"].to_numpy()[known]
    return csr_matrix((rows["weight"].to_numpy()[known], (person[known], place)), shape=(people.shape[0], topics))


def name_of(topic: str) -> str:
    """A topic as it stands in a name."""
    return topic[:1].upper() + topic[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _definition(topics: Sequence[str], tastes: Tastes, settings: Settings) -> str:
    return (
        f"Has had to do with at least {settings.taste_min_items} items and is, to the recommender over both platforms, of one "
        f"taste with people who like {_listed(topics)} more than others do (one of {tastes.clusters} clusters of its factors, "
        "which change when the model does)."
    )


def _none(reason: str, report: dict[str, Any] | None = None) -> TasteSegments:
    return TasteSegments(SEGMENT_SCHEMA.empty_table(), _MEMBER_SCHEMA.empty_table(), {**(report or {}), "none": reason})
