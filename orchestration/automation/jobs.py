"""The jobs: everything, the warehouse alone, the recommendations and what follows from them."""

from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

_WAREHOUSE = AssetSelection.groups("raw", "seeds", "staging", "snapshots", "intermediate", "core", "features")
# All segments but those of taste are made from the features; whatever else is of the station comes after the models.
_SEGMENTS = AssetSelection.assets(
    ["marketing", "defined_segment"], ["marketing", "defined_stay"]
).upstream() & AssetSelection.groups("marketing")
_LOAD_REPORT = AssetSelection.assets(["quality", "load_audit"], ["quality", "quarantine"])
_PUBLICATION = AssetSelection.assets(["quality", "check_result"]) | AssetSelection.groups("publication")


def build_jobs() -> list[UnresolvedAssetJobDefinition]:
    """The jobs of the code location."""
    return [
        define_asset_job(
            "everything",
            selection=AssetSelection.all(),
            description="From the landing folder to the publication.",
        ),
        define_asset_job(
            "warehouse",
            selection=_WAREHOUSE | _SEGMENTS | _LOAD_REPORT,
            description=(
                "Loads what is new and builds the star schema, features and the segments that follow from them; trains and "
                "publishes nothing."
            ),
        ),
        define_asset_job(
            "recommendations",
            selection=(AssetSelection.groups("recommendations", "marketing") - _SEGMENTS) | _PUBLICATION,
            description="Trains, evaluates, scores, plans campaigns and publishes from the features and segments as they are.",
        ),
    ]
