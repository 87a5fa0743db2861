"""Whether plans that learn what contact causes bring more, in a simulated world where the truth is known.

Usage: python -m benchmarks.campaigns.closed_loop [--people N] [--seeds N]

Eight weeks, twenty worlds (docs/simulation.md). Every week each of four ways to plan contacts people for six campaigns; the world
answers; the next plan may learn from what has arrived by then. All have the same budget for each campaign and week and the same
limits: consent on the day, at most one contact of a person a week and two in four weeks, nobody who dismissed or converted to the
campaign. All show the item of a campaign with the highest expected revenue by the recommendation score.

- system: what `orchestration.marketing.planning` does, by the same functions, with the same defaults and in the same order.
  Contacts are valued by `value_contacts` (from prior to model of uplift, each once it is better) at the posterior rates that were
  measured, with the facts that the plan has of a person: score, segment, events on both sides and on the other one, recent
  contacts, dismissals. A tenth of people are explored (`explore`). 5 % are held out of everything and 20 % of each campaign, for
  good; they are chosen like the others (ghost contacts), and more is chosen so that the budget is spent all the same. Allocated by
  Lagrangian prices.
- score: highest recommendation score first.
- segment: a fixed rule. First who is active and visits the other side, then who is active, then who is at risk, then the others;
  within these by a fixed lot.
- random.
- response (in the figures): expected revenue by the score, allocated like the system's. What the system is ahead of this it owes to
  uplift, not to prices or to allocation.

No setting of the system is chosen for this world; that the plan should know of dismissals and of visits to the other side was
seen in worlds of other seeds. Kinds, the value of a conversion (the mean price of a campaign's items) and the share held out are
those of the briefs in which `simulation.landing_opening` delivers the same campaigns. A plan is made at the beginning of the day
that it is for, once a week, while the product makes one every day. What is judged is the true expected incremental revenue, which
only the world knows. `informed` plans by the true uplift of rested people; nobody could, and it looks no further than its week.
It stands in the figures to show what is left. And five worlds are of another kind: contact adds the same to everyone's log-odds,
so that uplift goes with response. There is little to learn there, and the system brings less than highest score first
(`system_over_score` in the figures).
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t as student

from models_ml.campaigns.allocation import AllocationConfig, allocate
from models_ml.campaigns.allocation_problem import Candidates, ContactCap, Contacts, Limits, Problem
from models_ml.campaigns.contact_prior import score_shares
from models_ml.campaigns.exploration import explore
from models_ml.campaigns.holdout import held_out, offer_probability
from models_ml.campaigns.posterior import BetaPrior, measured_rates
from models_ml.campaigns.valuation import (
    KINDS,
    SOURCES,
    ContactFeatures,
    ContactHistory,
    RatePriors,
    ValuationConfig,
    value_contacts,
)
from models_ml.campaigns.violations import violations
from orchestration.marketing.contact_candidates import RECENT_DAYS, further_columns
from orchestration.marketing.measuring import PRIOR_RATES, PRIOR_STRENGTH
from orchestration.marketing.outcomes import FOLLOW_UP_DAYS, MOSTLY_ANSWERED_DAYS
from simulation.response import Exposures, World, grow
from simulation.tempers import SEGMENTS, SLEEPER, ResponseConfig

Figures = dict[str, Any]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

WEEKS = 8
SEEDS = tuple(range(1, 21))
PEOPLE = 20_000
# Contacts that the budget of each campaign pays a week, as a share of people; 15 % of people for six campaigns.
REACH = 0.025
CAPS = (ContactCap(most=1, window_days=7), ContactCap(most=2, window_days=28))
# Of the seed `campaign_limits`, and of the briefs of the world's campaigns.
HELD_OUT_OF_ALL, HELD_OUT, EXPLORED = 0.05, 0.2, 0.1
WAYS = ("system", "random", "score", "segment", "response")
# A world in which the effect goes with the response and nobody is put off: there is little to learn.
KIND = {"contact_log_odds": (0.8, 0.8, 0.8, 0.8)}
KIND_SEEDS, INFORMED_SEEDS = 5, 5
RIVALS = {"random": "random", "score": "highest score first", "segment": "the segment rule"}
MOST_SLEEPERS = 0.5
# Prices from a sample, then within the stated gap of the dual bound: a week in a second where the linear programme takes four.
ALLOCATION = AllocationConfig(method="prices", sample_people=2_000)


def run(people: int = PEOPLE, seeds: tuple[int, ...] = SEEDS) -> Figures:
    """Lets every way to plan live in the same worlds.

    Args:
        people: Number of people in each world.
        seeds: Seed of each world, at least two.

    Returns:
        `figures` by way to plan, and `requirements`: lines of name, value, interval, required, holds.
    """
    lives = [lives_of(seed, people, informed=number < INFORMED_SEEDS) for number, seed in enumerate(seeds)]
    kind = [lives_of(seed, people, KIND) for seed in seeds[:KIND_SEEDS]]
    return judge(lives, kind, {"people": people, "seeds": len(seeds)})


def lives_of(seed: int, people: int, world: Mapping[str, Any] | None = None, *, informed: bool = False) -> "Lives":
    """What came of every way to plan in the world of a seed.

    Args:
        seed: Seed of the world.
        people: Number of people.
        world: Settings of the world that are not the defaults.
        informed: Whether to include who plans by the truth.
    """
    board = Board(grow(ResponseConfig(people=people, **(world or {})), seed))
    ways = WAYS + ("informed",) * informed
    return {way: Life(board, way, seed).live() for way in ways}


def judge(lives: Sequence["Lives"], kind: Sequence["Lives"], about: Figures) -> Figures:
    """Figures and requirements.

    Args:
        lives: By world.
        kind: The same for worlds in which contact helps everyone alike.
        about: What is to stand first in the figures.
    """
    figures: Figures = {
        **about,
        "worlds_by_source_of_value": sources(lives),
        "largest_gap": max(of["system"].largest_gap for of in lives),
        **{way: summary([of[way] for of in lives]) for way in WAYS},
        "system_over_response": mean_with_interval(ahead_of("response", lives).mean(axis=1)),
        "informed": summary([of["informed"] for of in lives if "informed" in of]),
        "where_contact_helps_all_alike": {
            "worlds": len(kind),
            **{way: summary([of[way] for of in kind]) for way in WAYS},
            "worlds_by_source_of_value": sources(kind),
            "system_over_score": mean_with_interval(ahead_of("score", kind).mean(axis=1)),
            "system_over_response": mean_with_interval(ahead_of("response", kind).mean(axis=1)),
        },
    }
    requirements = []
    for rival, name in RIVALS.items():
        ahead = ahead_of(rival, lives)
        figures[rival]["system_ahead_by_week"] = [mean_with_interval(week) for week in ahead.T]
        found = mean_with_interval(ahead.mean(axis=1))
        holds = found["low"] > 0
        named = f"system over {name}, true incremental revenue per week"
        requirements.append(line(named, found, "interval above 0", holds))
    ratio = mean_with_interval(np.array([sum(of["system"].sleepers) / sum(of["score"].sleepers) for of in lives]))
    named = "sleepers contacted, of those under highest score first"
    requirements.append(line(named, ratio, "at most 0.5", ratio["high"] <= MOST_SLEEPERS))
    broken = float(sum(record.broken for of in [*lives, *kind] for record in of.values()))
    requirements.append(
        {"name": "limits broken", "value": broken, "interval": None, "required": "0", "holds": broken == 0}
    )
    return {"figures": figures, "requirements": requirements}


def ahead_of(rival: str, lives: Sequence["Lives"]) -> Floats:
    """How much more the system brought than a rival in the same world, shape (worlds, weeks)."""
    return np.array([np.subtract(of["system"].value, of[rival].value) for of in lives])


def sources(lives: Sequence["Lives"]) -> Figures:
    """In how many worlds the system's values rested on each source, by week."""
    weeks = zip(*(of["system"].sources for of in lives), strict=True)
    return {
        f"week {week + 1}": {one: found.count(one) for one in SOURCES if one in found}
        for week, found in enumerate(weeks)
    }


def summary(records: Sequence["Record"]) -> Figures:
    """Means over worlds."""
    value = np.array([record.value for record in records])
    return {
        "incremental_revenue_per_week": mean_with_interval(value.mean(axis=1)),
        "by_week": [mean_with_interval(week) for week in value.T],
        "contacts": float(np.mean([sum(record.contacts) for record in records])),
        "spent": float(np.mean([sum(record.spent) for record in records])),
        "sleepers_contacted": mean_with_interval(np.array([sum(record.sleepers) for record in records], dtype=float)),
        "unsubscribed": float(np.mean([record.unsubscribed for record in records])),
    }


@dataclasses.dataclass
class Record:
    """What came of a way to plan.

    Attributes:
        value: True incremental revenue of each week in US dollars.
        sleepers: Sleepers contacted in each week.
        contacts: Contacts in each week.
        spent: Their cost in US dollars.
        unsubscribed: Number of people who did in the end.
        broken: Number of limits broken.
        sources: What the values of each week rested on, of `valuation.SOURCES`; empty but for the system.
        largest_gap: Largest relative distance of an allocation from its upper bound.
    """

    value: list[float] = dataclasses.field(default_factory=list)
    sleepers: list[int] = dataclasses.field(default_factory=list)
    contacts: list[int] = dataclasses.field(default_factory=list)
    spent: list[float] = dataclasses.field(default_factory=list)
    unsubscribed: int = 0
    broken: int = 0
    sources: list[str] = dataclasses.field(default_factory=list)
    largest_gap: float = 0.0


Lives = dict[str, Record]


class Board:
    """The rows that can be chosen in a world, a person and a campaign each, with all that a warehouse knows of them.

    Attributes:
        world: The world, untouched.
        person, campaign, item: The pair and the item that it would be shown, shape (rows,).
        score: Recommendation score of the item, shape (rows,).
        price, cost: Revenue of a conversion and cost of a contact in US dollars, shape (rows,).
        worth: What the brief says that a conversion is worth in US dollars, shape (campaigns,).
        segment, activity, visits, dismissals: Of each person, shape (people,): events on both sides and on the other one in 90
            days, and contacts dismissed in the year before the first week.
        budget: Budget of each campaign a week, shape (campaigns,).
    """

    def __init__(self, world: World) -> None:
        people, campaigns = world.config.people, world.config.campaigns
        self.world = world
        self.person = np.repeat(np.arange(people), campaigns)
        self.campaign = np.tile(np.arange(campaigns), people)
        self.item = np.stack([self._best_item(campaign) for campaign in range(campaigns)], axis=1).ravel()
        self.score = world.scores(self.person, self.item)
        self.price = world.prices()[self.item]
        self.cost = world.costs()[self.campaign]
        self.worth = np.array([round(float(world.prices()[world.items_of(one)].mean()), 2) for one in range(campaigns)])
        features = world.features()
        self.segment = np.array([SEGMENTS.index(one) for one in features["segment"].to_pylist()])
        self.visits = features["other_side_visits_90d"].to_numpy().astype(np.float64)
        self.activity = features["events_90d"].to_numpy() + self.visits
        self.dismissals = features["dismissed_365d"].to_numpy()
        self.budget = world.costs() * int(people * REACH)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.person)

    def _best_item(self, campaign: int) -> Rows:
        items, people = self.world.items_of(campaign), self.world.config.people
        item = np.tile(items, people)
        revenue = expit(self.world.scores(np.repeat(np.arange(people), items.size), item)) * self.world.prices()[item]
        return np.asarray(items[revenue.reshape(people, -1).argmax(axis=1)])


class Life:
    """Eight weeks of one way to plan in one world."""

    def __init__(self, board: Board, way: str, seed: int) -> None:
        self.board, self.way, self.seed = board, way, seed
        self.world = board.world.again()
        # Another stream than that of the world, which takes the seed alone.
        self.random = np.random.default_rng([seed, 8])
        self.lot = self.random.random(self.world.config.people)
        self.record = Record()
        self._answers: list[pa.Table] = []
        self._chosen: list[tuple[Rows, Flags]] = []
        # Score shares, recent contacts and dismissals of what the system chose, as they were then.
        self._known: list[tuple[Floats, Rows, Rows]] = []
        self._closed = np.zeros(board.rows, dtype=bool)
        self._converted_on = np.full(board.rows, np.iinfo(np.int64).max)
        self._out = self._held_out() if way == "system" else np.zeros(board.rows, dtype=bool)

    def live(self) -> Record:
        """Plans, contacts and learns, week after week."""
        board, world, record = self.board, self.world, self.record
        for week in range(WEEKS):
            day = 7 * week
            self._close(day)
            may = np.flatnonzero(world.consent(day)[board.person] & ~self._closed)
            chosen = self._system(week, may) if self.way == "system" else self._rule(may)
            treated = ~self._out[chosen]
            contacted = chosen[treated]
            record.broken += len(violations(self._problem(np.zeros(board.rows), np.arange(board.rows), 1.0), contacted))
            exposures = Exposures(board.person[chosen], board.campaign[chosen], board.item[chosen], treated)
            record.value.append(world.true_value(exposures, day))
            self._answers.append(world.answer(exposures, day))
            self._chosen.append((chosen, treated))
            record.sleepers.append(int((world.tempers()[board.person[contacted]] == SLEEPER).sum()))
            record.contacts.append(len(contacted))
            record.spent.append(float(board.cost[contacted].sum()))
        answers = pa.concat_tables(self._answers)
        left = answers.filter(pc.equal(answers["type"], "unsubscribe"))
        record.unsubscribed = len(pc.unique(left["person"]))
        return record

    def _rule(self, may: Rows) -> Rows:
        """Rows in a fixed order as long as they fit, or allocated by a value that is not learnt; nobody is held out."""
        board = self.board
        if self.way == "response":
            return self._allocate(may, expit(board.score[may]) * board.price[may], 1.0)
        if self.way == "informed":
            pairs = board.person[may], board.campaign[may], board.item[may]
            return self._allocate(may, self.world.true_uplift(*pairs) * board.price[may], 1.0)
        return self._first_that_fit(may[np.argsort(-self._order(may), kind="stable")])

    def _order(self, may: Rows) -> Floats:
        board = self.board
        if self.way == "score":
            return board.score[may]
        if self.way == "random":
            return self.random.random(len(may))
        features = self.world.features()
        segment = np.array(features["segment"].to_pylist())
        visits = features["other_side_visits_90d"].to_numpy()
        place = np.select(
            [(segment == "active") & (visits >= 2), segment == "active", segment == "at_risk"], [3.0, 2.0, 1.0]
        )
        # The lot orders people; the measured fit only the campaigns of a person.
        fit = self.world.measured_fit(board.person[may], board.item[may])
        return np.asarray((place + 0.99 * self.lot)[board.person[may]] + 1e-9 * fit)

    def _held_out(self) -> Flags:
        """Whether the person of each row is held out, of everything or of the campaign, shape (rows,)."""
        board = self.board
        keys = self._keys()
        of_all = held_out(keys, "global", HELD_OUT_OF_ALL)
        of_each = [held_out(keys, f"campaign/{one}", HELD_OUT) for one in range(self.world.config.campaigns)]
        return np.asarray(of_all[board.person] | np.array(of_each)[board.campaign, board.person])

    def _keys(self) -> list[str]:
        """Keys of people, others in every world, so that the lots are."""
        return [f"{self.seed}/{person}" for person in range(self.world.config.people)]

    def _system(self, week: int, may: Rows) -> Rows:
        """What the product's plan would choose, held-out people included."""
        board, campaign = self.board, self.board.campaign[may]
        share = score_shares(campaign, board.score[may], self.world.config.campaigns)
        recent, dismissals = self._recent()[board.person[may]], self._dismissals(7 * week)[board.person[may]]
        valued = value_contacts(
            self._features(may, share, recent, dismissals),
            self._history(),
            self._rates(),
            ValuationConfig(seed=self.seed),
        )
        self.record.sources.append(valued.source)
        explored = held_out(self._keys(), f"explore/week {week}", EXPLORED)
        value, kept, _ = explore(
            board.person[may],
            campaign,
            valued.expected_value,
            board.cost[may],
            valued.p_conversion,
            self._followed_contacts(),
            explored,
            EXPLORED,
            [self.seed, week],
        )
        wanted = np.flatnonzero(kept & (value > 0))
        offered = offer_probability(HELD_OUT_OF_ALL, np.full(1, HELD_OUT))[0]
        chosen = self._allocate(may[wanted], value[wanted], 1 / offered)
        # Chance may contact more than is paid for: those above the budget are dropped by lot and leave the log.
        treated, fits = ~self._out[chosen], np.ones(len(chosen), dtype=bool)
        for one, budget in enumerate(board.budget):
            of = self.random.permutation(np.flatnonzero(treated & (board.campaign[chosen] == one)))
            fits[of[board.cost[chosen[of]].cumsum() > budget * (1 + 1e-9)]] = False
        chosen = chosen[fits]
        at = np.searchsorted(may, chosen)
        self._known.append((share[at], recent[at], dismissals[at]))
        return chosen

    def _features(self, rows: Rows, share: Floats, recent: Rows, dismissals: Rows) -> ContactFeatures:
        """What the product knows of rows."""
        board = self.board
        person, campaign = board.person[rows], board.campaign[rows]
        return ContactFeatures(
            score_share=share,
            kind=campaign % len(KINDS),
            segment=board.segment[person],
            person=person,
            recent_contacts=recent,
            activity=board.activity[person],
            value_per_conversion=board.worth[campaign],
            cost=board.cost[rows],
            further=further_columns(board.visits[person], dismissals),
        )

    def _dismissals(self, day: int) -> Rows:
        """Contacts that each person has dismissed before a day, shape (people,)."""
        found = self.board.dismissals.copy()
        for answers in self._answers:
            seen = answers.filter(pc.and_(pc.equal(answers["type"], "dismiss"), pc.less(answers["day"], day)))
            found += np.bincount(seen["person"].to_numpy(), minlength=len(found))
        return found

    def _log(self) -> tuple[Rows, Flags, Rows, Flags]:
        """Rows that were chosen so far, who was contacted, for how many days they were followed, and who has converted."""
        rows = np.concatenate([chosen for chosen, _ in self._chosen])
        treated = np.concatenate([treated for _, treated in self._chosen])
        today = 7 * len(self._chosen)
        day = np.repeat(np.arange(0, today, 7), [len(chosen) for chosen, _ in self._chosen])
        on = self._converted_on[rows]
        # As in the warehouse every contact before a conversion counts as answered by it, not only the last.
        return rows, treated, today - day, (on >= day) & (on <= day + FOLLOW_UP_DAYS) & (on < today)

    def _history(self) -> ContactHistory | None:
        """Contacts of both arms with what became of them."""
        if not self._chosen:
            return None
        rows, treated, days, converted = self._log()
        share, recent, dismissals = (np.concatenate(columns) for columns in zip(*self._known, strict=True))
        offered = np.full(self.world.config.campaigns, HELD_OUT)
        return ContactHistory(
            features=self._features(rows, share, recent, dismissals),
            treated=treated,
            clicked=self._clicked(),
            converted=converted,
            propensity=offer_probability(HELD_OUT_OF_ALL, offered)[self.board.campaign[rows]],
            observed_days=days.astype(np.float64),
            stratum=self.board.campaign[rows],
        )

    def _clicked(self) -> Flags:
        """Whether each row of the log was clicked."""
        return np.concatenate(
            [
                np.isin(chosen, self._row_of(answers.filter(pc.equal(answers["type"], "click"))))
                for (chosen, _), answers in zip(self._chosen, self._answers, strict=True)
            ]
        )

    def _rates(self) -> RatePriors:
        """Measured rates by kind and segment, as `orchestration.marketing.measuring` would put them down."""
        kinds, segments = len(KINDS), len(SEGMENTS)
        if not self._chosen:
            return RatePriors.unknown(segments)
        rows, treated, days, converted = self._log()
        rated = treated & (days >= MOSTLY_ANSWERED_DAYS)
        kind, segment = self.board.campaign[rows] % kinds, self.board.segment[self.board.person[rows]]
        cell = np.arange(kinds * (segments + 1)).reshape(kinds, segments + 1)

        def count(of: Flags) -> Rows:
            by_segment = np.bincount(cell[kind[of], segment[of]], minlength=cell.size).reshape(cell.shape)
            by_segment[:, segments] = by_segment.sum(axis=1)
            return np.asarray(by_segment.ravel())

        exposures = count(rated)
        found = {}
        for answer, seen in (("click", self._clicked()), ("conversion", converted)):
            assumed = PRIOR_RATES[answer]
            given = BetaPrior(assumed * PRIOR_STRENGTH, (1 - assumed) * PRIOR_STRENGTH)
            everyone = cell.ravel() % (segments + 1) == segments
            found[answer] = measured_rates(
                count(rated & seen), exposures, cell.ravel() // (segments + 1), everyone, kinds, given
            )
        strength = found["conversion"].prior_strength + exposures
        click, conversion = (found[answer].rate.mean.reshape(cell.shape) for answer in ("click", "conversion"))
        return RatePriors(click, conversion, strength.reshape(cell.shape))

    def _followed_contacts(self) -> Floats:
        """Contacts of each campaign that answers may have come to."""
        campaigns = self.world.config.campaigns
        if not self._chosen:
            return np.zeros(campaigns)
        rows, treated, days, _ = self._log()
        followed = rows[treated & (days >= MOSTLY_ANSWERED_DAYS)]
        return np.bincount(self.board.campaign[followed], minlength=campaigns).astype(np.float64)

    def _close(self, day: int) -> None:
        """Suppresses pairs of person and campaign that were dismissed or converted before a day."""
        for answers in self._answers:
            ends = pc.and_(pc.is_in(answers["type"], pa.array(["dismiss", "conversion"])), pc.less(answers["day"], day))
            self._closed[self._row_of(answers.filter(ends))] = True
            converted = answers.filter(pc.equal(answers["type"], "conversion"))
            self._converted_on[self._row_of(converted)] = converted["day"].to_numpy()

    def _row_of(self, answers: pa.Table) -> Rows:
        return np.asarray(answers["person"].to_numpy() * self.world.config.campaigns + answers["campaign"].to_numpy())

    def _recent(self) -> Rows:
        """Contacts of each person of late, those that would have been made of the held out included, as in the plan."""
        week, people = len(self._chosen), self.world.config.people
        late = [self.board.person[chosen] for chosen, _ in self._chosen[max(0, week + 1 - RECENT_DAYS // 7) :]]
        return np.bincount(np.concatenate([np.zeros(0, dtype=np.int64), *late]), minlength=people)

    def _problem(self, value: Floats, rows: Rows, budgets: float) -> Problem:
        """The week's allocation problem: one day, one channel, and the contacts of the weeks before, held-out ones included."""
        board, week = self.board, len(self._answers)
        zeros = np.zeros(len(rows), dtype=np.int64)
        past = [board.person[chosen] for chosen, _ in self._chosen]
        days = np.repeat(7 * (np.arange(len(past)) - week), [len(one) for one in past])
        person = np.concatenate([np.zeros(0, dtype=np.int64), *past])
        return Problem(
            people=self.world.config.people,
            days=1,
            channels=1,
            candidates=Candidates(
                board.person[rows], board.campaign[rows], board.item[rows], zeros, zeros, value, board.cost[rows]
            ),
            limits=Limits(budget=board.budget * budgets, caps=CAPS),
            earlier=Contacts(person, days, np.zeros(len(person), dtype=np.int64)),
        )

    def _allocate(self, may: Rows, value: Floats, budgets: float) -> Rows:
        found = allocate(self._problem(value, may, budgets), ALLOCATION)
        self.record.largest_gap = max(self.record.largest_gap, found.gap)
        return may[found.chosen]

    def _first_that_fit(self, ordered: Rows) -> Rows:
        """Rows in their order, each if budget and caps still allow it."""
        board, week = self.board, len(self._answers)
        people = self.world.config.people
        recent = [board.person[chosen[treated]] for chosen, treated in self._chosen[max(0, week - 3) :]]
        full = np.bincount(np.concatenate([np.zeros(0, dtype=np.int64), *recent]), minlength=people) >= 2
        left = (board.budget / self.world.costs() + 1e-9).astype(np.int64).tolist()
        person, campaign = board.person[ordered].tolist(), board.campaign[ordered].tolist()
        taken, chosen = full.tolist(), []
        for row, who, which in zip(ordered.tolist(), person, campaign, strict=True):
            if left[which] and not taken[who]:
                taken[who] = True
                left[which] -= 1
                chosen.append(row)
                if not any(left):
                    break
        return np.array(chosen, dtype=np.int64)


def mean_with_interval(values: Floats) -> Figures:
    """Mean over worlds with the 95 % interval of Student's t."""
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return {"value": mean, "low": mean - half, "high": mean + half}


def line(name: str, found: Figures, required: str, holds: bool) -> Figures:
    """A requirement in the manner of all benchmarks."""
    return {
        "name": name,
        "value": found["value"],
        "interval": [found["low"], found["high"]],
        "required": required,
        "holds": bool(holds),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.people, tuple(range(1, arguments.seeds + 1))), indent=1))


if __name__ == "__main__":
    main()
