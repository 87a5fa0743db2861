"""A world of people who answer campaigns, with the truth at hand.

Whoever plans a campaign sees what a warehouse would show (`features`, `scores`, the responses to what was sent) and is judged by
what is true (`true_uplift`, `true_value`, `tempers`), which no real platform ever tells. Planning, learning and measuring live
elsewhere; who the people are is drawn in `tempers`; the rules are told in docs/simulation.md.

Memory: about `people x items x 5` bytes plus `people x 300`, and `rows x 200` bytes while exposures are answered.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulation.seeding import Floats, Ints
from simulation.tempers import SLEEPER, Population, ResponseConfig, populate

Flags = npt.NDArray[np.bool_]

RESPONSE_TYPES = ("click", "dismiss", "unsubscribe", "conversion", "satisfaction")

ARMS = ("control", "treatment")

_SATISFACTION_SHARE = 0.4
_SATISFACTION_AFTER_DAYS = 2


@dataclasses.dataclass(frozen=True)
class Exposures:
    """What was decided for one day, a row per person and campaign: arrays of shape (rows,).

    Attributes:
        person: Number of the person.
        campaign: Number of the campaign.
        item: Number of the item, one of the campaign's.
        treated: True where the person is contacted, False where the person is held out.
    """

    person: Ints
    campaign: Ints
    item: Ints
    treated: Flags

    def __len__(self) -> int:
        return int(self.person.size)


@dataclasses.dataclass(frozen=True)
class Chances:
    """Probabilities of what follows each row of exposures, all of shape (rows,).

    Attributes:
        without: Of a conversion without the contact.
        contacted: Of a conversion with the contact, at the fatigue of that day.
        click: Of a click on the contact, given that it does not convert.
        dismiss: Of a dismissal of the contact, given that it is not clicked.
        unsubscribe: Of unsubscribing because of the contact, given that it is not clicked.
    """

    without: Floats
    contacted: Floats
    click: Floats
    dismiss: Floats
    unsubscribe: Floats


def grow(config: ResponseConfig, seed: int) -> World:
    """Makes the world of a seed, on a day when nobody was contacted yet.

    Args:
        config: Settings.
        seed: Seed, >= 0.

    Returns:
        The world.

    Raises:
        ValueError: If the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"the seed must be 0 or more, got {seed}")
    return World(config, seed, populate(config, seed))


class World:
    """People who answer exposures day after day.

    Days go forward: each call of `answer` changes what is so afterwards (fatigue, unsubscribed people, items that are taken).
    Chance is tied to the seed, the draw, the day, the person and the campaign: what a person does on a day does not depend on who
    else is in the table nor on the order of its rows, and a person who converts when held out with a lower probability also does
    with a higher one. So two ways to plan can be compared on the same luck.
    """

    def __init__(self, config: ResponseConfig, seed: int, population: Population, draw: int = 0) -> None:
        self.config = config
        self.seed = seed
        self.draw = draw
        self._population = population
        self._day = 0
        self._contacts: list[tuple[int, Ints]] = []
        self._unsubscribed_on = np.full(config.people, np.iinfo(np.int64).max)
        self._taken = np.zeros((config.people, config.items), dtype=bool)

    def again(self, draw: int = 0) -> World:
        """The same people on day 0, with the luck of another draw (or of the same)."""
        return World(self.config, self.seed, self._population, draw)

    # What a warehouse would know.

    def features(self) -> pa.Table:
        """One row per person in order of their numbers: counts, shares, measured tastes and a segment."""
        return self._population.features

    def scores(self, person: Ints, item: Ints) -> Floats:
        """What a recommender says, shape (pairs,): log-odds that the person takes the item, with an error.

        It predicts the response as it was seen in the past, when a share of people was contacted and the others were not; which
        part of it a contact makes, it does not tell.
        """
        log_odds = self._log_odds(person, item)
        pushed = log_odds + self._push(person, self._population.item_campaign[item], item)
        share = self.config.score_contacted
        seen = share * _chance(pushed) + (1.0 - share) * _chance(log_odds)
        return np.asarray(np.log(seen) - np.log1p(-seen) + self._population.score_error[person, item])

    def measured_fit(self, person: Ints, item: Ints) -> Floats:
        """Fit of the person's measured taste to the item's topics, shape (pairs,)."""
        topics = self._population.item_topics[item] / np.sqrt(self.config.topics)
        return np.asarray(np.einsum("pt,pt->p", self._population.measured_taste[person], topics))

    def topics_of(self, item: Ints) -> Floats:
        """Direction of each item over topics, unit vectors of shape (items, topics), as a catalogue would tell it."""
        return np.asarray(self._population.item_topics[item] / np.sqrt(self.config.topics))

    def items_of(self, campaign: int) -> Ints:
        """Numbers of the items of a campaign."""
        return np.flatnonzero(self._population.item_campaign == campaign)

    def prices(self) -> Floats:
        """Price of each item in US dollars, shape (items,)."""
        return self._population.price

    def costs(self) -> Floats:
        """Cost of a contact by each campaign in US dollars, shape (campaigns,)."""
        return self._population.cost

    def consent(self, day: int) -> Flags:
        """Who may be contacted on a day, as far as it is decided by then, shape (people,).

        Consent turns over by itself on days that the seed fixes. Who unsubscribes may not be contacted from the next day on, for
        good.
        """
        turned = (self._population.changes_on <= day).sum(axis=1) % 2 == 1
        return np.asarray((self._population.agrees != turned) & (self._unsubscribed_on >= day))

    # What happens.

    def answer(self, exposures: Exposures, day: int) -> pa.Table:
        """Lets people answer what was decided for a day, and remembers it.

        Args:
            exposures: The day's rows, each pair of person and campaign at most once. Rows that are held out are answered as well:
                their conversions are those that happen without a contact.
            day: The day, not before the last one answered.

        Returns:
            Responses in order of day and person: person, campaign, item, arm, exposed_on (the day that is answered), day (on
            which it happens: conversions and satisfaction come late, a plan of day d may look at those with day < d only), type
            (`RESPONSE_TYPES`), value (stars of satisfaction, else null), amount (price in US dollars of a conversion, else null).

        Raises:
            ValueError: If the day is in the past, numbers are out of range, an item is not of its campaign, a pair comes twice, or
                a person is contacted without consent.
        """
        self._check(exposures, day)
        forbidden = int((exposures.treated & ~self.consent(day)[exposures.person]).sum())
        if forbidden:
            raise ValueError(
                f"{forbidden} rows contact people without consent on day {day}; ask `consent({day})` before"
            )
        chances = self.chances(exposures, day)
        person, campaign, treated = exposures.person, exposures.campaign, exposures.treated

        def luck(part: str) -> Floats:
            return self._luck(part, day, person, campaign)

        converts = luck("conversion") < np.where(treated, chances.contacted, chances.without)
        clicks = treated & (converts | (luck("click") < chances.click))
        dismisses = treated & ~clicks & (luck("dismiss") < chances.dismiss)
        leaves = treated & ~clicks & (luck("unsubscribe") < chances.unsubscribe)
        later = day + np.floor(-self.config.delay_days * np.log(luck("delay"))).astype(np.int64)
        tells = converts & treated & (luck("tells") < _SATISFACTION_SHARE)
        put_off = self._population.temper[person] == SLEEPER
        mood = 3.6 + 0.6 * self._population.fit(person, exposures.item) - put_off + 3.0 * (luck("stars") - 0.5)
        stars = np.clip(np.round(mood), 1, 5)

        # Two campaigns may win the same person for the same item only if it is of both, which it never is.
        self._taken[person[converts], exposures.item[converts]] = True
        self._unsubscribed_on[person[leaves]] = np.minimum(self._unsubscribed_on[person[leaves]], day)
        self._contacts.append((day, person[treated]))
        self._day = day

        nothing = np.full(len(exposures), np.nan)
        price = self._population.price[exposures.item]
        today = np.full(len(exposures), day)
        return _responses(
            exposures,
            day,
            {
                "click": (clicks, today, nothing, nothing),
                "dismiss": (dismisses, today, nothing, nothing),
                "unsubscribe": (leaves, today, nothing, nothing),
                "conversion": (converts, later, nothing, price),
                "satisfaction": (tells, later + _SATISFACTION_AFTER_DAYS, stars, nothing),
            },
        )

    # What is true.

    def tempers(self) -> Ints:
        """Temper of each person as a number in `tempers.TEMPERS`, shape (people,)."""
        return self._population.temper

    def true_uplift(self, person: Ints, campaign: Ints, item: Ints) -> Floats:
        """Change of the probability of a conversion by a first contact of a rested person, shape (rows,)."""
        log_odds = self._log_odds(person, item)
        return np.asarray(_chance(log_odds + self._push(person, campaign, item)) - _chance(log_odds))

    def true_value(self, exposures: Exposures, day: int) -> float:
        """Expected revenue that the contacts of a day add to what would have come without them, in US dollars.

        Exact given what happened before the day: it holds no sampling noise. Held-out rows add nothing; costs are not taken off.
        Later effects of the contacts (fatigue, unsubscribed people) show in the values of later days.

        Args:
            exposures: As `answer` takes them.
            day: The day, not before the last one answered.

        Returns:
            The value; add it up before `answer` is called for the same exposures.

        Raises:
            ValueError: As `answer`, consent apart.
        """
        self._check(exposures, day)
        chances = self.chances(exposures, day)
        gain = (chances.contacted - chances.without) * self._population.price[exposures.item]
        return float(gain[exposures.treated].sum())

    def chances(self, exposures: Exposures, day: int) -> Chances:
        """The probabilities by which `answer` draws, given what happened before.

        A person who was contacted within the time of fatigue, or further up in the same table, is tired.

        Args:
            exposures: As `answer` takes them.
            day: As `answer` takes it.

        Returns:
            Probabilities per row.
        """
        config, temper = self.config, self._population.temper[exposures.person]
        tired = self.earlier_contacts(day)[exposures.person] + _contacts_above(exposures)
        log_odds = self._log_odds(exposures.person, exposures.item)
        push = self._push(exposures.person, exposures.campaign, exposures.item)
        push *= np.where(push >= 0, config.fatigue_keeps**tired, 1.0 + config.fatigue_stings * tired)
        free = ~self._taken[exposures.person, exposures.item]
        fit = self._population.fit(exposures.person, exposures.item)
        leaves = np.asarray(config.unsubscribe_log_odds)[temper] + config.unsubscribe_fatigue * tired
        return Chances(
            without=np.where(free, _chance(log_odds), 0.0),
            contacted=np.where(free, _chance(log_odds + push), 0.0),
            click=np.clip(config.click_share * np.exp(0.3 * fit) * config.fatigue_keeps**tired, 0.0, 1.0),
            dismiss=np.asarray(config.dismiss_share)[temper],
            unsubscribe=_chance(leaves),
        )

    def earlier_contacts(self, day: int) -> Ints:
        """Number of contacts of each person within the time of fatigue before a day, the day itself included, shape (people,)."""
        recent = [person for on, person in self._contacts if day - on < self.config.fatigue_days]
        counts = np.bincount(np.concatenate(recent), minlength=self.config.people) if recent else 0
        return np.zeros(self.config.people, dtype=np.int64) + counts

    def _log_odds(self, person: Ints, item: Ints) -> Floats:
        base = np.asarray(self.config.base_log_odds)[self._population.temper[person]]
        return np.asarray(base + self.config.fit_pull * self._population.fit(person, item))

    def _push(self, person: Ints, campaign: Ints, item: Ints) -> Floats:
        """What a first contact adds to the log-odds; its sign is that of the temper's own."""
        population = self._population
        base = np.asarray(self.config.contact_log_odds)[population.temper[person]]
        stirs = np.exp(self.config.fit_stirs * population.fit(person, item))
        return np.asarray(base * stirs * population.stirred[person] * population.strength[campaign])

    def _luck(self, part: str, day: int, person: Ints, campaign: Ints) -> Floats:
        """A number in (0, 1) for every row, from the seed, the draw, the part, the day, the person and the campaign alone."""
        occasion = np.random.SeedSequence([self.seed, self.draw, zlib.crc32(part.encode()), day])
        row = np.asarray(person, dtype=np.uint64) * np.uint64(self.config.campaigns) + campaign.astype(np.uint64)
        return (_scramble(_scramble(row) ^ occasion.generate_state(1, np.uint64)[0]) >> np.uint64(11)).astype(
            np.float64
        ) * 2.0**-53 + 2.0**-54

    def _check(self, exposures: Exposures, day: int) -> None:
        config = self.config
        if day < self._day:
            raise ValueError(
                f"day {day} is past: day {self._day} was answered already; use `again()` for a fresh start"
            )
        sizes = {name: getattr(exposures, name).size for name in ("person", "campaign", "item", "treated")}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the columns of exposures differ in length: {sizes}")
        if not len(exposures):
            return
        for name, bound in (("person", config.people), ("campaign", config.campaigns), ("item", config.items)):
            numbers = getattr(exposures, name)
            if numbers.min() < 0 or numbers.max() >= bound:
                raise ValueError(f"{name} numbers must be 0 to {bound - 1}, found {numbers.min()} to {numbers.max()}")
        foreign = int((self._population.item_campaign[exposures.item] != exposures.campaign).sum())
        if foreign:
            raise ValueError(f"{foreign} rows show an item that is not of their campaign; `items_of` tells which are")
        pairs = exposures.person * config.campaigns + exposures.campaign
        if np.unique(pairs).size < len(exposures):
            raise ValueError("a pair of person and campaign comes twice in one day; give each pair one row")


def _chance(log_odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _contacts_above(exposures: Exposures) -> Ints:
    """Number of contacts of the same person further up in the table, shape (rows,)."""
    order = np.argsort(exposures.person, kind="stable")
    treated = exposures.treated[order].astype(np.int64)
    before = np.cumsum(treated) - treated
    person = exposures.person[order]
    starts = np.flatnonzero(np.diff(person, prepend=-1))
    lengths = np.diff(starts, append=person.size)
    above = np.empty(person.size, dtype=np.int64)
    above[order] = before - np.repeat(before[starts], lengths)
    return above


def _scramble(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A one-to-one map of 64-bit numbers whose outputs look random.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (SplitMix64).
    """
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _responses(exposures: Exposures, exposed_on: int, found: dict[str, tuple[Flags, Ints, Floats, Floats]]) -> pa.Table:
    """The rows on which something happened, in order of day, person, campaign and type."""
    row = np.concatenate([np.flatnonzero(which) for which, _, _, _ in found.values()])
    kind = np.repeat(np.arange(len(found)), [int(which.sum()) for which, _, _, _ in found.values()])
    day, value, amount = (
        np.concatenate([columns[place][columns[0]] for columns in found.values()]) for place in (1, 2, 3)
    )
    order = np.lexsort((kind, exposures.campaign[row], exposures.person[row], day))
    row, kind = row[order], kind[order]
    arms = np.array(ARMS, dtype=object)[exposures.treated[row].astype(np.int64)]
    return pa.table(
        {
            "person": pa.array(exposures.person[row], pa.int64()),
            "campaign": pa.array(exposures.campaign[row], pa.int64()),
            "item": pa.array(exposures.item[row], pa.int64()),
            "arm": pa.array(arms, pa.string()),
            "exposed_on": pa.array(np.full(row.size, exposed_on), pa.int64()),
            "day": pa.array(day[order].astype(np.int64), pa.int64()),
            "type": pa.array(np.array(list(found), dtype=object)[kind], pa.string()),
            "value": pa.array(value[order], pa.float64(), from_pandas=True),
            "amount": pa.array(amount[order], pa.float64(), from_pandas=True),
        }
    )
