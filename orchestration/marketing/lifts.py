"""Both arms of campaigns compared, by every scope, measure and method.

A scope is whose people are looked at: everyone, a campaign, a kind, a segment, a channel, a day of first contact. Where it takes
in several campaigns, arms are compared within each campaign and the differences averaged (`models_ml.campaigns.stratified`); a
person in two campaigns is two subjects. Money is never added over currencies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.campaigns.lift import Lift
from models_ml.campaigns.means import Moments, PairMoments, cuped, difference_of_means, moments, pair_moments
from models_ml.campaigns.multiplicity import adjusted
from models_ml.campaigns.satisfaction import WINDOWS
from models_ml.campaigns.sequential import sequence_of_means, sequence_of_shares
from models_ml.campaigns.stratified import difference_of_stratified_means, difference_of_stratified_shares
from orchestration.marketing.campaign_briefs import CHALLENGE_DAYS
from orchestration.marketing.outcomes import (
    FOLLOW_UP_DAYS,
    Outcomes,
    campaign_of_subjects,
    flags,
    numbers,
    whole_numbers,
)

EVERYONE = "all"
Arms: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
# Where the sequential intervals are tightest; it only sets their width, they hold at any number.
PLANNED_PEOPLE = 2_000

LIFT_SCHEMA = pa.schema(
    [
        ("scope", pa.string()),
        ("scope_value", pa.string()),
        ("measure", pa.string()),
        ("method", pa.string()),
        ("currency", pa.string()),
        ("control", pa.float64()),
        ("treatment", pa.float64()),
        ("difference", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("p_value", pa.float64()),
        ("p_adjusted", pa.float64()),
        ("people_control", pa.int32()),
        ("people_treatment", pa.int32()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, eq=False)
class _Measure:
    """One value for each subject who counts.

    Attributes:
        name: Name of the measure.
        values: Value of each subject, 0 or 1 for a share, shape (subjects,).
        counts: Who counts, bool, same shape.
        is_share: Whether it is a share of people.
        is_money: Whether it is in the currency of the campaign.
    """

    name: str
    values: NDArray[np.float64]
    counts: NDArray[np.bool_]
    is_share: bool = True
    is_money: bool = False


def _measures(known: Outcomes) -> Iterator[_Measure]:
    """What is compared, by subject, without those whose arm nobody drew."""
    compared = flags(known.subjects, "is_compared")
    for one in _recorded_measures(known):
        yield replace(one, counts=one.counts & compared)


def _recorded_measures(known: Outcomes) -> Iterator[_Measure]:
    """What is recorded, by subject."""
    outcomes = known.outcomes

    recorded = flags(outcomes, "is_conversion_recorded")
    yield _Measure("conversion", outcomes["converted_at"].is_valid().to_numpy().astype(np.float64), recorded)
    has_currency = known.campaigns["currency"].is_valid().to_numpy()[campaign_of_subjects(known)]
    yield _Measure("revenue", numbers(outcomes, "revenue"), recorded & has_currency, is_share=False, is_money=True)
    followed = numbers(outcomes, "followed_days")
    everyone = np.ones(len(followed), dtype=bool)
    recorded_of = {
        "completion": flags(outcomes, "is_completion_recorded"),
        "return": everyone,
        "refund": flags(outcomes, "is_purchase_recorded"),
        "unsubscribe": flags(outcomes, "is_answer_recorded"),
    }
    columns = {
        "completion": "completed_after",
        "return": "returned_after",
        "refund": "refunded_after",
        "unsubscribe": "unsubscribed_after",
    }
    for kind, windows in WINDOWS.items():
        after = numbers(outcomes, columns[kind])
        for days in windows:
            done = (np.nan_to_num(after, nan=np.inf) <= days).astype(np.float64)
            yield _Measure(f"{kind}_{days}d", done, recorded_of[kind] & (followed >= days))
    completed = np.nan_to_num(numbers(outcomes, "challenge_after"), nan=np.inf) <= CHALLENGE_DAYS
    challenged = flags(outcomes, "is_challenge_recorded") & (followed >= CHALLENGE_DAYS)
    yield _Measure(f"challenge_{CHALLENGE_DAYS}d", completed.astype(np.float64), challenged)
    rating = numbers(outcomes, "rating")
    yield _Measure("rating", np.nan_to_num(rating), ~np.isnan(rating), is_share=False)


def _scopes(known: Outcomes) -> Iterator[tuple[str, NDArray[np.int64], Sequence[str | None]]]:
    """Each scope with its subjects, one entry for each value that a subject has, and the values."""
    subjects = known.subjects
    each = np.arange(subjects.num_rows)
    kind_of = known.campaigns["kind"].to_pylist()
    campaigns = campaign_of_subjects(known)
    yield EVERYONE, each, [EVERYONE] * len(each)
    yield "campaign", each, subjects["campaign_key"].to_pylist()
    yield "kind", each, [kind_of[campaign] for campaign in campaigns]
    yield "channel", each, subjects["channel"].to_pylist()
    yield "day", each, [day.isoformat() for day in subjects["started_on"].to_pylist()]
    lengths = np.asarray(subjects["segment_keys"].combine_chunks().value_lengths(), dtype=np.int64)
    yield "segment", np.repeat(each, lengths), subjects["segment_keys"].combine_chunks().flatten().to_pylist()


def compare_arms(known: Outcomes) -> pa.Table:
    """Both arms compared by every scope, measure and method.

    Args:
        known: What was read.

    Returns:
        Rows of `LIFT_SCHEMA`.
    """
    if not known.subjects.num_rows:
        return LIFT_SCHEMA.empty_table()
    treated = flags(known.subjects, "is_treated")
    before = numbers(known.outcomes, "revenue_before")
    campaigns = campaign_of_subjects(known)
    currency_of = known.campaigns["currency"].to_pylist()
    rows: list[dict[str, Any]] = []
    measures = list(_measures(known))
    for scope, subject, values in _scopes(known):
        for one in measures:
            kept = one.counts[subject] & np.array([value is not None for value in values], dtype=bool)
            if not kept.any():
                continue
            who = subject[kept]
            pools = [
                (value, currency_of[campaigns[person]] if one.is_money else None)
                for value, person, keep in zip(values, subject, kept, strict=True)
                if keep
            ]
            names = sorted(set(pools), key=lambda name: (name[0] or "", name[1] or ""))
            number = {name: place for place, name in enumerate(names)}
            pool = np.array([number[name] for name in pools], dtype=np.int64)
            strata, stratum = np.unique(pool * len(currency_of) + campaigns[who], return_inverse=True)
            compared = _Compared(
                who, treated[who], stratum, strata // len(currency_of), len(names), is_single=scope == "campaign"
            )
            for method, lift in compared.lifts(one, before):
                for (value, currency), row in zip(names, lift.table().to_pylist(), strict=True):
                    rows.append(
                        {
                            **row,
                            "scope": scope,
                            "scope_value": value,
                            "measure": one.name,
                            "method": method,
                            "currency": currency,
                            "ci_low": row["low"],
                            "ci_high": row["high"],
                            "p_adjusted": None,
                        }
                    )
    _adjust(rows, known)
    rows.sort(key=lambda row: (row["scope"], row["scope_value"], row["measure"], row["method"], row["currency"] or ""))
    return pa.Table.from_pylist([{name: row[name] for name in LIFT_SCHEMA.names} for row in rows], LIFT_SCHEMA)


@dataclass(frozen=True, eq=False)
class _Compared:
    """Subjects of one scope, in strata (campaigns) that belong to pools (values of the scope).

    Attributes:
        who: Number of each subject, shape (rows,); one in two segments is there twice.
        treated: Whether each is in the treatment arm, same shape.
        stratum: Stratum of each, same shape.
        pool: Pool of each stratum.
        pools: Number of pools.
        is_single: Whether each pool is one campaign.
    """

    who: NDArray[np.int64]
    treated: NDArray[np.bool_]
    stratum: NDArray[np.int64]
    pool: NDArray[np.int64]
    pools: int
    is_single: bool

    def lifts(self, one: _Measure, before: NDArray[np.float64]) -> Iterator[tuple[str, Lift]]:
        """The measure by each method that fits it."""
        values = one.values[self.who]
        if one.is_share:
            done, held_out = values > 0, ~self.treated
            arms = (
                self._count(held_out & done),
                self._count(held_out),
                self._count(self.treated & done),
                self._count(self.treated),
            )
            yield "newcombe", difference_of_stratified_shares(*arms, self.pool, self.pools)
            if self.is_single and one.name == "conversion":
                yield "sequential", sequence_of_shares_to_date(arms)
            return
        control, treatment = (self._moments(values, arm) for arm in (~self.treated, self.treated))
        yield "welch", difference_of_stratified_means(control, treatment, self.pool, self.pools)
        if not one.is_money:
            return
        earlier = before[self.who]
        adjusted_arms = cuped(*(self._pairs(values, earlier, arm) for arm in (~self.treated, self.treated)))
        yield (
            "cuped",
            difference_of_stratified_means(adjusted_arms.control, adjusted_arms.treatment, self.pool, self.pools),
        )
        if self.is_single:
            yield "student", difference_of_means(control, treatment, variance="pooled")
            yield "sequential", sequence_of_means(control, treatment, planned_people=PLANNED_PEOPLE)

    def _count(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(self.stratum[which], minlength=len(self.pool))

    def _moments(self, values: NDArray[np.float64], arm: NDArray[np.bool_]) -> Moments:
        return moments(values[arm], self.stratum[arm], len(self.pool))

    def _pairs(self, values: NDArray[np.float64], earlier: NDArray[np.float64], arm: NDArray[np.bool_]) -> PairMoments:
        return pair_moments(values[arm], earlier[arm], self.stratum[arm], len(self.pool))


def sequence_of_shares_to_date(arms: Arms) -> Lift:
    """The interval of a difference of shares that may be looked at every day, cut where no difference of shares can be.

    Args:
        arms: Those who did it and all people, of control and then of treatment, one entry a look.
    """
    found = sequence_of_shares(*arms, planned_people=PLANNED_PEOPLE)
    return replace(found, low=np.maximum(found.low, -1.0), high=np.minimum(found.high, 1.0))


def _adjust(rows: list[dict[str, Any]], known: Outcomes) -> None:
    """Adds Holm's p-values of each campaign, over the campaigns that were measured in the same time.

    The family of a campaign is fixed by its own time: those whose time overlaps with it, and of these only what was known when
    it was over. Whose measurement ends later counts in the number of the family, with a p-value of 1, so that it never makes the
    step smaller by what it turns out to be. So nothing changes any more for a campaign whose measurement is complete. Of
    campaigns that all overlap with each other, the chance of any false claim stays below the level: before the first of those
    without an effect could be claimed, none of the others is out of its family or has been stepped over.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
    """
    begins, ends = _measured_between(known)
    place = {key: number for number, key in enumerate(known.campaigns["campaign_key"].to_pylist())}
    together: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["scope"] == "campaign":
            together.setdefault((row["measure"], row["method"]), []).append(row)
    for compared in together.values():
        campaign = np.array([place[row["scope_value"]] for row in compared])
        p_values = np.array([row["p_value"] for row in compared], dtype=np.float64)
        start, end = begins[campaign], ends[campaign]
        for own, row in enumerate(compared):
            if not np.isnan(p_values[own]):
                family = (start < end[own]) & (start[own] < end)
                others = np.where((end > end[own]) | np.isnan(p_values), 1.0, p_values)
                row["p_adjusted"] = float(adjusted(np.where(family, others, np.nan))[own])


def _measured_between(known: Outcomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When each campaign is measured, microseconds since 1970, shape (campaigns,).

    From the moment when both arms have somebody, never if that has not come, to the end of the follow-up of whoever may be the
    last: of the campaign's last day or of a later first contact; without a last day there is no end.
    """
    campaigns, treated = campaign_of_subjects(known), flags(known.subjects, "is_treated")
    compared = flags(known.subjects, "is_compared")
    started = whole_numbers(known.subjects, "started_at").astype(np.float64)
    arms = np.full((2, known.campaigns.num_rows), np.inf)
    np.minimum.at(arms, (treated[compared].astype(np.int64), campaigns[compared]), started[compared])
    last = known.campaigns["ends_at"].cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()).fill_null(np.inf)
    ends = np.array(last.to_numpy())
    np.maximum.at(ends, campaigns, started)
    return arms.max(axis=0), ends + FOLLOW_UP_DAYS * 86_400e6
