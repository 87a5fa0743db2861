"""Pictures of the models' evaluation, as bytes for a report and as metadata of an asset.

Holds how figures are drawn; what they are is decided in `models_ml.evaluation`.
"""

import base64
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from dagster import MetadataValue
from matplotlib.figure import Figure

from models_ml.evaluation import SERVING_SEGMENTS
from models_ml.selection import BASELINE, SERVED

_CHAMPION, _OTHER, _INK, _LATER = "#2a9d76", "#b8c2cc", "#1f2933", "#c05621"
# Evaluated at one point in time for everybody; drawn beside the split that decides.
_GLOBAL_TIME = "global_time"
_DOTS_PER_INCH = 100
# Of the title, so that it breaks where the picture ends.
_LETTERS_PER_INCH = 12


def evaluation_png(
    evaluation: pa.Table,
    *,
    metric: str = "ndcg",
    cutoff: int = 10,
    segments: Sequence[str] = SERVING_SEGMENTS,
) -> bytes | None:
    """One panel a target (rows) and segment (columns), models sorted, the champion in colour.

    A bar is the mean over people with its interval. The dashed line is popularity, the diamond the same model on the split at
    one point in time for everybody, where there is one.

    Args:
        evaluation: Rows of `EVALUATION_SCHEMA`.
        metric: Which metric.
        cutoff: At which length of the list.
        segments: Which segments, in the order of the columns; one without any figure has no column.

    Returns:
        The picture, the same bytes for the same figures; None if there are none.
    """
    rows = [
        row
        for row in evaluation.to_pylist()
        if row["metric"] == metric and row["cutoff"] == cutoff and row["segment"] in segments
    ]
    if not rows:
        return None
    targets = sorted({row["target_domain"] for row in rows})
    shown = [segment for segment in segments if any(row["segment"] == segment for row in rows)]
    most = max(len({row["model"] for row in rows if row["target_domain"] == target}) for target in targets)
    figure = Figure(figsize=(3.3 * len(shown) + 0.2, (0.85 + 0.19 * most) * len(targets) + 0.7), layout="constrained")
    axes = figure.subplots(len(targets), len(shown), squeeze=False)
    for target, line in zip(targets, axes, strict=True):
        for segment, axis in zip(shown, line, strict=True):
            _panel(axis, target, segment, [r for r in rows if (r["target_domain"], r["segment"]) == (target, segment)])
    title = f"{_label(metric)}@{cutoff} on what was held out, with 95 % intervals. Green: champion. Dashed: popularity."
    if any(row["split"] == _GLOBAL_TIME for row in rows):
        title += " Diamond: split at one point in time."
    if any(row["model"] == SERVED for row in rows):
        title += f" {SERVED}: everybody's list from the champion of their segment."
    figure.suptitle(textwrap.fill(title, int(_LETTERS_PER_INCH * figure.get_figwidth())), fontsize=10)
    buffer = io.BytesIO()
    # Without the name and version of the library that wrote it.
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def evaluation_picture(evaluation: pa.Table, *, metric: str = "ndcg", cutoff: int = 10) -> MetadataValue[Any]:
    """The picture of `evaluation_png` as metadata that the UI shows in place.

    Args:
        evaluation: Rows of `EVALUATION_SCHEMA`.
        metric: Which metric.
        cutoff: At which length of the list.
    """
    picture = evaluation_png(evaluation, metric=metric, cutoff=cutoff)
    if picture is None:
        return MetadataValue.md("Nobody could be evaluated: too few interactions.")
    return MetadataValue.md(f"![evaluation](data:image/png;base64,{base64.b64encode(picture).decode()})")


def _panel(axis: Any, target: str, segment: str, rows: Sequence[dict[str, Any]]) -> None:
    """The models of one target and segment; an empty frame where nobody was evaluated."""
    own = sorted((row for row in rows if row["split"] != _GLOBAL_TIME), key=lambda row: (row["value"], row["model"]))
    later = {row["model"]: row["value"] for row in rows if row["split"] == _GLOBAL_TIME}
    people = f"{own[0]['users']:,} people" if own else "nobody"
    # It may be wider than the bars; to the left there is room, above the names.
    axis.set_title(f"{target}, {segment} ({people})", fontsize=9, x=1.0, ha="right")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="x", labelsize=8)
    for position, row in enumerate(own):
        axis.barh(position, row["value"], color=_CHAMPION if row["is_champion"] else _OTHER, height=0.7)
        axis.plot([row["ci_low"], row["ci_high"]], [position, position], color=_INK, linewidth=1)
        if row["model"] in later:
            axis.plot(
                later[row["model"]], position, "D", color="white", markeredgecolor=_LATER, markersize=4, clip_on=False
            )
        if row["model"] == BASELINE:
            axis.axvline(row["value"], color=_INK, linewidth=0.8, linestyle="--", zorder=0)
    axis.set_yticks(range(len(own)), [row["model"] for row in own], fontsize=8)
    for row, text in zip(own, axis.get_yticklabels(), strict=True):
        if row["is_champion"]:
            text.set_fontweight("bold")
    axis.set_ylim(-0.6, max(len(own), 1) - 0.4)
    axis.set_xlim(left=0)
    axis.locator_params(axis="x", nbins=5)


def _label(metric: str) -> str:
    return metric.upper() if metric in ("ndcg", "map", "mrr") else metric.replace("_", " ").capitalize()
