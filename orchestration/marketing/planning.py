"""The rolling plan: whom which campaign contacts on which of the next days, about what, and what it rests on.

Here the facts of `contact_candidates` meet the library: worth (`valuation`), limits and choice (`allocation`), holdouts. The plan
is an artifact whose address says what it was made from, so that the same deliveries and settings give the same plan again, with
other lists handed over in between or not.

Everybody who would be eligible but for a holdout takes part in the choice (ghost contacts): a chosen contact of a held-out person
goes to the control arm, is never delivered and costs nothing. Ghost contacts count in caps and tire as delivered ones do, in every
campaign, so that both arms are chosen by the same rule. What contact does to people can not be mirrored: nobody dismisses a ghost,
unsubscribes or converts because of it, so that later choices meet other people in the arms to that extent.

One item a pair of person and campaign is looked at, the best one: nothing but the item's score tells items apart, so another one
is only better where the best has run out, and only items with a stock can. Those campaigns have two alternates a pair. Memory is
about 300 bytes a pair for values and 200 bytes a row of the allocation: of many pairs the best of each campaign by its money are
looked at, and if there are still more rows than `MOST_ROWS`, each on a part of the days, in turn.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.campaigns.allocation import (
    BETTER_CAMPAIGN,
    BUDGET,
    CHOSEN,
    NO_CANDIDATE,
    NOT_WORTH_IT,
    REASONS,
    Allocation,
    AllocationConfig,
    allocate,
)
from models_ml.campaigns.allocation_problem import Candidates, ContactCap, Contacts, Limits, Problem
from models_ml.campaigns.contact_prior import score_shares
from models_ml.campaigns.eligibility import CODES, ELIGIBLE
from models_ml.campaigns.exploration import explore
from models_ml.campaigns.holdout import held_out, offer_probability
from models_ml.campaigns.planning import detectable_difference_of_shares
from models_ml.campaigns.qini import RESPONSE_ONLY
from models_ml.campaigns.rolling import day_budgets, days_of_pairs, put_off, total_day_budgets, within_reach
from models_ml.campaigns.valuation import KINDS, UPLIFT, ContactFeatures, Valuation, ValuationConfig, value_contacts
from orchestration.marketing.campaign_briefs import Brief, read_briefs
from orchestration.marketing.campaign_limits import WindowedAmount, read_limits
from orchestration.marketing.contact_candidates import CandidateReader, Pairs, SettledArms, further_columns
from orchestration.marketing.contact_schema import CONTACT_SCHEMA, CONTROL, HANDED_OVER, PLAN_SCHEMA, PLANNED, TREATMENT
from orchestration.marketing.ledger import Commitment
from orchestration.marketing.reliabilities import CONVERSION, PRESENT, reliability_table
from orchestration.resources.artifacts import Artifact, ArtifactStore
from orchestration.resources.warehouse import replace_table
from orchestration.settings import Settings
from orchestration.versions import code_version

# Rows of the allocation beyond which only those pairs are looked at that a campaign's money could come to, and beyond which those
# are looked at on a part of the days each.
MANY_ROWS, MOST_ROWS = 300_000, 4_000_000
# Rows of a linear programme, and the fewest people in one that only gives prices.
_ROWS_OF_PROGRAMMES, _LEAST_SAMPLE = 60_000, 1_000
# How often more people are asked for where a minimum was reached with the held-out only, and how many times as many are looked at.
_ASKED_AGAIN, _SPARE_OF_REACH = 3, 4
# Share of a minimum that has to be missing for that.
_WORTH_ASKING = 0.01
# Items of a pair where one of the campaign's items has a stock.
ALTERNATES = 3

TABLES = ("contact", "plan", "campaign", "eligibility", "limit", "uplift", "reliability")
_HELD_OUT = (CODES.index("global_holdout"), CODES.index("campaign_holdout"))
_CANDIDATE_CODES = (CODES.index(ELIGIBLE), *_HELD_OUT)
_NO_ARM = -1

CAMPAIGN_SCHEMA = pa.schema(
    [
        ("campaign_key", pa.string()),
        ("plan_id", pa.string()),
        ("state", pa.string()),
        ("problem", pa.string()),
        ("competes_with", pa.list_(pa.string())),
        ("first_date", pa.date32()),
        ("last_date", pa.date32()),
        ("currency", pa.string()),
        ("budget", pa.float64()),
        ("spent", pa.float64()),
        ("budget_left", pa.float64()),
        ("holdout_share", pa.float64()),
        ("people_in_segment", pa.int32()),
        ("eligible_people", pa.int32()),
        ("held_out_people", pa.int32()),
        ("candidates", pa.int64()),
        ("planned_contacts", pa.int32()),
        ("planned_people", pa.int32()),
        ("planned_cost", pa.float64()),
        ("expected_conversions", pa.float64()),
        ("expected_incremental_conversions", pa.float64()),
        ("expected_value", pa.float64()),
        ("detectable_difference", pa.float64()),
    ]
)
ELIGIBILITY_SCHEMA = pa.schema(
    [
        ("campaign_key", pa.string()),
        ("user_key", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("propensity", pa.float64()),
        ("item_key", pa.string()),
        ("p_click", pa.float64()),
        ("p_conversion", pa.float64()),
        ("uplift", pa.float64()),
        ("expected_value", pa.float64()),
    ]
)
LIMIT_SCHEMA = pa.schema(
    [
        ("limit_key", pa.string()),
        ("limit_kind", pa.string()),
        ("campaign_key", pa.string()),
        ("item_key", pa.string()),
        ("segment_key", pa.string()),
        ("contact_date", pa.date32()),
        ("channel", pa.string()),
        ("window_days", pa.int32()),
        ("allowed", pa.float64()),
        ("used", pa.float64()),
        ("shadow_price", pa.float64()),
        ("bound_people", pa.float64()),
        ("total_price", pa.float64()),
        ("plan_id", pa.string()),
    ]
)

UPLIFT_SCHEMA = pa.schema(
    [
        ("learner", pa.string()),
        ("qini", pa.float64()),
        ("qini_low", pa.float64()),
        ("qini_high", pa.float64()),
        ("ahead_of_response", pa.float64()),
        ("ahead_of_response_low", pa.float64()),
        ("ahead_of_response_high", pa.float64()),
        ("is_best", pa.bool_()),
        ("is_used", pa.bool_()),
        ("reason", pa.string()),
        ("plan_id", pa.string()),
    ]
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def make_plan(
    connection: duckdb.DuckDBPyConnection,
    artifacts: ArtifactStore,
    settings: Settings,
    *,
    data_version: str,
    committed: Mapping[date, Commitment],
) -> tuple[Artifact, bool]:
    """Plans the days after `as_of`, unless that was done before.

    Args:
        connection: Writer of the build file; only temporary tables are written.
        artifacts: Where plans are kept.
        settings: Days that are planned and handed over, and the seed. With an explicit `as_of` nothing is handed over.
        data_version: Identity of what the warehouse holds.
        committed: Days that were handed over before, and by whom; nothing is planned for them any more.

    Returns:
        The artifact, its address the `plan_id`, with the tables of `TABLES`; and whether it was made now.

    Raises:
        CampaignLimitError: If a row of the seed `campaign_limits` cannot be kept. A campaign that cannot be planned does not
            stop the others; what is wrong with it stands in `campaign`.
    """
    parameters: dict[str, Any] = {
        "plan_days": settings.plan_days,
        "handover_days": settings.handover_days,
        "seed": settings.seed,
        "hands_over": settings.as_of is None,
    }

    def address_of(parameters: Mapping[str, Any]) -> str:
        return artifacts.address("plan", inputs=[data_version], code=code_version(), parameters=parameters)

    made_from = address_of(parameters)
    dates = _days_after(connection, settings.plan_days)
    # What others have handed over of the days that this plan would, it cannot; so it is another plan.
    taken = [
        str(day) for day in dates[: settings.handover_days] if committed.get(day, (None, made_from))[1] != made_from
    ]
    address = address_of(parameters | {"handed_over_by_others": taken}) if taken else made_from
    found = artifacts.find(address)
    if found is not None:
        return found, False
    free = [committed.get(day, (address,))[0] == address for day in dates]
    tables, handed = _Planner(connection, settings, address, dates, free).plan()
    (row,) = tables["plan"].to_pylist()
    document = {**row, "handed_dates": handed, "made_from": made_from}
    return artifacts.put(address, document=document, tables=tables), True


def _days_after(connection: duckdb.DuckDBPyConnection, count: int) -> list[date]:
    """The calendar days of the run's time zone that follow the day of `as_of`."""
    ((as_of, time_zone),) = connection.execute("select as_of, time_zone from raw.run").fetchall()
    today = as_of.replace(tzinfo=UTC).astimezone(ZoneInfo(time_zone)).date()
    return [today + timedelta(days=1 + day) for day in range(count)]


def write_plan(connection: duckdb.DuckDBPyConnection, plan: Artifact) -> int:
    """Replaces the tables `marketing.decided_*` by those of a plan; returns the number of contacts.

    Args:
        connection: Writer of the build file.
        plan: From `make_plan`.
    """
    rows = {name: replace_table(connection, f"marketing.decided_{name}", plan.table(name)) for name in TABLES}
    return rows["contact"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Offered:
    """Offers of candidate pairs with their worth; all of shape (offers,) unless said otherwise.

    Attributes:
        pair: Index of the pair among all.
        slot, person, item: Campaign, person and item.
        score_share: Share of the campaign's scores below this one.
        valuation: What contacts are worth.
        value: Expected value less cost; of an offer that exploration drew what it was where it won.
        kept: Whether exploration left the offer.
        draw: Probability with which it did.
        explored: Whether each person is explored, shape (people,).
    """

    pair: Ints
    slot: Ints
    person: Ints
    item: Ints
    score_share: Floats
    valuation: Valuation
    value: Floats
    kept: Flags
    draw: Floats
    explored: Flags


@dataclasses.dataclass(frozen=True, eq=False)
class _Choice:
    """The allocation problem over offers and days, and its solution.

    Attributes:
        problem: Rows are offers on days; people are those with rows.
        allocation: The solution.
        offer: Offer of each row, shape (rows,).
        looked_at: Offers that were worth looking at, ascending; each has rows unless its turn comes another day.
        people: Number of each person of the problem among all, shape (people of the problem,).
    """

    problem: Problem
    allocation: Allocation
    offer: Ints
    looked_at: Ints
    people: Ints


class _Planner:
    """One making of a plan."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        plan_id: str,
        dates: Sequence[date],
        free: Sequence[bool],
    ) -> None:
        self.connection, self.settings, self.plan_id = connection, settings, plan_id
        self.dates, self.free = list(dates), free
        ((self.as_of, self.time_zone),) = connection.execute("select as_of, time_zone from raw.run").fetchall()
        near = [day for day, is_free in zip(self.dates, self.free, strict=True) if is_free]
        last = self.dates[settings.handover_days - 1]
        self.handed = [day for day in near if day <= last] if settings.as_of is None else []
        self.briefs = read_briefs(connection, self.dates[0], settings.plan_days)
        self.limits = read_limits(connection)
        self.planned = self.briefs.planned
        listed = {key for brief in self.planned for key in brief.item_keys}
        self.items = sorted(listed | self.limits.stock.keys())

    def plan(self) -> tuple[dict[str, pa.Table], list[date]]:
        """The tables of the plan, and the days handed over."""
        with CandidateReader(self.connection, self.plan_id, self.planned, self.items) as reader:
            self.users = reader.people()["user_key"]
            self._count_money(reader)
            pairs = self._hold_out(
                reader.pairs([bool(days.any()) for days in self.active], self.stock >= 1), reader.settled_arms()
            )
            offered = self._offer(reader, pairs)
            self._count_reach(reader)
            choice = self._choose(reader, pairs, offered)
            contact = self._contacts(reader, pairs, offered, choice)
        tables = {
            "contact": contact,
            "plan": self._plan_row(pairs, offered, choice, contact),
            "campaign": self._campaign_rows(pairs, offered, choice, contact),
            "eligibility": self._eligibility_rows(pairs, offered, choice),
            "limit": self._limit_rows(pairs, offered, choice),
            "uplift": _uplift_rows(offered.valuation, self.plan_id),
            "reliability": reliability_table(PRESENT, CONVERSION, offered.valuation.reliability),
        }
        return tables, self.handed

    def _count_money(self, reader: CandidateReader) -> None:
        """What is left of budgets and stock, and on which days who may contact."""
        spent = reader.spent()
        self.spent = {brief.campaign_key: float(spent.get(brief.campaign_key, 0.0)) for brief in self.briefs.all}
        self.cost = np.array([brief.cost for brief in self.planned], np.float64)
        budget = np.array([brief.budget for brief in self.planned], np.float64)
        self.budget_left = np.maximum(budget - [self.spent[brief.campaign_key] for brief in self.planned], 0.0)
        self.active = np.array(
            [
                [is_free and brief.runs_on(day) for day, is_free in zip(self.dates, self.free, strict=True)]
                for brief in self.planned
            ],
            bool,
        ).reshape(len(self.planned), len(self.dates))
        after = self.dates[-1] + timedelta(days=1)
        days_left = self.active.sum(axis=1) + np.array([brief.days_from(after) for brief in self.planned], np.int64)
        self.day_budget = day_budgets(self.budget_left, self.cost, days_left, self.active)
        self.total_budget, self.total_day_budget = math.inf, np.full(len(self.dates), np.inf)
        of_plan = [brief.campaign_key for brief in self.briefs.all if brief.currency == self.briefs.currency]
        for total in self.limits.total_budgets:
            if total.window_days is None:
                used = sum(self.spent[key] for key in of_plan)
                self.total_budget = min(self.total_budget, max(total.amount - used, 0.0))
            else:
                self.total_day_budget = np.minimum(self.total_day_budget, self._of_days(reader, total, of_plan))
        self.stock = np.full(len(self.items), np.inf)
        for key, rows in self.limits.stock.items():
            left = [pieces.amount - reader.given(self._since(pieces)).get(key, 0) for pieces in rows]
            self.stock[self.items.index(key)] = max(min(left), 0.0)

    def _of_days(self, reader: CandidateReader, total: WindowedAmount, campaign_keys: Sequence[str]) -> Floats:
        """What all campaigns may cost together on each day so that no window costs more than an amount, shape (days,)."""
        window = total.window_days or 1
        first = self.dates[0] - timedelta(days=window - 1)
        by_day = reader.spent_by_day(campaign_keys, first)
        spent = [by_day.get(first + timedelta(days=day), 0.0) for day in range(window - 1 + len(self.dates))]
        least = float(self.cost.max(initial=0.0))
        return total_day_budgets(total.amount, window, np.array(spent), np.array(self.free, bool), least)

    def _since(self, amount: WindowedAmount) -> date | None:
        """First day whose contacts count, so that no window that holds a day of the plan is overdrawn."""
        return None if amount.window_days is None else self.dates[0] - timedelta(days=amount.window_days - 1)

    def _hold_out(self, pairs: Pairs, settled: SettledArms) -> Pairs:
        """Marks the eligible who are held out, and says which pairs take part in the choice.

        Who has an arm stays in it, whoever drew it and whatever the share is now: nobody is in both, and the propensity is that of
        the draw. The exception is the global holdout, from which nobody is taken; who was contacted before it takes part no more,
        not even as a ghost.
        """
        code = pairs.code.copy()
        eligible = code == 0
        keys = self.users.take(pa.array(np.unique(pairs.person[eligible]))).to_pylist()
        out_of_all = np.zeros(len(self.users), bool)
        out_of_all[np.unique(pairs.person[eligible])] = held_out(keys, "global", self.limits.global_holdout)
        for slot, brief in enumerate(self.planned):
            at = np.flatnonzero(eligible & (pairs.slot == slot))
            mine = self.users.take(pa.array(pairs.person[at])).to_pylist()
            out = held_out(mine, _salt(f"campaign/{brief.campaign_key}"), brief.holdout_share)
            code[at[out]] = _HELD_OUT[1]
        arm = np.full((len(self.planned), len(self.users)), _NO_ARM, np.int8)
        arm[settled.slot, settled.person] = settled.is_treated
        before = arm[pairs.slot, pairs.person]
        code[eligible & (before == 0)] = _HELD_OUT[1]
        code[eligible & (before == 1)] = 0
        code[eligible & out_of_all[pairs.person]] = _HELD_OUT[0]
        takes_part = np.isin(code, _CANDIDATE_CODES) & ~((code == _HELD_OUT[0]) & (before == 1))
        share = np.array([brief.holdout_share for brief in self.planned], np.float64)
        drawn = np.full(arm.shape, np.nan)
        drawn[settled.slot, settled.person] = settled.propensity
        propensity = np.where(
            before == _NO_ARM,
            offer_probability(self.limits.global_holdout, share[pairs.slot]),
            drawn[pairs.slot, pairs.person],
        )
        return dataclasses.replace(pairs, code=code, takes_part=takes_part, propensity=propensity)

    def _offer(self, reader: CandidateReader, pairs: Pairs) -> _Offered:
        """Items and worth of every candidate pair, and what exploration leaves of them."""
        chosen = np.flatnonzero(pairs.takes_part)
        most = ALTERNATES if np.isfinite(self.stock).any() else 1
        offers = reader.offers(pairs.slot[chosen], pairs.person[chosen], self.stock >= 1, most)
        pair = chosen[offers.pair]
        slot, person = pairs.slot[pair], pairs.person[pair]
        known = reader.known()
        # Of who may not be profiled no score is known, neither a high nor a low one.
        scored = known.may_be_personalised[person]
        share = np.full(len(slot), np.nan)
        share[scored] = score_shares(slot[scored], offers.score[scored], len(self.planned))
        kinds = np.array([KINDS.index(brief.kind) if brief.kind else 0 for brief in self.planned], np.int64)
        worth = np.array([brief.value_per_conversion for brief in self.planned], np.float64)
        there = np.zeros(len(slot))
        for number, brief in enumerate(self.planned):
            if brief.target_platform in known.activity_on:
                mine = slot == number
                there[mine] = known.activity_on[brief.target_platform][person[mine]]
        features = ContactFeatures(
            score_share=share,
            kind=kinds[slot],
            segment=known.segment[person],
            person=person,
            recent_contacts=known.recent_contacts[person],
            activity=known.activity[person],
            value_per_conversion=worth[slot],
            cost=self.cost[slot],
            further=further_columns(there, known.dismissals[person]),
        )
        valuation = value_contacts(features, reader.history(), reader.rates(), ValuationConfig(seed=self.settings.seed))
        people = np.unique(person)
        explored = np.zeros(len(self.users), bool)
        explored[people] = held_out(
            self.users.take(pa.array(people)).to_pylist(), f"explore/{self.dates[0]}", self.limits.exploration_share
        )
        tried = reader.followed_contacts()
        value, kept, draw = explore(
            person,
            slot,
            valuation.expected_value,
            self.cost[slot],
            valuation.p_conversion,
            np.array([tried.get(brief.campaign_key, 0) for brief in self.planned], np.float64),
            explored,
            self.limits.exploration_share,
            [self.settings.seed, self.dates[0].toordinal()],
        )
        return _Offered(pair, slot, person, offers.item, share, valuation, value, kept, draw, explored)

    def _count_reach(self, reader: CandidateReader) -> None:
        """How many people of each segment with a minimum are still to be contacted, and who counts towards it.

        Who was chosen in the segment by an earlier plan counts no more: the contacted are taken from the number, and the held-out
        would be chosen again in each plan and never be reached.
        """
        self.reach_keys = sorted(self.limits.minimum_reach)
        self.members = reader.members(self.reach_keys)
        self.reach_asked, self.reached = (np.zeros(len(self.reach_keys), np.int64) for _ in range(2))
        for number, key in enumerate(self.reach_keys):
            found = [(one, *reader.chosen_of(key, self._since(one))) for one in self.limits.minimum_reach[key]]
            row, chosen, reached = max(found, key=lambda one: (one[0].amount - one[2], one[0].amount))
            self.reach_asked[number], self.reached[number] = int(row.amount), reached
            self.members[chosen, number] = False

    def _choose(self, reader: CandidateReader, pairs: Pairs, offered: _Offered) -> _Choice:
        """Chooses among offers and days."""
        with np.errstate(divide="ignore", invalid="ignore"):
            payable = np.where(self.cost > 0, self.day_budget.sum(axis=1) / self.cost, np.inf)
        # Contacts that are not worth their cost are only of use where a minimum of people must be reached.
        wanted = offered.kept & ((offered.value > 0) | bool(self.limits.minimum_reach))
        at = np.flatnonzero(wanted)
        days = self.active.sum(axis=1)
        near = within_reach(offered.slot[at], offered.value[at], payable, MANY_ROWS, days)
        near |= self._within_reach_of_minimum(offered, at)
        at = at[near | offered.explored[offered.person[at]]]
        index, day = days_of_pairs(
            offered.person[at], offered.slot[at], self.active, self.dates[0].toordinal(), MOST_ROWS
        )
        offer = at[index]
        people, person = np.unique(offered.person[offer], return_inverse=True)
        channels, caps = self._caps()
        problem = Problem(
            people=len(people),
            days=len(self.dates),
            channels=max(1, len(channels)),
            candidates=Candidates(
                person=person.astype(np.int64),
                campaign=offered.slot[offer],
                item=offered.item[offer],
                day=day,
                channel=offered.slot[offer],
                value=put_off(offered.value[offer], day),
                cost=self.cost[offered.slot[offer]],
            ),
            limits=Limits(
                budget=self.budget_left,
                day_budget=self.day_budget,
                total_budget=self.total_budget,
                total_day_budget=self.total_day_budget if np.isfinite(self.total_day_budget).any() else None,
                caps=caps,
                stock=self.stock if np.isfinite(self.stock).any() else None,
            ),
            earlier=self._earlier(reader, people, channels, max((cap.window_days for cap in caps), default=1)),
        )
        # A person's days share windows of contacts, which makes linear programmes of as many rows as usual slow: 60,000 rows take
        # 8 seconds, ten times as many minutes.
        sampled = max(_LEAST_SAMPLE, int(_ROWS_OF_PROGRAMMES * len(people) / max(1, len(offer))))
        config = AllocationConfig(most_rows_lp=_ROWS_OF_PROGRAMMES, sample_people=sampled, seed=self.settings.seed)
        delivered = ~np.isin(pairs.code[offered.pair[offer]], _HELD_OUT)
        problem, allocation = self._allocate(problem, config, people, delivered)
        return _Choice(problem, allocation, offer, at, people)

    def _within_reach_of_minimum(self, offered: _Offered, at: Ints) -> Flags:
        """Which offers are looked at for a minimum reach: the best of each segment, several times as many as it takes."""
        kept = np.zeros(len(at), bool)
        for number, left in enumerate(self._left_to_reach()):
            mine = np.flatnonzero(self.members[offered.person[at], number])
            best = np.argsort(-offered.value[at[mine]], kind="stable")[
                : _SPARE_OF_REACH * int(left) * len(self.planned)
            ]
            kept[mine[best]] = True
        return kept

    def _left_to_reach(self) -> Ints:
        """People still to be contacted in each segment with a minimum, shape (segments,)."""
        return np.asarray(np.maximum(self.reach_asked - self.reached, 0), np.int64)

    def _allocate(
        self, problem: Problem, config: AllocationConfig, people: Ints, delivered: Flags
    ) -> tuple[Problem, Allocation]:
        """Solves a problem so that the minimum reach is met by contacts that are delivered.

        The choice knows no arms, so that more people are asked for than are to be contacted, by the share of the held-out among
        them; and again, by what is still short, while that is 1 % of what is left to reach or more. Each time the whole problem
        is solved anew, and the plans of the next days ask for what is less. What other limits forbid is not asked for again.

        Args:
            problem: Without a minimum reach.
            config: How it is solved.
            people: Number of each person of the problem among all, shape (people of the problem,).
            delivered: Whether each row would be, shape (rows,).

        Returns:
            The problem with what was asked for last, and its solution.
        """
        left = self._left_to_reach()
        if not self.reach_keys:
            return problem, allocate(problem, config)
        members, person = self.members[people], problem.candidates.person

        def count(rows: Ints | Flags) -> Ints:
            return np.asarray(members[np.unique(person[rows])].sum(axis=0), np.int64)

        there = count(np.ones(len(person), bool))
        share = np.maximum(count(delivered), 1) / np.maximum(there, 1)
        asked, short = np.zeros(len(left), np.int64), left
        for _ in range(1 + _ASKED_AGAIN):
            asked = np.minimum(asked + np.ceil(short / share).astype(np.int64), np.maximum(left, there))
            limits = dataclasses.replace(
                problem.limits, members=csr_matrix(members, dtype=np.float64), minimum_reach=asked
            )
            problem = dataclasses.replace(problem, limits=limits)
            allocation = allocate(problem, config)
            chosen = allocation.chosen
            short = np.maximum(left - count(chosen[delivered[chosen]]), 0)
            short[
                (allocation.missing_reach > 0) | (asked >= np.maximum(left, there)) | (short < _WORTH_ASKING * left)
            ] = 0
            if not short.any():
                break
        return problem, allocation

    def _caps(self) -> tuple[dict[tuple[str, str], int], tuple[ContactCap, ...]]:
        """Slots, a campaign by its channel each, and the caps over them; the last slots are for campaigns of before."""
        slots = {(brief.campaign_key, brief.channel): slot for slot, brief in enumerate(self.planned)}
        named = {brief.channel for brief in self.planned}
        named |= {cap.channel for cap in self.limits.caps if cap.channel is not None}
        for channel in (*sorted(named), ""):
            slots["", channel] = len(slots)
        of_channel = {
            channel: tuple(slot for (_, by), slot in slots.items() if by == channel) for channel in sorted(named)
        }
        caps = [
            ContactCap(brief.frequency_cap, brief.frequency_window_days, (slot,))
            for slot, brief in enumerate(self.planned)
        ]
        caps += [ContactCap(1, 1, of_channel[channel]) for channel in sorted({brief.channel for brief in self.planned})]
        caps += [
            ContactCap(cap.most, cap.window_days, None if cap.channel is None else of_channel[cap.channel])
            for cap in self.limits.caps
        ]
        return slots, tuple(caps)

    def _earlier(
        self, reader: CandidateReader, people: Ints, slots: Mapping[tuple[str, str], int], days: int
    ) -> Contacts:
        """Earlier contacts of the people of the problem, in the slot of their campaign or else of their channel."""
        earlier = reader.earlier(self.dates[0], days)
        at = np.searchsorted(people, earlier.person)
        known = np.zeros(len(at), bool)
        inside = at < len(people)
        known[inside] = people[at[inside]] == earlier.person[inside]
        # A campaign whose channel has changed since keeps its cap, which is the tighter one as a rule.
        by_campaign = {key: slot for (key, _), slot in slots.items() if key}
        slot = np.array(
            [
                by_campaign.get(campaign, slots.get(("", channel), slots["", ""]))
                for campaign, channel in zip(earlier.campaign_key[known], earlier.channel[known], strict=True)
            ],
            np.int64,
        )
        return Contacts(at[known].astype(np.int64), earlier.day[known], slot)

    def _contacts(self, reader: CandidateReader, pairs: Pairs, offered: _Offered, choice: _Choice) -> pa.Table:
        """The chosen contacts in `CONTACT_SCHEMA`, in the order of their keys."""
        rows = choice.allocation.chosen
        offer = choice.offer[rows]
        slot, person = offered.slot[offer], offered.person[offer]
        day = choice.problem.candidates.day[rows]
        briefs = [self.planned[one] for one in slot]
        users = self.users.take(pa.array(person)).to_pylist()
        dates = [self.dates[one] for one in day]
        zones, segments = reader.zones_and_segments(person, [brief.source_platform for brief in briefs])
        spans = [self._span(zone, when) for zone, when in zip(zones, dates, strict=True)]
        out = np.isin(pairs.code[offered.pair[offer]], _HELD_OUT)
        valuation = offered.valuation
        handed = set(self.handed)
        table = pa.table(
            {
                "contact_key": [
                    contact_key(brief.campaign_key, user, when, brief.channel)
                    for brief, user, when in zip(briefs, users, dates, strict=True)
                ],
                "plan_id": pa.array([self.plan_id] * len(rows), pa.string()),
                "campaign_key": pa.array([brief.campaign_key for brief in briefs], pa.string()),
                "user_key": pa.array(users, pa.string()),
                "item_key": pa.array([self._item_key(item) for item in offered.item[offer]], pa.string()),
                "platform": pa.array([brief.source_platform for brief in briefs], pa.string()),
                "channel": pa.array([brief.channel for brief in briefs], pa.string()),
                "contact_date": pa.array(dates, pa.date32()),
                "not_before": pa.array([start for start, _ in spans], pa.timestamp("us")),
                "not_after": pa.array([end for _, end in spans], pa.timestamp("us")),
                "arm": pa.array(np.where(out, CONTROL, TREATMENT).tolist(), pa.string()),
                "status": pa.array([HANDED_OVER if when in handed else PLANNED for when in dates], pa.string()),
                "propensity": pa.array(pairs.propensity[offered.pair[offer]], from_pandas=True),
                "p_click": valuation.p_click[offer],
                "p_conversion": valuation.p_conversion[offer],
                "uplift": valuation.uplift[offer],
                "expected_value": valuation.expected_value[offer],
                "cost": np.where(out, 0.0, self.cost[slot]),
                "currency": pa.array([self.briefs.currency] * len(rows), pa.string()),
                "is_explored": offered.explored[person],
                "segment_keys": pa.array(segments, pa.list_(pa.string())),
                "decided_at": pa.array([self.as_of] * len(rows), pa.timestamp("us")),
                "score_share": pa.array(offered.score_share[offer], from_pandas=True),
                "draw_propensity": offered.draw[offer],
            }
        )
        return table.select(CONTACT_SCHEMA.names).cast(CONTACT_SCHEMA).sort_by("contact_key")

    def _span(self, zone: str | None, day: date) -> tuple[datetime, datetime]:
        """A calendar day in a time zone in UTC, half open. Of a day that has begun there it is what is left after `as_of`."""
        start, end = (
            datetime.combine(one, time(), ZoneInfo(zone or self.time_zone)).astimezone(UTC).replace(tzinfo=None)
            for one in (day, day + timedelta(days=1))
        )
        return max(start, self.as_of), end

    def _item_key(self, item: int) -> str | None:
        return self.items[item] if item >= 0 else None

    def _plan_row(self, pairs: Pairs, offered: _Offered, choice: _Choice, contact: pa.Table) -> pa.Table:
        treated = contact.filter(pc.equal(contact["arm"], TREATMENT))
        allocation = choice.allocation
        row = {
            "plan_id": self.plan_id,
            "as_of": self.as_of,
            "first_date": self.dates[0],
            "last_date": self.dates[-1],
            "handed_until": max(self.handed, default=None),
            "currency": self.briefs.currency,
            "campaigns": len(self.planned),
            "eligible_people": len(np.unique(pairs.person[pairs.code == 0])),
            "candidates": choice.problem.candidates.rows,
            "contacts": treated.num_rows,
            "contacts_handed_over": pc.sum(pc.equal(treated["status"], HANDED_OVER)).as_py() or 0,
            "expected_value": _sum(treated, "expected_value"),
            "cost": _sum(treated, "cost"),
            "upper_bound": allocation.upper_bound,
            "lp_optimum": allocation.lp_optimum,
            "gap": allocation.gap,
            "method": allocation.method,
            "value_source": offered.valuation.source,
            "value_reason": offered.valuation.reason,
            "click_source": offered.valuation.click_source,
            **_qini(offered.valuation),
        }
        return pa.Table.from_pylist([row], PLAN_SCHEMA)

    def _campaign_rows(self, pairs: Pairs, offered: _Offered, choice: _Choice, contact: pa.Table) -> pa.Table:
        slots = {brief.campaign_key: slot for slot, brief in enumerate(self.planned)}
        competes_with = self._overlaps(pairs)
        rows = []
        for brief in self.briefs.all:
            spent = self.spent[brief.campaign_key]
            row: dict[str, Any] = {
                "campaign_key": brief.campaign_key,
                "plan_id": self.plan_id,
                "state": brief.state,
                "problem": brief.problem,
                "competes_with": [],
                "first_date": brief.first_date,
                "last_date": brief.last_date,
                "currency": brief.currency,
                "budget": brief.budget,
                "spent": spent,
                "budget_left": max(brief.budget - spent, 0.0),
                "holdout_share": brief.holdout_share,
            }
            slot = slots.get(brief.campaign_key)
            if slot is not None:
                row["competes_with"] = [self.planned[other].campaign_key for other in competes_with[slot]]
                row |= self._counts(slot, pairs, choice) | self._expectations(brief, contact)
            rows.append(row)
        return pa.Table.from_pylist(rows, CAMPAIGN_SCHEMA)

    def _counts(self, slot: int, pairs: Pairs, choice: _Choice) -> dict[str, int]:
        code = pairs.code[pairs.slot == slot]
        return {
            "people_in_segment": int((code != CODES.index("outside_segment")).sum()),
            "eligible_people": int((code == 0).sum()),
            "held_out_people": int(np.isin(code, _HELD_OUT).sum()),
            "candidates": int((choice.problem.candidates.campaign == slot).sum()),
        }

    def _expectations(self, brief: Brief, contact: pa.Table) -> dict[str, float | int | None]:
        """What is expected of a campaign's contacts, and what lift its people could show."""
        mine = contact.filter(pc.equal(contact["campaign_key"], brief.campaign_key))
        treated = mine.filter(pc.equal(mine["arm"], TREATMENT))
        difference = None
        if mine.num_rows:
            without = pc.mean(pc.subtract(mine["p_conversion"], mine["uplift"])).as_py()
            held = 1 - (1 - self.limits.global_holdout) * (1 - brief.holdout_share)
            if 0 < without < 1 and held > 0:
                people = pc.count_distinct(mine["user_key"]).as_py()
                difference = detectable_difference_of_shares(without, people, held).difference
        return {
            "planned_contacts": treated.num_rows,
            "planned_people": pc.count_distinct(treated["user_key"]).as_py(),
            "planned_cost": _sum(treated, "cost"),
            "expected_conversions": _sum(treated, "p_conversion"),
            "expected_incremental_conversions": _sum(treated, "uplift"),
            "expected_value": _sum(treated, "expected_value"),
            "detectable_difference": difference,
        }

    def _overlaps(self, pairs: Pairs) -> list[list[int]]:
        """For each planned campaign the others that want some of its people in the same channel on some of its days."""
        wants = np.zeros((len(self.planned), len(self.users)), bool)
        able = pairs.takes_part
        wants[pairs.slot[able], pairs.person[able]] = True
        found: list[list[int]] = [[] for _ in self.planned]
        for slot, brief in enumerate(self.planned):
            for other in range(slot):
                rival = self.planned[other]
                competes = brief.channel == rival.channel and bool((self.active[slot] & self.active[other]).any())
                if competes and (wants[slot] & wants[other]).any():
                    found[slot].append(other)
                    found[other].append(slot)
        return [sorted(others) for others in found]

    def _eligibility_rows(self, pairs: Pairs, offered: _Offered, choice: _Choice) -> pa.Table:
        """Every pair with the reason against it, or what became of it in the choice."""
        allocation, rows = choice.allocation, choice.problem.candidates
        # Of an offer the row of highest value speaks, of a pair the offer of highest value; whatever is chosen goes first.
        why = np.full(len(offered.pair), REASONS.index(BUDGET), np.int8)
        why[choice.looked_at] = REASONS.index(NO_CANDIDATE)
        why[~offered.kept] = REASONS.index(BETTER_CAMPAIGN)
        order = np.argsort(rows.value, kind="stable")
        why[choice.offer[order]] = allocation.reason[order]
        why[offered.value <= 0] = REASONS.index(NOT_WORTH_IT)
        chosen = choice.offer[allocation.chosen]
        why[chosen] = REASONS.index(CHOSEN)
        speaks = np.full(len(pairs.code), -1, np.int64)
        order = np.argsort(offered.value, kind="stable")
        speaks[offered.pair[order]] = order
        speaks[offered.pair[chosen]] = chosen
        known = speaks >= 0
        offer = speaks[known]
        eligible = pairs.code == 0

        def of_offers(values: NDArray[Any]) -> pa.Array:
            spread = np.zeros(len(known), values.dtype)
            spread[known] = values[offer]
            return pa.array(spread, mask=~known)

        def named(number: pa.Array, names: Sequence[str | None]) -> pa.Array:
            return pa.array(names, pa.string()).take(number)

        valuation = offered.valuation
        reason = np.zeros(len(known), np.int8)
        reason[known] = why[offer]
        item = np.full(len(known), -1, np.int64)
        item[known] = offered.item[offer]
        table = pa.table(
            {
                "campaign_key": named(pa.array(pairs.slot), [brief.campaign_key for brief in self.planned]),
                "user_key": self.users.take(pa.array(pairs.person)),
                "code": named(pa.array(pairs.code), CODES),
                "reason": named(pa.array(reason, mask=~(known & eligible)), REASONS),
                "propensity": pa.array(pairs.propensity, mask=~known | np.isnan(pairs.propensity)),
                "item_key": named(pa.array(item, mask=item < 0), self.items),
                "p_click": of_offers(valuation.p_click),
                "p_conversion": of_offers(valuation.p_conversion),
                "uplift": of_offers(valuation.uplift),
                "expected_value": of_offers(valuation.expected_value),
            }
        )
        return table.cast(ELIGIBILITY_SCHEMA)

    def _reaches(self, segment: int, pairs: Pairs, offered: _Offered, choice: _Choice) -> int:
        """People of a segment with a minimum whom the plan contacts and no earlier one chose."""
        offer = choice.offer[choice.allocation.chosen]
        delivered = ~np.isin(pairs.code[offered.pair[offer]], _HELD_OUT)
        mine = self.members[offered.person[offer], segment]
        return len(np.unique(offered.person[offer][delivered & mine]))

    def _limit_rows(self, pairs: Pairs, offered: _Offered, choice: _Choice) -> pa.Table:
        """Every limit with what the choice uses of it, both arms together, and what one more unit would be worth.

        A minimum reach has those who are contacted, by this plan and by earlier ones.
        """
        rows, prices = choice.problem.candidates.take(choice.allocation.chosen), choice.allocation.prices
        found: list[dict[str, Any]] = []
        for slot, brief in enumerate(self.planned):
            mine = rows.campaign == slot
            campaign = {"campaign_key": brief.campaign_key}
            found.append(
                _limit("budget", self.budget_left[slot], rows.cost[mine].sum(), prices.budget[slot], **campaign)
            )
            for day in np.flatnonzero(self.active[slot]):
                price = 0.0 if prices.day_budget is None else prices.day_budget[slot, day]
                used = rows.cost[mine & (rows.day == day)].sum()
                on = {**campaign, "contact_date": self.dates[day]}
                found.append(_limit("day_budget", self.day_budget[slot, day], used, price, **on))
        if math.isfinite(self.total_budget):
            found.append(_limit("total_budget", self.total_budget, rows.cost.sum(), prices.total_budget))
        for day in np.flatnonzero(np.isfinite(self.total_day_budget) & np.array(self.free, bool)):
            price = 0.0 if prices.total_day_budget is None else prices.total_day_budget[day]
            used = rows.cost[rows.day == day].sum()
            found.append(_limit("total_budget", self.total_day_budget[day], used, price, contact_date=self.dates[day]))
        for item in np.flatnonzero(np.isfinite(self.stock)):
            price = 0.0 if prices.stock is None else prices.stock[item]
            used = (rows.item == item).sum()
            found.append(_limit("stock", self.stock[item], used, price, item_key=self.items[item]))
        for number, key in enumerate(self.reach_keys):
            reached = int(self.reached[number]) + self._reaches(number, pairs, offered, choice)
            # What cannot be reached is asked for in vain at the allocation's penalty, which is no price of anything.
            price = None
            if reached >= self.reach_asked[number]:
                price = 0.0 if prices.minimum_reach is None else prices.minimum_reach[number]
            found.append(_limit("minimum_reach", self.reach_asked[number], reached, price, segment_key=key))
        found += self._cap_rows(choice) + self._holdout_rows(pairs, offered, choice)
        return pa.Table.from_pylist([{**row, "plan_id": self.plan_id} for row in found], LIMIT_SCHEMA)

    def _cap_rows(self, choice: _Choice) -> list[dict[str, Any]]:
        """Caps of contacts, in the order of `_caps`."""
        about: list[tuple[str, str, dict[str, str | None]]] = [
            ("frequency_cap", brief.campaign_key, {"campaign_key": brief.campaign_key, "channel": brief.channel})
            for brief in self.planned
        ]
        channels = sorted({brief.channel for brief in self.planned})
        about += [("once_a_day", channel, {"channel": channel}) for channel in channels]
        about += [("contact_cap", cap.limit_id, {"channel": cap.channel}) for cap in self.limits.caps]
        rows = choice.problem.candidates.take(choice.allocation.chosen)
        found = []
        for (kind, name, of), cap, price in zip(
            about, choice.problem.limits.caps, choice.allocation.prices.caps, strict=True
        ):
            row = _limit(kind, cap.most, cap.covers(rows.channel).sum(), price.price)
            row |= {"limit_key": f"{kind}/{name}", **of, "window_days": cap.window_days}
            found.append(row | {"bound_people": price.people, "total_price": price.total})
        return found

    def _holdout_rows(self, pairs: Pairs, offered: _Offered, choice: _Choice) -> list[dict[str, Any]]:
        """Holdouts, with what those would have brought whom the plan chose and does not contact.

        The choice sets aside for them what they take of the other limits, so that contacting one of them takes it from nobody. One
        more may be contacted and need not, so that nobody counts less than nothing.
        """
        offer = choice.offer[choice.allocation.chosen]
        code, slot, person = pairs.code[offered.pair[offer]], offered.slot[offer], offered.person[offer]
        worth = choice.problem.candidates.value[choice.allocation.chosen]
        found = []

        def row(kind: str, share: float, held: Flags, chosen: Flags, **about: Any) -> None:
            out = len(np.unique(pairs.person[held]))
            if not share and not out:
                return
            people, at = np.unique(person[chosen], return_inverse=True)
            forgone = np.maximum(np.bincount(at, worth[chosen], len(people)), 0.0)
            total = float(forgone.sum())
            of_people = {"bound_people": len(people), "total_price": total}
            found.append(_limit(kind, share, out, total / max(1, len(people)), **about) | of_people)

        everyone, own = _HELD_OUT
        row("global_holdout", self.limits.global_holdout, pairs.code == everyone, code == everyone)
        for number, brief in enumerate(self.planned):
            held = (pairs.code == own) & (pairs.slot == number)
            chosen = (code == own) & (slot == number)
            row("campaign_holdout", brief.holdout_share, held, chosen, campaign_key=brief.campaign_key)
        return found


def contact_key(campaign_key: str, user_key: str, day: date, channel: str) -> str:
    """Key of a contact, and the exposure_id by which its delivery is known."""
    return hashlib.md5(f"{campaign_key}|{user_key}|{day}|{channel}".encode(), usedforsecurity=False).hexdigest()


def _salt(name: str) -> str:
    """The name of a draw, shortened by a hash where a salt cannot be as long."""
    return name if len(name.encode()) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.sha256(name.encode()).hexdigest()


def _qini(valuation: Valuation) -> dict[str, float | None]:
    """How well a model of uplift ranks people beside their response alone; nothing where there was too little to compare."""
    if valuation.qini is None or valuation.learner is None:
        return {}
    score, response = valuation.qini.scores[valuation.learner], valuation.qini.scores[RESPONSE_ONLY]
    return {
        "qini": score.value,
        "qini_low": score.low,
        "qini_high": score.high,
        "qini_of_response": response.value,
    }


def _uplift_rows(valuation: Valuation, plan_id: str) -> pa.Table:
    """How well each learner of uplift ranks people, beside a ranking by response alone and one at random."""
    if valuation.qini is None:
        return UPLIFT_SCHEMA.empty_table()
    rows = []
    for name, score in valuation.qini.scores.items():
        ahead = None if name == RESPONSE_ONLY else valuation.qini.ahead_of_response.get(name)
        difference, low, high = (None, None, None) if ahead is None else ahead
        rows.append(
            {
                "learner": name,
                "qini": score.value,
                "qini_low": score.low,
                "qini_high": score.high,
                "ahead_of_response": difference,
                "ahead_of_response_low": low,
                "ahead_of_response_high": high,
                "is_best": name == valuation.learner,
                "is_used": name == valuation.learner and valuation.source == UPLIFT,
                "reason": score.reason,
                "plan_id": plan_id,
            }
        )
    return pa.Table.from_pylist(rows, UPLIFT_SCHEMA)


def _sum(table: pa.Table, column: str) -> float:
    return float(pc.sum(table[column]).as_py() or 0.0)


def _limit(kind: str, allowed: float | None, used: float, price: float | None, **about: Any) -> dict[str, Any]:
    return {
        "limit_key": "/".join([kind, *map(str, about.values())]),
        "limit_kind": kind,
        **about,
        "allowed": None if allowed is None else float(allowed),
        "used": float(used),
        "shadow_price": None if price is None else float(price),
    }
