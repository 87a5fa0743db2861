"""Checks of the models; what can be asked of rows is asked by dbt's tests of the marts."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetIn,
    AssetKey,
    MetadataValue,
    asset_check,
)

from models_ml.audiences import near_identical_audiences
from models_ml.relating import RELATING_SEGMENTS
from models_ml.selection import BASELINE, FEWEST_JUDGED
from orchestration.recommendations.steps import load_interactions
from orchestration.resources.artifacts import ArtifactStore


def build_recommendation_checks() -> list[AssetChecksDefinition]:
    """The checks of the station."""

    @asset_check(
        asset=AssetKey(["recommendations", "model_evaluation"]),
        name="champion_above_popularity",
        blocking=True,
        additional_ins={"models": AssetIn(key=AssetKey(["recommendations", "models"]), input_manager_key="addresses")},
        description=(
            "No champion is worse than popularity on what was held out: fails if the interval of the paired difference in NDCG@10 "
            "lies below zero, warns if it includes zero, in the split at one point in time too. Segments of fewer than 20 people "
            "are not judged, nor items for an item: popular ones are no answer to what goes with it."
        ),
    )
    def champion_above_popularity(artifacts: ArtifactStore, models: str) -> AssetCheckResult:
        return judge_champions(artifacts.get(models).table("comparison").to_pylist())

    @asset_check(
        asset=AssetKey(["recommendations", "model_evaluation"]),
        name="catalogues_hold_no_product_twice",
        blocking=False,
        additional_ins={
            "interactions": AssetIn(key=AssetKey(["recommendations", "interactions"]), input_manager_key="addresses")
        },
        description=(
            "Warns of a film and a content with nearly the same audience among people with history on both platforms: probably "
            "one product on both, which makes figures of the other side look better than they are."
        ),
    )
    def catalogues_hold_no_product_twice(artifacts: ArtifactStore, interactions: str) -> AssetCheckResult:
        return judge_audiences(near_identical_audiences(load_interactions(artifacts.get(interactions))))

    return [champion_above_popularity, catalogues_hold_no_product_twice]


def judge_audiences(pairs: pa.Table) -> AssetCheckResult:
    """The verdict on pairs of items of both platforms with nearly the same audience.

    Args:
        pairs: Rows of `models_ml.audiences.near_identical_audiences`.
    """
    first = pairs.slice(0, 20).to_pylist()
    return AssetCheckResult(
        passed=not pairs.num_rows,
        severity=AssetCheckSeverity.WARN,
        description=f"{pairs.num_rows} pairs of items have nearly the same audience" if pairs.num_rows else None,
        metadata={"observed": pairs.num_rows, "expected": 0, "pairs (first 20)": MetadataValue.json(first)},
    )


def judge_champions(
    comparison: Sequence[dict[str, Any]], *, metric: str = "ndcg", cutoff: int = 10
) -> AssetCheckResult:
    """The verdict over all targets and segments.

    Args:
        comparison: Champion less each other model, a row a target, segment, split, metric and cutoff; those against popularity
            are looked at. A segment whose champion is popularity itself has nothing to prove.
        metric: Which metric decides.
        cutoff: At which length of the list.
    """
    rows = [
        row
        for row in comparison
        if row["metric"] == metric
        and row["cutoff"] == cutoff
        and row["baseline"] == BASELINE
        and row["segment"] not in RELATING_SEGMENTS
        and row["users"] >= FEWEST_JUDGED
    ]
    worse = [row for row in rows if row["ci_high"] < 0]
    unproven = [row for row in rows if row["ci_low"] <= 0 <= row["ci_high"]]
    observed = "; ".join(_line(row) for row in rows) or "popularity is the champion everywhere"
    return AssetCheckResult(
        passed=not worse and not unproven,
        severity=AssetCheckSeverity.ERROR if worse else AssetCheckSeverity.WARN,
        description="; ".join(_line(row) for row in worse or unproven) or None,
        metadata={
            "observed": observed,
            "expected": f"difference in {metric}@{cutoff} above 0 in every segment",
            "differences": MetadataValue.md("\n".join(f"- {_line(row)}" for row in rows) or "none"),
        },
    )


def _line(row: dict[str, Any]) -> str:
    return (
        "{target_domain}, {segment} ({split}): {model} {model_value:.4f} against {baseline_value:.4f}, "
        "difference {difference:+.4f} ({ci_low:+.4f} to {ci_high:+.4f}, {users:,} people)"
    ).format(**row)
