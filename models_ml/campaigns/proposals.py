"""Campaigns that could be run: which kind they are, what they would bring, and which of many are put forward.

Takes what is known of each pair of themes as arrays and returns figures with intervals. Where the pairs, the audiences and the
items come from is the caller's business; rates of answers are in `posterior`, what a campaign did cause is in `lift`.
"""

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ProposalConfig:
    """What a proposal is made of where nothing is known, and how many are put forward.

    Attributes:
        most: Proposals put forward, >= 1.
        most_per_segment: Of them for one segment, >= 1.
        most_per_target_topic: Of them with one theme of the target, >= 1.
        most_per_topic_pair: Of them with one pair of themes, >= 1.
        draws: Simulated outcomes behind each interval, >= 100.
        incremental_mean: Share of the conversions of contacted people that would not have come without contact, before any
            campaign was measured. Cautious: most who buy would have bought.
        incremental_sd: Standard deviation of that share; with 0.2 a central 95 % are from 0 to 80 %.
        between_campaigns_sd: How much the share differs between campaigns of one kind.
        between_kinds_sd: How much more it may differ between kinds.
    """

    most: int = 50
    most_per_segment: int = 3
    most_per_target_topic: int = 3
    most_per_topic_pair: int = 1
    draws: int = 4000
    incremental_mean: float = 0.4
    incremental_sd: float = 0.2
    between_campaigns_sd: float = 0.1
    between_kinds_sd: float = 0.3

    def __post_init__(self) -> None:
        limits = (self.most, self.most_per_segment, self.most_per_target_topic, self.most_per_topic_pair)
        if min(limits) < 1:
            raise ValueError(f"every limit on the number of proposals must be at least 1, got {limits}")
        if self.draws < 100:
            raise ValueError(f"at least 100 draws are needed for an interval, got {self.draws}")
        if min(self.incremental_sd, self.between_campaigns_sd, self.between_kinds_sd) <= 0:
            raise ValueError("standard deviations must be positive")


@dataclasses.dataclass(frozen=True)
class Rate:
    """A rate of answers as a beta distribution.

    Attributes:
        alpha: Answers, those of the prior included, > 0.
        beta: Exposures without an answer, those of the prior included, > 0.
        exposures: Exposures that were seen; 0 if all of it is prior.
        answers: Answers among them.
    """

    alpha: float
    beta: float
    exposures: int = 0
    answers: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.alpha < math.inf and 0 < self.beta < math.inf):
            raise ValueError(f"alpha and beta must be positive and finite, got {self.alpha} and {self.beta}")

    @property
    def mean(self) -> float:
        """Mean rate."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def strength(self) -> float:
        """How many exposures it weighs, those of the prior included."""
        return self.alpha + self.beta


@dataclasses.dataclass(frozen=True)
class MeasuredShare:
    """What one campaign with a holdout says about the share of its conversions that it caused.

    Attributes:
        kind: Kind of the campaign.
        share: Difference of the arms over the conversion rate of those contacted; below 0 where contact put people off.
        error: Standard error of the share, > 0.
    """

    kind: str
    share: float
    error: float


@dataclasses.dataclass(frozen=True)
class IncrementalShare:
    """Share of conversions that contact causes, as a normal distribution.

    Attributes:
        mean: Its mean.
        deviation: Its standard deviation.
        campaigns: Measured campaigns that it rests on; 0 if it is assumed.
    """

    mean: float
    deviation: float
    campaigns: int


@dataclasses.dataclass(frozen=True)
class Span:
    """An expected figure and the central 95 % of what may come instead."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a campaign would bring.

    Attributes:
        contacts: Contacts made, of people who are not held out.
        cost: What they cost.
        clicks: Clicks.
        conversions: Conversions of people who were contacted, whether caused or not.
        incremental_conversions: Conversions that would not have come without.
        revenue: Worth of the conversions that would not have come without.
        expected_return: That worth over the cost; None if contacts are free.
    """

    contacts: int
    cost: float
    clicks: Span
    conversions: Span
    incremental_conversions: Span
    revenue: Span
    expected_return: Span | None


def campaign_kind(
    family: str,
    state: str | None,
    source_topic: str,
    target_topic: str,
    share_on_both: float,
    *,
    has_source_items: bool,
) -> tuple[str, str]:
    """Which kind of campaign suits a segment and a pair of themes, and the rule that says so; the first that holds counts.

    Args:
        family: Family of the segment: lifecycle, value, interest, potential or taste.
        state: new, active, at_risk or dormant for a lifecycle segment, else None.
        source_topic: What the people like.
        target_topic: What they are brought to.
        share_on_both: Share of the people who use both platforms already, in [0, 1].
        has_source_items: Whether there are items of the source theme too. Without them there is neither a challenge of both sides
            nor a shelf.

    Returns:
        The kind as a code of the landing contract, and why, as a clause.
    """
    if family == "potential":
        return "cross_ad", "these people do not use the other side yet"
    if state in {"at_risk", "dormant"} and has_source_items:
        return "interactive", "people who have gone quiet need something to do, not another offer"
    if share_on_both < 0.5:
        return "cross_ad", "most of these people are on one side only"
    if source_topic == target_topic and has_source_items:
        return "special_programme", "it is one theme on both sides"
    return "joint_promotion", "these people mostly use both sides"


def incremental_share(
    kind: str, measured: Sequence[MeasuredShare], config: ProposalConfig = ProposalConfig()
) -> IncrementalShare:
    """What campaigns with a holdout say about the share of conversions that contact causes, shrunk towards an assumption.

    Normal prior, normal observations: each measured campaign counts with its own error and with how much campaigns differ, one
    of another kind with how much kinds differ as well. Without a measured campaign it is the assumption.

    Args:
        kind: Kind of the campaign that is proposed.
        measured: Campaigns that were measured.
        config: What is assumed.
    """
    weight = 1 / config.incremental_sd**2
    total = config.incremental_mean * weight
    for one in measured:
        variance = one.error**2 + config.between_campaigns_sd**2
        if one.kind != kind:
            variance += config.between_kinds_sd**2
        weight += 1 / variance
        total += one.share / variance
    return IncrementalShare(total / weight, math.sqrt(1 / weight), len(measured))


def expected_contacts(treated: int, per_person: int, stop_rate: float) -> int:
    """Contacts of people who are contacted again until they answer with yes or no.

    Args:
        treated: People who are not held out.
        per_person: Most contacts of one person.
        stop_rate: Probability that a contact ends it: a conversion, a dismissal or an unsubscription; in [0, 1].
    """
    if not 0 <= stop_rate <= 1:
        raise ValueError(f"the share of contacts that end it must be in [0, 1], got {stop_rate}")
    return round(treated * sum((1 - stop_rate) ** n for n in range(per_person)))


def forecast(
    contacts: int,
    cost_per_exposure: float,
    value_per_conversion: float,
    click: Rate,
    conversion: Rate,
    incremental: IncrementalShare,
    *,
    seed: int,
    draws: int = 4000,
) -> Forecast:
    """What so many contacts would bring, with the central 95 % of what may come.

    Rates and the incremental share are drawn from what is known about them, and the numbers of answers from the rates, so that an
    interval holds both what is not known and what is chance.

    Args:
        contacts: Contacts, >= 0.
        cost_per_exposure: Cost of one, >= 0.
        value_per_conversion: Worth of a conversion, >= 0.
        click: Rate of clicks of an exposure.
        conversion: Rate of conversions of an exposure.
        incremental: Share of conversions that contact causes.
        seed: The same seed gives the same intervals.
        draws: Number of simulated outcomes.
    """
    if contacts < 0 or cost_per_exposure < 0 or value_per_conversion < 0:
        raise ValueError("contacts, cost and value must not be negative")
    random = np.random.default_rng(seed)
    clicks = random.binomial(contacts, random.beta(click.alpha, click.beta, draws)).astype(np.float64)
    conversions = random.binomial(contacts, random.beta(conversion.alpha, conversion.beta, draws)).astype(np.float64)
    # More than every conversion cannot be caused; fewer than none can: contact may put people off.
    shares = np.minimum(random.normal(incremental.mean, incremental.deviation, draws), 1.0)
    caused = conversions * shares
    expected_conversions = contacts * conversion.mean
    expected_caused = expected_conversions * min(incremental.mean, 1.0)
    cost = contacts * cost_per_exposure
    revenue = _span(expected_caused * value_per_conversion, caused * value_per_conversion)
    return Forecast(
        contacts=contacts,
        cost=cost,
        clicks=_span(contacts * click.mean, clicks),
        conversions=_span(expected_conversions, conversions),
        incremental_conversions=_span(expected_caused, caused),
        revenue=revenue,
        expected_return=Span(revenue.mean / cost, revenue.low / cost, revenue.high / cost) if cost > 0 else None,
    )


def put_forward(
    scores: Floats,
    segments: Sequence[str],
    topic_pairs: Sequence[tuple[str, str]],
    config: ProposalConfig = ProposalConfig(),
) -> list[int]:
    """The best proposals, none too like the others.

    From the best down, one is left out if its segment, its target theme or its pair of themes has had its share, or if the same
    segment is brought to the same theme already.

    Args:
        scores: What is ranked by, shape (proposals,); of equal ones the earlier is first.
        segments: Segment of each.
        topic_pairs: Source and target theme of each.
        config: How many.

    Returns:
        Indices, best first.
    """
    chosen: list[int] = []
    of_segment: Counter[str] = Counter()
    of_target: Counter[str] = Counter()
    of_pair: Counter[tuple[str, str]] = Counter()
    together: set[tuple[str, str]] = set()
    for index in np.argsort(-scores, kind="stable").tolist():
        segment, pair = segments[index], topic_pairs[index]
        if (
            of_segment[segment] >= config.most_per_segment
            or of_target[pair[1]] >= config.most_per_target_topic
            or of_pair[pair] >= config.most_per_topic_pair
            or (segment, pair[1]) in together
        ):
            continue
        chosen.append(index)
        of_segment[segment] += 1
        of_target[pair[1]] += 1
        of_pair[pair] += 1
        together.add((segment, pair[1]))
        if len(chosen) == config.most:
            break
    return chosen


def proposal_id(content: Mapping[str, object]) -> str:
    """A short name of what a proposal is about: the same content has the same one, on any day.

    Args:
        content: What it is about, JSON-able; keys in any order.
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return "p-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def rounded_budget(cost: float) -> float:
    """A budget that a person would write: the cost and a tenth, rounded up to two leading figures; at least 1."""
    wanted = max(cost * 1.1, 1.0)
    unit = 10.0 ** (math.floor(math.log10(wanted)) - 1)
    return round(math.ceil(round(wanted / unit, 9)) * unit, 2)


def best_channel(answers: Mapping[str, tuple[int, int]], prior: Rate, default: str) -> tuple[str, int]:
    """Channel with the highest posterior rate among those that were tried.

    Args:
        answers: Answers and exposures of each channel.
        prior: Rate of all channels together; it weighs as much as 50 exposures.
        default: Channel if none was tried.

    Returns:
        The channel, and the exposures that speak for it; 0 if it is the default.
    """
    tried = {name: counts for name, counts in answers.items() if counts[1] > 0}
    if not tried:
        return default, 0
    strength = 50.0

    def rate(name: str) -> float:
        hits, exposures = tried[name]
        return (hits + strength * prior.mean) / (exposures + strength)

    best = min(tried, key=lambda name: (-rate(name), name))
    return best, tried[best][1]


def _span(mean: float, drawn: Floats) -> Span:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Span(float(mean), float(low), float(high))
