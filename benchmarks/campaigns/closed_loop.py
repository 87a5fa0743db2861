"""Whether plans that learn what contact causes bring more, in a simulated world where the truth is known.

Usage: python -m benchmarks.campaigns.closed_loop [--people N] [--seeds N]

Eight weeks, twenty worlds (docs/simulation.md). Every week each of four ways to plan contacts people for six campaigns; the world
answers; the next plan may learn from what has arrived by then. All have the same budget for each campaign and week and the same
limits: consent on the day, at most one contact of a person a week and two in four weeks, nobody who dismissed or converted to the
campaign. All show the item of a campaign with the highest expected revenue by the recommendation score.

- system: in the first week the expected response, from scores alone, times the price; half of the budget is drawn at random. Then
  the uplift that a model learnt from all weeks, times the price; a tenth is drawn at random. Of all that is chosen three in ten
  are held out by lot, and more is chosen so that the budget is spent all the same. Allocated by Lagrangian prices.
- score: highest recommendation score first.
- segment: a fixed rule. First who is active and visits the other side, then who is active, then who is at risk, then the others;
  within these by a fixed lot.
- random.
- response (in the figures): expected revenue by the score, allocated like the system's. What the system is ahead of this it owes to
  uplift, not to prices or to allocation.

Which model learns the uplift (interaction logistic, T- or X-learner) was chosen on other seeds. What is judged is the true expected
incremental revenue, which only the world knows. `informed` plans by the true uplift of rested people; nobody could, and it looks
no further than its week. It stands in the figures to show what is left. And five worlds are of another kind: contact adds the same
to everyone's log-odds, so that uplift goes with response. There is little to learn there.
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
from scipy.special import expit, logit
from scipy.stats import t as student

from models_ml.campaigns.allocation import AllocationConfig, allocate
from models_ml.campaigns.allocation_problem import Candidates, ContactCap, Contacts, Limits, Problem
from models_ml.campaigns.holdout import held_out
from models_ml.campaigns.score_prior import ScorePriorConfig, prior_from_scores
from models_ml.campaigns.uplift import (
    InteractionConfig,
    TLearnerConfig,
    UpliftConfig,
    XLearnerConfig,
    fit_uplift,
)
from models_ml.campaigns.violations import violations
from simulation.response import Exposures, World, grow
from simulation.tempers import SLEEPER, ResponseConfig

Figures = dict[str, Any]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

WEEKS = 8
SEEDS = tuple(range(1, 21))
PEOPLE = 20_000
# Contacts that the budget of each campaign pays a week, as a share of people; 15 % of people for six campaigns.
REACH = 0.025
CAPS = (ContactCap(most=1, window_days=7), ContactCap(most=2, window_days=28))
HELD_OUT = 0.3
EXPLORED_FIRST, EXPLORED = 0.5, 0.1
LEARNERS: dict[str, UpliftConfig] = {
    "interaction": InteractionConfig(),
    "t_learner": TLearnerConfig(),
    "x_learner": XLearnerConfig(),
}
LEARNER = "interaction"
PRIOR = ScorePriorConfig(base_rate=0.005, cap=0.3)
WAYS = ("system", "random", "score", "segment", "response")
# A world in which the effect goes with the response and nobody is put off: there is little to learn.
KIND = {"contact_log_odds": (0.8, 0.8, 0.8, 0.8)}
KIND_SEEDS, INFORMED_SEEDS = 5, 5
RIVALS = {"random": "random", "score": "highest score first", "segment": "the segment rule"}
MOST_SLEEPERS = 0.5
# Prices from a sample, then within the stated gap of the dual bound: a week in a second where the linear programme takes four.
ALLOCATION = AllocationConfig(method="prices", sample_people=2_000)


def run(people: int = PEOPLE, seeds: tuple[int, ...] = SEEDS, learner: str = LEARNER) -> Figures:
    """Lets every way to plan live in the same worlds.

    Args:
        people: Number of people in each world.
        seeds: Seed of each world, at least two.
        learner: Name of the system's model of uplift in `LEARNERS`.

    Returns:
        `figures` by way to plan, and `requirements`: lines of name, value, interval, required, holds.
    """
    lives = [lives_of(seed, people, learner, informed=number < INFORMED_SEEDS) for number, seed in enumerate(seeds)]
    kind = [lives_of(seed, people, learner, KIND) for seed in seeds[:KIND_SEEDS]]
    return judge(lives, kind, {"people": people, "seeds": len(seeds), "learner": learner})


def lives_of(
    seed: int, people: int, learner: str, world: Mapping[str, Any] | None = None, *, informed: bool = False
) -> "Lives":
    """What came of every way to plan in the world of a seed.

    Args:
        seed: Seed of the world.
        people: Number of people.
        learner: Name of the system's model of uplift in `LEARNERS`.
        world: Settings of the world that are not the defaults.
        informed: Whether to include who plans by the truth.
    """
    board = Board(grow(ResponseConfig(people=people, **(world or {})), seed))
    ways = WAYS + ("informed",) * informed
    return {way: Life(board, way, seed, LEARNERS[learner]).live() for way in ways}


def judge(lives: Sequence["Lives"], kind: Sequence["Lives"], about: Figures) -> Figures:
    """Figures and requirements.

    Args:
        lives: By world.
        kind: The same for worlds in which contact helps everyone alike.
        about: What is to stand first in the figures.
    """
    figures: Figures = {
        **about,
        "weeks_without_a_model": sum(of["system"].weeks_without_model for of in lives),
        "largest_gap": max(of["system"].largest_gap for of in lives),
        **{way: summary([of[way] for of in lives]) for way in WAYS},
        "system_over_response": mean_with_interval(ahead_of("response", lives).mean(axis=1)),
        "informed": summary([of["informed"] for of in lives if "informed" in of]),
        "where_contact_helps_all_alike": {
            "worlds": len(kind),
            **{way: summary([of[way] for of in kind]) for way in WAYS},
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
        weeks_without_model: Weeks after the first in which there was too little to learn from.
        largest_gap: Largest relative distance of an allocation from its upper bound.
    """

    value: list[float] = dataclasses.field(default_factory=list)
    sleepers: list[int] = dataclasses.field(default_factory=list)
    contacts: list[int] = dataclasses.field(default_factory=list)
    spent: list[float] = dataclasses.field(default_factory=list)
    unsubscribed: int = 0
    broken: int = 0
    weeks_without_model: int = 0
    largest_gap: float = 0.0


Lives = dict[str, Record]


class Board:
    """The rows that can be chosen in a world, a person and a campaign each, with all that a warehouse knows of them.

    Attributes:
        world: The world, untouched.
        person, campaign, item: The pair and the item that it would be shown, shape (rows,).
        score: Recommendation score of the item, shape (rows,).
        price, cost: Revenue of a conversion and cost of a contact in US dollars, shape (rows,).
        known: Features of each row, shape (rows, columns).
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
        self.known = self._known()
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

    def _known(self) -> Floats:
        features = self.world.features()
        counts = ("events_90d", "dismissed_365d", "other_side_visits_90d", "tenure_days")
        of_person = np.column_stack(
            [logit(features["promotion_share"].to_numpy()), *(np.log1p(features[name].to_numpy()) for name in counts)]
        )
        others = self.campaign[:, None] == np.arange(1, self.world.config.campaigns)
        fit = self.world.measured_fit(self.person, self.item)
        return np.column_stack([of_person[self.person], self.score, fit, np.log(self.price), others])


class Life:
    """Eight weeks of one way to plan in one world."""

    def __init__(self, board: Board, way: str, seed: int, learner: UpliftConfig) -> None:
        self.board, self.way, self.seed, self.learner = board, way, seed, learner
        self.world = board.world.again()
        # Another stream than that of the world, which takes the seed alone.
        self.random = np.random.default_rng([seed, 8])
        self.lot = self.random.random(self.world.config.people)
        self.record = Record()
        self._answers: list[pa.Table] = []
        self._chosen: list[tuple[Rows, NDArray[np.bool_], Floats]] = []
        self._closed = np.zeros(board.rows, dtype=bool)

    def live(self) -> Record:
        """Plans, contacts and learns, week after week."""
        board, world, record = self.board, self.world, self.record
        for week in range(WEEKS):
            day = 7 * week
            self._close(day)
            may = np.flatnonzero(world.consent(day)[board.person] & ~self._closed)
            chosen, treated, weariness = self._system(week, may) if self.way == "system" else self._rule(week, may)
            contacted = chosen[treated]
            record.broken += len(violations(self._problem(np.zeros(board.rows), np.arange(board.rows), 1.0), contacted))
            exposures = Exposures(board.person[chosen], board.campaign[chosen], board.item[chosen], treated)
            record.value.append(world.true_value(exposures, day))
            self._answers.append(world.answer(exposures, day))
            self._chosen.append((chosen, treated, weariness))
            record.sleepers.append(int((world.tempers()[board.person[contacted]] == SLEEPER).sum()))
            record.contacts.append(len(contacted))
            record.spent.append(float(board.cost[contacted].sum()))
        answers = pa.concat_tables(self._answers)
        left = answers.filter(pc.equal(answers["type"], "unsubscribe"))
        record.unsubscribed = len(pc.unique(left["person"]))
        return record

    def _rule(self, week: int, may: Rows) -> tuple[Rows, NDArray[np.bool_], Floats]:
        """Rows in a fixed order as long as they fit, or allocated by a value that is not learnt; nobody is held out."""
        board = self.board
        if self.way == "response":
            chosen = self._allocate(may, expit(board.score[may]) * board.price[may], 1.0)
        elif self.way == "informed":
            pairs = board.person[may], board.campaign[may], board.item[may]
            chosen = self._allocate(may, self.world.true_uplift(*pairs) * board.price[may], 1.0)
        else:
            chosen = self._first_that_fit(may[np.argsort(-self._order(may), kind="stable")], 1.0)
        return chosen, np.ones(len(chosen), dtype=bool), np.zeros(len(chosen))

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

    def _system(self, week: int, may: Rows) -> tuple[Rows, NDArray[np.bool_], Floats]:
        """Rows drawn at random and rows allocated, and who of them is contacted."""
        board = self.board
        weariness = self._recent(week)[board.person].astype(float)
        share = EXPLORED_FIRST if week == 0 else EXPLORED
        drawn = self._first_that_fit(self.random.permutation(may), share / (1 - HELD_OUT))
        left = may[~np.isin(board.person[may], board.person[drawn])]
        allocated = self._allocate(left, self._worth(week, left, weariness), (1 - share) / (1 - HELD_OUT))
        chosen = np.concatenate([drawn, allocated])
        # A person has one row at most, and a new lot every week: the share held out is the same wherever the row came from.
        treated = ~held_out(board.person[chosen].astype(str).tolist(), f"{self.seed}/week {week}", HELD_OUT)
        # Chance may contact more than is paid for: those above the budget are dropped by lot and leave the log.
        kept = np.ones(len(chosen), dtype=bool)
        for campaign, budget in enumerate(board.budget):
            of = self.random.permutation(np.flatnonzero(treated & (board.campaign[chosen] == campaign)))
            kept[of[board.cost[chosen[of]].cumsum() > budget * (1 + 1e-9)]] = False
        chosen, treated = chosen[kept], treated[kept]
        return chosen, treated, weariness[chosen]

    def _worth(self, week: int, rows: Rows, weariness: Floats) -> Floats:
        """Expected incremental revenue of contacts, from what is known so far."""
        board = self.board
        if week:
            chosen = np.concatenate([one for one, _, _ in self._chosen])
            treated = np.concatenate([one for _, one, _ in self._chosen])
            weary = np.concatenate([one for _, _, one in self._chosen])
            seen = np.column_stack([board.known[chosen], weary])
            fitted = fit_uplift(seen, treated, self._converted(7 * week), self.learner, least_answers=10)
            if fitted.model is not None:
                uplift = fitted.model.uplift(np.column_stack([board.known[rows], weariness[rows]]))
                return np.asarray(uplift * board.price[rows])
            self.record.weeks_without_model += 1
        return np.asarray(prior_from_scores(board.score, PRIOR)[rows] * board.price[rows])

    def _converted(self, day: int) -> NDArray[np.bool_]:
        """Whether each row of the log had converted before a day."""
        found = []
        for answers, (chosen, _, _) in zip(self._answers, self._chosen, strict=True):
            seen = answers.filter(pc.and_(pc.equal(answers["type"], "conversion"), pc.less(answers["day"], day)))
            found.append(np.isin(chosen, self._row_of(seen)))
        return np.concatenate(found)

    def _close(self, day: int) -> None:
        """Suppresses pairs of person and campaign that were dismissed or converted before a day."""
        for answers in self._answers:
            ends = pc.and_(pc.is_in(answers["type"], pa.array(["dismiss", "conversion"])), pc.less(answers["day"], day))
            self._closed[self._row_of(answers.filter(ends))] = True

    def _row_of(self, answers: pa.Table) -> Rows:
        return np.asarray(answers["person"].to_numpy() * self.world.config.campaigns + answers["campaign"].to_numpy())

    def _recent(self, week: int) -> Rows:
        """Contacts of each person in the week before."""
        people = self.world.config.people
        if not week:
            return np.zeros(people, dtype=np.int64)
        chosen, treated, _ = self._chosen[week - 1]
        return np.bincount(self.board.person[chosen[treated]], minlength=people)

    def _problem(self, value: Floats, rows: Rows, budgets: float) -> Problem:
        """The week's allocation problem: one day, one channel, and the contacts of the weeks before."""
        board, week = self.board, len(self._answers)
        zeros = np.zeros(len(rows), dtype=np.int64)
        past = [board.person[chosen[treated]] for chosen, treated, _ in self._chosen]
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

    def _first_that_fit(self, ordered: Rows, budgets: float) -> Rows:
        """Rows in their order, each if budget and caps still allow it."""
        board, week = self.board, len(self._answers)
        people = self.world.config.people
        recent = [board.person[chosen[treated]] for chosen, treated, _ in self._chosen[max(0, week - 3) :]]
        full = np.bincount(np.concatenate([np.zeros(0, dtype=np.int64), *recent]), minlength=people) >= 2
        left = (board.budget * budgets / self.world.costs() + 1e-9).astype(np.int64).tolist()
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
    parser.add_argument("--learner", choices=sorted(LEARNERS), default=LEARNER)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.people, tuple(range(1, arguments.seeds + 1)), arguments.learner), indent=1))


if __name__ == "__main__":
    main()
