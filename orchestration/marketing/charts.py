"""Pictures of campaigns, as bytes for a report and as metadata of an asset.

Holds how figures are drawn and which rows they are drawn from; what the figures are is decided in `measuring` and `planning`.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
from dagster import MetadataValue
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models_ml.campaigns.qini import qini_curve
from models_ml.campaigns.reliability import reliability

_EFFECT, _OTHER, _INK, _HARM = "#2a9d76", "#b8c2cc", "#1f2933", "#c05621"
_DOTS_PER_INCH = 100
# A picture is to be read at a glance; what is left out is in the table.
_MOST_CAMPAIGNS = 20

_LIFTS = f"""
select
    name,
    100 * lift_conversion,
    100 * lift_conversion_low,
    100 * lift_conversion_high
from marketing.measured_result
where lift_conversion_low is not null
order by starts_at desc, campaign_key
limit {_MOST_CAMPAIGNS}
"""

# People of all campaigns, one in two campaigns twice; whoever converted without a click is no part of the stage after it.
_REACH = """
with people as (
    select
        responses.campaign_key,
        responses.user_key,
        bool_or(responses.response_type = 'click') as is_clicked,
        bool_or(responses.response_type = 'conversion') as is_converted
    from core.fct_response as responses
    inner join core.fct_exposure as exposures on responses.exposure_key = exposures.exposure_key
    cross join raw.run as runs
    where exposures.arm = 'treatment' and responses.occurred_at <= runs.as_of
    group by all
)

select
    (select sum(people_treatment) from marketing.measured_result),
    (select sum(people_reached - held_out_people_exposed) from marketing.measured_result),
    count(*) filter (where is_clicked),
    count(*) filter (where is_clicked and is_converted)
from people
"""

_PACING = """
select
    results.name,
    days.date,
    days.budget_share_to_date
from marketing.measured_day as days
inner join marketing.measured_result as results on days.campaign_key = results.campaign_key
where days.budget_share_to_date is not null
order by results.starts_at, results.campaign_key, days.date
"""

# What was predicted for each contact of the ledger that could be followed, and whether its person converted.
_PREDICTED = """
select
    contacts.p_conversion,
    contacts.uplift,
    contacts.arm = 'treatment' as is_treated,
    attributions.user_key is not null as is_converted
from (
    select * from marketing.past_contact
    where p_conversion is not null
    qualify row_number() over (partition by campaign_key, user_key order by not_before, contact_key) = 1
) as contacts
left join (
    select distinct campaign_key, user_key from marketing.measured_attribution
) as attributions
    on contacts.campaign_key = attributions.campaign_key and contacts.user_key = attributions.user_key
cross join raw.run as runs
where contacts.not_before + interval 30 day <= runs.as_of and contacts.arm = 'treatment'
order by contacts.contact_key
"""


def lift_png(
    names: Sequence[str], lift: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> bytes | None:
    """Forest of lifts with their intervals, green where it excludes zero from above and red from below.

    Args:
        names: Names of the campaigns, from the bottom up.
        lift: Lift of each in percentage points, shape (campaigns,).
        low: Lower bounds.
        high: Upper bounds.

    Returns:
        The picture; None without campaigns.
    """
    if not names:
        return None
    figure = Figure(figsize=(7.0, 1.1 + 0.34 * len(names)), layout="constrained")
    axis = figure.subplots()
    for position, (middle, lower, upper) in enumerate(zip(lift, low, high, strict=True)):
        colour = _EFFECT if lower > 0 else _HARM if upper < 0 else _INK
        axis.plot([lower, upper], [position, position], color=colour, linewidth=2)
        axis.plot(middle, position, "o", color=colour, markersize=6)
        axis.annotate(f"{middle:+.1f}", (upper, position), (6, -3), textcoords="offset points", fontsize=8)
    axis.axvline(0, color=_INK, linewidth=0.8, linestyle="--", zorder=0)
    axis.set_yticks(range(len(names)), list(names), fontsize=9)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.margins(x=0.08)
    axis.set_xlabel("percentage points more people who convert than among the held out, 95 % interval", fontsize=8)
    return _drawn(figure, axis, "What each campaign caused")


def reach_png(stages: Sequence[str], people: Sequence[int]) -> bytes | None:
    """Funnel of how many are left at each stage, with the share of the stage before.

    Args:
        stages: Names of the stages, the widest first.
        people: How many each holds.

    Returns:
        The picture; None if the first stage is empty.
    """
    if not people or not people[0]:
        return None
    figure = Figure(figsize=(7.0, 0.8 + 0.4 * len(stages)), layout="constrained")
    axis = figure.subplots()
    axis.barh(range(len(stages)), people, color=_EFFECT, height=0.65)
    for position, number in enumerate(people):
        before = people[position - 1] if position else 0
        share = f"  ({number / before:.0%} of the stage before)" if before else ""
        axis.annotate(f"{number:,}{share}", (number, position), (5, -3), textcoords="offset points", fontsize=9)
    axis.set_yticks(range(len(stages)), list(stages), fontsize=9)
    axis.set_xlim(0, 1.45 * max(people))
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.spines["bottom"].set_visible(False)
    return _drawn(figure, axis, "How far campaigns reach")


def pacing_png(spent: Mapping[str, tuple[Sequence[Any], Sequence[float]]]) -> bytes | None:
    """Share of the budget that is spent, day by day.

    Args:
        spent: By name of the campaign, its days and the share of its budget that was spent up to each, in [0, 1].

    Returns:
        The picture; None without a campaign that has a budget.
    """
    if not spent:
        return None
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    axis = figure.subplots()
    for name, (days, shares) in list(spent.items())[-_MOST_CAMPAIGNS:]:
        axis.plot(days, 100 * np.asarray(shares), linewidth=1.8, label=name)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("% of the budget", fontsize=8)
    axis.tick_params(axis="x", labelsize=8, rotation=30)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _drawn(figure, axis, "Budget spent to date")


def reliability_png(predicted: NDArray[np.float64], answered: NDArray[np.bool_]) -> bytes | None:
    """Predicted against observed probability of conversion, with Wilson's intervals; on the diagonal they come true.

    Args:
        predicted: Probability of each contact, shape (contacts,).
        answered: Whether its person converted, same shape.

    Returns:
        The picture; None without contacts.
    """
    if not len(predicted):
        return None
    found = reliability(predicted, answered)
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axis = figure.subplots()
    most = 100 * float(max(found.predicted.max(), found.high.max()))
    axis.plot([0, most], [0, most], color=_OTHER, linestyle="--", linewidth=1)
    axis.vlines(100 * found.predicted, 100 * found.low, 100 * found.high, color=_EFFECT, linewidth=1.5)
    axis.plot(100 * found.predicted, 100 * found.observed, "o", color=_EFFECT)
    axis.set_xlabel("predicted conversion, %", fontsize=8)
    axis.set_ylabel("observed, % (95 % interval)", fontsize=8)
    return _drawn(figure, axis, f"Do predictions come true? ({len(predicted):,} contacts)")


def qini_png(
    rankings: Mapping[str, NDArray[np.float64]], treated: NDArray[np.bool_], responded: NDArray[np.bool_]
) -> bytes | None:
    """Incremental conversions by share of people contacted, best first; the dashed line is a random ranking.

    Args:
        rankings: Score of each person by name of the ranking, each of shape (people,).
        treated: Whether each was contacted, shape (people,).
        responded: Whether each converted, shape (people,).

    Returns:
        The picture; None where an arm is empty.
    """
    if treated.all() or not treated.any():
        return None
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for (name, scores), colour in zip(rankings.items(), (_EFFECT, _HARM, _INK, _OTHER), strict=False):
        curve = qini_curve(scores, treated, responded)
        axis.plot(100 * curve.share, curve.gain, color=colour, linewidth=1.8, label=name)
        end = float(curve.gain[-1])
    axis.plot([0, 100], [0, end], color=_INK, linestyle="--", linewidth=1, label="random")
    axis.set_xlabel("% of people contacted, best first", fontsize=8)
    axis.set_ylabel("incremental conversions", fontsize=8)
    axis.legend(fontsize=8, frameon=False)
    return _drawn(figure, axis, "Whom does contact move?")


def lift_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """The forest of the measured campaigns."""
    rows = connection.execute(_LIFTS).fetchall()
    lift, low, high = (np.array([row[column] for row in rows], dtype=np.float64) for column in (1, 2, 3))
    return _shown("lift", lift_png([row[0] for row in rows], lift, low, high), "No campaign can be compared yet.")


def reach_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """The funnel of all measured campaigns together."""
    (row,) = connection.execute(_REACH).fetchall()
    stages = ("to be contacted", "reached", "clicked", "converted")
    return _shown("reach", reach_png(stages, [int(number or 0) for number in row]), "Nobody has been contacted yet.")


def pacing_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """What the campaigns have spent of their budgets."""
    spent: dict[str, tuple[list[Any], list[float]]] = {}
    for name, day, share in connection.execute(_PACING).fetchall():
        days, shares = spent.setdefault(name, ([], []))
        days.append(day)
        shares.append(share)
    return _shown("budget", pacing_png(spent), "Nothing has been spent of a budget yet.")


def reliability_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """Predictions at decision against what became of the contacts that could be followed for 30 days."""
    rows = connection.execute(_PREDICTED).fetchnumpy()
    picture = reliability_png(
        np.asarray(rows["p_conversion"], dtype=np.float64), np.asarray(rows["is_converted"], dtype=bool)
    )
    return _shown("reliability", picture, "No contact that was handed over could be followed for 30 days yet.")


def _drawn(figure: Figure, axis: Any, title: str) -> bytes:
    """The figure as PNG, the same bytes for the same figures."""
    axis.set_title(title, fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    buffer = io.BytesIO()
    # Without the name and version of the library that wrote it.
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _shown(name: str, picture: bytes | None, otherwise: str) -> MetadataValue[Any]:
    """The picture as metadata that the UI shows in place, or why there is none."""
    if picture is None:
        return MetadataValue.md(otherwise)
    return MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(picture).decode()})")
