"""Small pictures for the metadata of assets."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from dagster import MetadataValue
from matplotlib.figure import Figure

_COLOURS = {"champion": "#0b6e4f", "other": "#9aa5b1"}


def evaluation_picture(evaluation: pa.Table, *, metric: str = "ndcg", cutoff: int = 10) -> MetadataValue[Any]:
    """One panel a target and segment: every model's value with its interval, the champion in colour.

    Args:
        evaluation: Rows of the evaluation.
        metric: Which metric.
        cutoff: At which length of the list.
    """
    rows = [row for row in evaluation.to_pylist() if row["metric"] == metric and row["cutoff"] == cutoff]
    panels = sorted({(row["target_domain"], row["segment"]) for row in rows})
    if not panels:
        return MetadataValue.md("Nobody could be evaluated: too few interactions.")
    figure = Figure(figsize=(3.2 * len(panels), 2.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _panel(axis, panel, [row for row in rows if (row["target_domain"], row["segment"]) == panel])
    figure.suptitle(f"{metric.upper()}@{cutoff} on what was held out, with 95 % intervals", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return MetadataValue.md(f"![evaluation](data:image/png;base64,{encoded})")


def _panel(axis: Any, panel: tuple[str, str], rows: Sequence[dict[str, Any]]) -> None:
    ordered = sorted(rows, key=lambda row: row["value"])
    for position, row in enumerate(ordered):
        colour = _COLOURS["champion" if row["is_champion"] else "other"]
        axis.barh(position, row["value"], color=colour, height=0.6)
        axis.plot([row["ci_low"], row["ci_high"]], [position, position], color="#1f2933", linewidth=1)
    axis.set_yticks(range(len(ordered)), [row["model"] for row in ordered], fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(f"{panel[0]}, {panel[1]} ({rows[0]['users']:,} people)", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
