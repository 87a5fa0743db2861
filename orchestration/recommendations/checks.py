"""Checks of the models; what can be asked of rows is asked by dbt's tests of the marts."""

from collections.abc import Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetIn,
    AssetKey,
    MetadataValue,
    asset_check,
)

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
            "lies below zero, warns if it includes zero."
        ),
    )
    def champion_above_popularity(artifacts: ArtifactStore, models: str) -> AssetCheckResult:
        return judge_champions(artifacts.get(models).table("comparison").to_pylist())

    return [champion_above_popularity]


def judge_champions(
    comparison: Sequence[dict[str, Any]], *, metric: str = "ndcg", cutoff: int = 10
) -> AssetCheckResult:
    """The verdict over all targets and segments.

    Args:
        comparison: Champion less popularity, a row a target, segment, metric and cutoff. A segment whose champion is
            popularity itself has nothing to prove.
        metric: Which metric decides.
        cutoff: At which length of the list.
    """
    rows = [
        row
        for row in comparison
        if row["metric"] == metric and row["cutoff"] == cutoff and row["model"] != row["baseline"]
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
        f"{row['target_domain']}, {row['segment']}: {row['model']} {row['model_value']:.4f} against {row['baseline_value']:.4f}, "
        f"difference {row['difference']:+.4f} ({row['ci_low']:+.4f} to {row['ci_high']:+.4f}, {row['users']:,} people)"
    )
