"""The people, campaigns and items of the world that answers: who they are and how they take a contact.

Holds the settings of that world and what is true of it before anything happens: hidden traits, the four tempers (persuadable, sure
thing, lost cause, sleeper), tastes, what a warehouse would have measured of all this, and on which days consent is given or taken
back. What people do with a contact is `response`; the rules of both are told in docs/simulation.md.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulation.seeding import Floats, Ints, random_stream

TEMPERS = ("lost_cause", "persuadable", "sure_thing", "sleeper")
"""How people take a contact: it changes next to nothing, wins them, was not needed, or puts them off."""

LOST_CAUSE, PERSUADABLE, SURE_THING, SLEEPER = range(len(TEMPERS))

TRAITS = ("engagement", "thrift", "irritation", "curiosity")
"""Hidden standard normal traits: use of the own platform, weight of an offer, dislike of contact, interest in the other side."""

SEGMENTS = ("active", "at_risk", "dormant", "new")
"""Segments that a marketer would cut by hand; they follow from the features alone."""

# Log-odds of each temper: at the mean (of 100 people, about 42, 22, 23 and 13 have it) and per unit of each trait.
_TEMPER_BASE = np.array([1.15, 0.0, 0.0, -1.0])
_TEMPER_PULL = np.array(
    [
        [-1.6, 0.0, 0.0, -0.4],
        [-0.2, 1.6, -0.6, 1.2],
        [1.6, -0.6, -0.4, 0.0],
        [1.2, -0.4, 1.8, 0.0],
    ]
)
_NEVER = 10**9


@dataclasses.dataclass(frozen=True)
class ResponseConfig:
    """Settings of the world that answers. Vectors by temper are in the order of `TEMPERS`.

    Attributes:
        people: Number of people.
        campaigns: Number of campaigns.
        items: Number of items, at least one per campaign; item i belongs to campaign i modulo the number of campaigns.
        topics: Number of topics that tastes and items are made of, at least 2.
        base_log_odds: Log-odds, by temper, that a person takes an item of average fit without a contact.
        contact_log_odds: What a first contact of average strength adds to them, by temper.
        fit_pull: Log-odds of taking an item per standard deviation of fit between taste and item.
        fit_stirs: Logarithm of the factor on the effect of a contact per standard deviation of fit.
        hidden_spread: Standard deviation, over people, of the logarithm of a factor on the effect that no feature shows.
        campaign_spread: The same over campaigns.
        score_noise: Standard deviation of the error of the recommendation score, in log-odds.
        score_contacted: Share of contacted people in the past that the recommendation score was learnt on, in [0, 1].
        taste_noise: Standard deviation of the error of each topic's measured taste (true tastes have 1).
        fatigue_days: A contact tires for this many days, >= 1.
        fatigue_keeps: Factor on a helpful effect per earlier contact in that time, in [0, 1].
        fatigue_stings: Share of itself by which a harmful effect grows per such contact, >= 0.
        unsubscribe_log_odds: Log-odds, by temper, that a contact makes a person unsubscribe.
        unsubscribe_fatigue: What each earlier contact in the time of fatigue adds to them.
        dismiss_share: Share, by temper, of contacts without a click that are dismissed.
        click_share: Chance of a click on a contact that does not convert, for an item of average fit.
        delay_days: Mean delay between a contact (or its absence) and the conversion, exponential, in days.
        consent_share: Share of people who agree to marketing on day 0.
        consent_withdrawn: Daily chance that who agrees takes it back, contacted or not.
        consent_given: Daily chance that who does not agree does so.
    """

    people: int = 20_000
    campaigns: int = 6
    items: int = 30
    topics: int = 6
    base_log_odds: tuple[float, float, float, float] = (-5.8, -3.9, -1.9, -2.1)
    contact_log_odds: tuple[float, float, float, float] = (0.15, 1.3, 0.1, -1.0)
    fit_pull: float = 0.5
    fit_stirs: float = 0.25
    hidden_spread: float = 0.3
    campaign_spread: float = 0.2
    score_noise: float = 0.8
    score_contacted: float = 0.3
    taste_noise: float = 0.7
    fatigue_days: int = 14
    fatigue_keeps: float = 0.6
    fatigue_stings: float = 0.3
    unsubscribe_log_odds: tuple[float, float, float, float] = (-5.5, -6.5, -6.5, -3.2)
    unsubscribe_fatigue: float = 0.4
    dismiss_share: tuple[float, float, float, float] = (0.08, 0.04, 0.04, 0.25)
    click_share: float = 0.06
    delay_days: float = 2.5
    consent_share: float = 0.8
    consent_withdrawn: float = 0.001
    consent_given: float = 0.002

    def __post_init__(self) -> None:
        if min(self.people, self.campaigns, self.fatigue_days) < 1 or self.topics < 2:
            raise ValueError("people, campaigns and fatigue_days must be 1 or more and topics 2 or more")
        if self.items < self.campaigns:
            raise ValueError(f"every campaign needs an item: {self.items} items for {self.campaigns} campaigns")
        shares = {
            "fatigue_keeps": self.fatigue_keeps,
            "score_contacted": self.score_contacted,
            "click_share": self.click_share,
            "consent_share": self.consent_share,
            "consent_withdrawn": self.consent_withdrawn,
            "consent_given": self.consent_given,
        }
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be within 0 and 1, got {share}")
        spreads = (self.hidden_spread, self.campaign_spread, self.score_noise, self.taste_noise)
        if min(*spreads, self.fatigue_stings, self.delay_days) < 0:
            raise ValueError("spreads, noises, fatigue_stings and delay_days must be 0 or more")


@dataclasses.dataclass(frozen=True)
class Population:
    """What is true of the world before anything happens.

    Attributes:
        temper: Number in `TEMPERS`, shape (people,).
        traits: Hidden traits in the order of `TRAITS`, shape (people, 4).
        taste: Unit vector over topics, shape (people, topics).
        stirred: Factor on the effect of a contact that no feature shows, > 0, shape (people,).
        item_topics: Topics of the items, scaled so that the fit to a random person has deviation 1, shape (items, topics).
        item_campaign: Campaign of each item, shape (items,).
        price: Price of each item in US dollars, shape (items,).
        strength: Factor of each campaign on the effect of a contact, > 0, shape (campaigns,).
        cost: Cost of a contact by each campaign in US dollars, shape (campaigns,).
        measured_taste: Tastes as a warehouse would estimate them, shape (people, topics).
        score_error: Error of the recommendation score, shape (people, items), float32.
        features: One row per person: what a warehouse knows.
        agrees: Whether the person agrees to marketing on day 0, shape (people,).
        changes_on: Days on which that turns over, ascending, shape (people, 2); a very large number where it does not.
    """

    temper: Ints
    traits: Floats
    taste: Floats
    stirred: Floats
    item_topics: Floats
    item_campaign: Ints
    price: Floats
    strength: Floats
    cost: Floats
    measured_taste: Floats
    score_error: npt.NDArray[np.float32]
    features: pa.Table
    agrees: npt.NDArray[np.bool_]
    changes_on: Ints

    def fit(self, person: Ints, item: Ints) -> Floats:
        """Fit of taste and item, mean about 0 and deviation about 1 over people, shape (pairs,)."""
        return np.asarray(np.einsum("pt,pt->p", self.taste[person], self.item_topics[item]))


def populate(config: ResponseConfig, seed: int) -> Population:
    """Draws people, campaigns and items.

    Args:
        config: Settings.
        seed: Seed, >= 0.

    Returns:
        The population; each part has a random stream of its own.
    """
    people, topics = config.people, config.topics
    rng = random_stream(seed, "response tempers")
    traits = rng.normal(size=(people, len(TRAITS)))
    log_odds = _TEMPER_BASE + traits @ _TEMPER_PULL.T
    temper = np.argmax(log_odds + rng.gumbel(size=log_odds.shape), axis=1)
    stirred = np.exp(config.hidden_spread * rng.normal(size=people))
    taste = rng.normal(size=(people, topics))
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)

    rng = random_stream(seed, "response items")
    item_topics = rng.normal(size=(config.items, topics))
    # A unit vector drawn at random has variance 1 / topics along each direction.
    item_topics *= np.sqrt(topics) / np.linalg.norm(item_topics, axis=1, keepdims=True)
    strength = np.exp(config.campaign_spread * rng.normal(size=config.campaigns))
    price = np.asarray(np.round(np.exp(rng.normal(np.log(10.0), 0.4, config.items)), 2), dtype=np.float64)
    cost = np.array([0.02, 0.05, 0.10])[rng.integers(0, 3, config.campaigns)]

    rng = random_stream(seed, "response warehouse")
    measured = np.sqrt(topics) * taste + config.taste_noise * rng.normal(size=taste.shape)
    error = rng.standard_normal(size=(people, config.items), dtype=np.float32) * np.float32(config.score_noise)
    agrees, changes_on = _consent(config, random_stream(seed, "response consent"))
    return Population(
        temper=temper.astype(np.int64),
        traits=traits,
        taste=taste,
        stirred=stirred,
        item_topics=item_topics,
        item_campaign=np.arange(config.items, dtype=np.int64) % config.campaigns,
        price=price,
        strength=strength,
        cost=cost,
        measured_taste=measured,
        score_error=error,
        features=_features(rng, traits, measured),
        agrees=agrees,
        changes_on=changes_on,
    )


def _features(rng: np.random.Generator, traits: Floats, measured_taste: Floats) -> pa.Table:
    """Counts and shares that follow the traits with noise, a tenure that says nothing, and the segment cut from them."""
    people = len(traits)
    engagement, thrift, irritation, curiosity = traits.T
    events = rng.poisson(np.exp(2.5 + 0.8 * engagement))
    tenure = rng.exponential(500.0, people).astype(np.int64)
    segment = np.where(tenure < 30, 3, np.where(events >= 12, 0, np.where(events >= 5, 1, 2)))
    return pa.table(
        {
            "person": np.arange(people),
            "events_90d": events,
            "promotion_share": 1.0 / (1.0 + np.exp(-(thrift + 0.6 * rng.normal(size=people)))),
            "dismissed_365d": rng.poisson(np.exp(0.3 + 0.9 * irritation)),
            "other_side_visits_90d": rng.poisson(np.exp(0.5 + 0.8 * curiosity)),
            "tenure_days": tenure,
            **{f"taste_{topic}": measured_taste[:, topic] for topic in range(measured_taste.shape[1])},
            "segment": pa.array(np.array(SEGMENTS, dtype=object)[segment], pa.string()),
        }
    )


def _consent(config: ResponseConfig, rng: np.random.Generator) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Consent on day 0, and the first two days on which it turns over: waiting times of a daily chance."""
    agrees = rng.random(config.people) < config.consent_share
    first = _days_until(rng, np.where(agrees, config.consent_withdrawn, config.consent_given))
    second = _days_until(rng, np.where(agrees, config.consent_given, config.consent_withdrawn))
    return agrees, np.stack([first, first + second], axis=1)


def _days_until(rng: np.random.Generator, daily: Floats) -> Ints:
    """Number of days, 1 or more, until something of a daily chance happens first; a very large number if it cannot."""
    draw = rng.random(daily.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        days = np.ceil(np.log1p(-draw) / np.log1p(-daily))
    days = np.where(daily > 0, np.maximum(days, 1.0), _NEVER)
    return np.minimum(days, _NEVER).astype(np.int64)
