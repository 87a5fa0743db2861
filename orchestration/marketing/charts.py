"""Pictures of campaigns, as bytes for a report and as metadata of an asset.

Holds how figures are drawn and which rows they are drawn from; what the figures are is decided in `measuring`, `policies`
and `planning`.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
from dagster import MetadataValue
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models_ml.campaigns.qini import qini_curve
from orchestration.marketing.policies import Decisions

_EFFECT, _OTHER, _INK, _HARM = "#2a9d76", "#b8c2cc", "#1f2933", "#c05621"
_DOTS_PER_INCH = 100
# A picture is to be read at a glance; what is left out is in the table.
_MOST_CAMPAIGNS = 20

# With the interval that the verdict rests on.
_LIFTS = f"""
select
    name,
    100 * lift_conversion,
    100 * if(verdict_basis = 'sequential', lift_conversion_sequential_low, lift_conversion_low),
    100 * if(verdict_basis = 'sequential', lift_conversion_sequential_high, lift_conversion_high)
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

_RELIABILITY = """
select contacts, predicted, observed, observed_low, observed_high
from marketing.measured_reliability
where model = 'decided' and answer = 'conversion'
order by bin
"""

# People of the present plan, each counted once, by how far they come.
_PLANNED = """
select
    count(distinct user_key),
    count(distinct user_key) filter (where code in ('eligible', 'global_holdout', 'campaign_holdout')),
    count(distinct user_key) filter (where code = 'eligible'),
    (select count(distinct user_key) from marketing.decided_contact where arm = 'treatment')
from marketing.decided_eligibility
where code != 'outside_segment'
"""

# Money of one currency, that of most decisions, on one scale.
_POLICIES = """
with ranked as (
    select *, dense_rank() over (order by decisions desc, currency) as place
    from (select currency, max(decisions) as decisions from marketing.measured_policy group by all)
)

select
    replace(policies.policy, '_', ' '),
    policies.difference,
    policies.difference_low,
    policies.difference_high,
    policies.currency
from marketing.measured_policy as policies
inner join ranked on policies.currency = ranked.currency and ranked.place = 1
where policies.estimator = 'doubly_robust' and policies.difference is not null
order by policies.difference, policies.policy
"""


def forest_png(
    names: Sequence[str],
    middle: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    title: str,
    label: str,
    digits: str = "+.1f",
) -> bytes | None:
    """Forest of differences with their intervals, green where it excludes zero from above and red from below.

    Args:
        names: What is compared, from the bottom up.
        middle: Difference of each, shape (names,).
        low: Lower bounds.
        high: Upper bounds.
        title: Of the picture.
        label: Of the axis: what the difference is, and its unit.
        digits: Format of the figures.

    Returns:
        The picture; None without names.
    """
    if not names:
        return None
    figure = Figure(figsize=(7.0, 1.1 + 0.34 * len(names)), layout="constrained")
    axis = figure.subplots()
    for position, (found, lower, upper) in enumerate(zip(middle, low, high, strict=True)):
        colour = _EFFECT if lower > 0 else _HARM if upper < 0 else _INK
        axis.plot([lower, upper], [position, position], color=colour, linewidth=2)
        axis.plot(found, position, "o", color=colour, markersize=6)
        axis.annotate(f"{found:{digits}}", (upper, position), (6, -3), textcoords="offset points", fontsize=8)
    axis.axvline(0, color=_INK, linewidth=0.8, linestyle="--", zorder=0)
    axis.set_yticks(range(len(names)), list(names), fontsize=9)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.margins(x=0.08)
    axis.set_xlabel(label, fontsize=8)
    return _drawn(figure, axis, title)


def reach_png(stages: Sequence[str], people: Sequence[int], *, title: str) -> bytes | None:
    """Funnel of how many are left at each stage, with the share of the stage before.

    Args:
        stages: Names of the stages, the widest first.
        people: How many each holds.
        title: Of the picture.

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
    return _drawn(figure, axis, title)


def pacing_png(spent: Mapping[str, tuple[Sequence[date], Sequence[float]]]) -> bytes | None:
    """Share of the budget that is spent, day by day.

    Args:
        spent: By name of the campaign, its days in their order and the share of its budget that was spent up to each, in [0, 1].

    Returns:
        The picture; None without a campaign that has a budget.
    """
    if not spent:
        return None
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    # Of matplotlib's axes and dates no type says that an axis takes days.
    axis: Any = figure.subplots()
    newest = dict(list(spent.items())[-_MOST_CAMPAIGNS:])
    for name, (days, shares) in newest.items():
        axis.plot(days, 100 * np.asarray(shares), linewidth=1.8, marker="o", markersize=2.5, label=name)
    # A line of one day is a dot, and would have an axis of years.
    axis.set_xlim(
        min(days[0] for days, _ in newest.values()) - timedelta(days=1),
        max(days[-1] for days, _ in newest.values()) + timedelta(days=1),
    )
    axis.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=8))  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))  # type: ignore[no-untyped-call]
    axis.set_ylim(bottom=0)
    axis.set_ylabel("% of the budget", fontsize=8)
    axis.tick_params(axis="x", labelsize=8, rotation=30)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _drawn(figure, axis, "Budget spent to date")


def reliability_png(
    contacts: NDArray[np.int64],
    predicted: NDArray[np.float64],
    observed: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> bytes | None:
    """Predicted against observed probability of conversion, with Wilson's intervals; on the diagonal they come true.

    Args:
        contacts: Contacts of each bin, shape (bins,).
        predicted: Mean probability of each bin, same shape.
        observed: Share to which a conversion is credited, same shape.
        low: Lower bound of the share, same shape.
        high: Upper bound, same shape.

    Returns:
        The picture; None without contacts.
    """
    if not len(predicted):
        return None
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axis = figure.subplots()
    most = 100 * float(max(predicted.max(), high.max()))
    axis.plot([0, most], [0, most], color=_OTHER, linestyle="--", linewidth=1)
    axis.vlines(100 * predicted, 100 * low, 100 * high, color=_EFFECT, linewidth=1.5)
    axis.plot(100 * predicted, 100 * observed, "o", color=_EFFECT)
    axis.set_xlabel("predicted conversion, %", fontsize=8)
    axis.set_ylabel("observed, % (95 % interval)", fontsize=8)
    return _drawn(figure, axis, f"Do predictions come true? ({contacts.sum():,} contacts)")


def qini_png(
    rankings: Mapping[str, NDArray[np.float64]], treated: NDArray[np.bool_], responded: NDArray[np.bool_]
) -> bytes | None:
    """Incremental conversions by share of people contacted, best first; the dashed line is a random ranking.

    Args:
        rankings: Score of each person by name of the ranking, at most four, each of shape (people,).
        treated: Whether each was contacted, by a lot of the same probability for all, shape (people,).
        responded: Whether each converted, shape (people,).

    Returns:
        The picture; None where an arm is empty.
    """
    if treated.all() or not treated.any():
        return None
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axis = figure.subplots()
    end = 0.0
    for (name, scores), colour in zip(rankings.items(), (_EFFECT, _HARM, _INK, _OTHER), strict=False):
        curve = qini_curve(scores, treated, responded)
        axis.plot(100 * curve.share, curve.gain, color=colour, linewidth=1.8, label=name)
        end = float(curve.gain[-1])
    axis.plot([0, 100], [0, end], color=_INK, linestyle="--", linewidth=1, label="random")
    axis.set_xlabel("% contacted, best first", fontsize=8)
    axis.set_ylabel("incremental conversions", fontsize=8)
    axis.legend(fontsize=8, frameon=False)
    return _drawn(figure, axis, f"Whom does contact move? ({len(treated):,} decisions)")


def lift_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """The forest of the measured campaigns."""
    picture = _forest(
        connection.execute(_LIFTS).fetchall(),
        title="What each campaign caused",
        label="percentage points more who convert than among the held out\n95 % interval; of all days while it is measured",
    )
    return as_metadata("lift", picture, "No campaign can be compared yet.")


def policy_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """The forest of the policies that decisions can judge, doubly robust."""
    rows = connection.execute(_POLICIES).fetchall()
    currency = rows[0][4] if rows else ""
    picture = _forest(
        [row[:4] for row in rows],
        title="What other rules of contact would have earned",
        label=f"{currency} per decision more than what was done, 95 % interval",
        digits="+.3g",
    )
    return as_metadata("policies", picture, "No policy can be judged by the decisions so far.")


def qini_picture(decisions: Decisions) -> MetadataValue[Any]:
    """How well the plans ranked people, by what became of those whom the lot treated alike: the largest group of one propensity."""
    at = np.flatnonzero(decisions.known)
    if len(at):
        _, group, size = np.unique(decisions.propensity[at].round(9), return_inverse=True, return_counts=True)
        at = at[group == size.argmax()]
    picture = qini_png(
        {"predicted uplift": decisions.uplift[at], "predicted conversion": decisions.p_conversion[at]},
        decisions.treated[at],
        decisions.converted[at],
    )
    return as_metadata("qini", picture, "No decision of both arms could be followed for 30 days yet.")


def reach_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """The funnel of all measured campaigns together."""
    stages = ("to be contacted", "reached", "clicked", "converted")
    picture = _funnel(connection, _REACH, stages, title="How far campaigns reach")
    return as_metadata("reach", picture, "Nobody has been contacted yet.")


def planned_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """The funnel of the present plan: of the people whom campaigns are for, those whom it contacts."""
    stages = ("addressed", "may be contacted", "not held out", "planned")
    picture = _funnel(connection, _PLANNED, stages, title="How far the plan reaches")
    return as_metadata("reach", picture, "No campaign that can be planned is for anybody.")


def pacing_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """What the campaigns have spent of their budgets."""
    spent: dict[str, tuple[list[date], list[float]]] = {}
    for name, day, share in connection.execute(_PACING).fetchall():
        days, shares = spent.setdefault(name, ([], []))
        days.append(day)
        shares.append(share)
    return as_metadata("budget", pacing_png(spent), "Nothing has been spent of a budget yet.")


def reliability_picture(connection: duckdb.DuckDBPyConnection) -> MetadataValue[Any]:
    """Predictions at decision against what is credited to the contacts that were shown and followed for 30 days."""
    bins = connection.execute(_RELIABILITY).fetchnumpy()
    picture = reliability_png(*(np.asarray(column) for column in bins.values()))
    return as_metadata("reliability", picture, "No contact that was shown could be followed for 30 days yet.")


def _forest(rows: Sequence[tuple[Any, ...]], **words: str) -> bytes | None:
    """Forest of rows of name, difference, lower and upper bound."""
    middle, low, high = (np.array([row[column] for row in rows], dtype=np.float64) for column in (1, 2, 3))
    return forest_png([row[0] for row in rows], middle, low, high, **words)


def _funnel(connection: duckdb.DuckDBPyConnection, query: str, stages: Sequence[str], *, title: str) -> bytes | None:
    """Funnel of a query with one row, a column a stage."""
    (row,) = connection.execute(query).fetchall()
    return reach_png(stages, [int(number or 0) for number in row], title=title)


def _drawn(figure: Figure, axis: Any, title: str) -> bytes:
    """The figure as PNG, the same bytes for the same figures."""
    axis.set_title(title, fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    buffer = io.BytesIO()
    # Without the name and version of the library that wrote it.
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def as_metadata(name: str, picture: bytes | None, otherwise: str) -> MetadataValue[Any]:
    """The picture as metadata that the UI shows in place, or why there is none."""
    if picture is None:
        return MetadataValue.md(otherwise)
    return MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(picture).decode()})")
