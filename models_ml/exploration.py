"""A share of the places of lists for items that little is known about, with the propensity of what is shown.

Holds the randomised logging policy: which items are explored, which places they get, and the probability of each. It is what
makes it possible to learn about new items, and to judge another policy from what people did with these lists. What people may
not see is decided by the caller and by `rules`, which model says what suits a person by `selection`.
"""

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.model import Recommender
from models_ml.popularity import PopularityModel
from models_ml.retrieval import BLOCK_BYTES
from models_ml.rules import EXPLORATION, NO_ORIGIN, NO_RULE, Caps, Ranked

# Standard deviations beyond which a score says no more about what suits a person.
_FARTHEST = 3.0
# Scores that differ by no more than rounding do not differ.
_NO_SPREAD = 1e-9


@dataclasses.dataclass(frozen=True)
class ExplorationConfig:
    """How much is explored.

    Attributes:
        share: Probability with which a place is given to an explored item, in [0, 1); 0 switches exploration off.
        first_place: First place that can be explored, counted from 1; the ones above it always show the best.
        most_interactions: An item with at most this many people is explored.
        most_items: Largest number of items explored; which ones, where there are more, changes with the seed.
        favour: How much the least known are favoured in the draw, >= 0: the weight of an item is (1 + people)^-favour. 0 draws
            all alike, which reaches more of a catalogue; 1 gives new items the most.
        fit: How much items that suit the person are favoured in the draw, >= 0, where a model says what does: the weight is
            multiplied by exp(fit x z), with z the standardised score; 0 draws without regard to the person.
        seed: Another seed is another draw of everything.
    """

    share: float = 0.0
    first_place: int = 4
    most_interactions: int = 5
    most_items: int = 1000
    favour: float = 1.0
    fit: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"the share of exploration must be at least 0 and less than 1, got {self.share}")
        if self.first_place < 1 or self.most_items < 1 or self.most_interactions < 0:
            raise ValueError(
                "first_place and most_items must be at least 1 and most_interactions at least 0, got "
                f"{self.first_place}, {self.most_items} and {self.most_interactions}"
            )
        if not 0 <= self.favour < np.inf:
            raise ValueError(f"favour must be at least 0 and finite, got {self.favour}")
        if not 0 <= self.fit < np.inf:
            raise ValueError(f"fit must be at least 0 and finite, got {self.fit}")


@dataclasses.dataclass(frozen=True, eq=False)
class ExplorationCandidates:
    """Items that may be explored.

    Attributes:
        items: Item indices, ascending, int32, shape (candidates,).
        weights: Positive weight of each in the draw, float64, shape (candidates,).
    """

    items: NDArray[np.int32]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.items.shape != self.weights.shape or not (np.diff(self.items) > 0).all():
            raise ValueError("candidates must be distinct items in ascending order with one weight each")
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise ValueError("the weights of candidates must be finite and positive")


def exploration_candidates(
    interactions: Interactions,
    columns: range,
    config: ExplorationConfig,
    *,
    excluded: NDArray[np.bool_] | None = None,
) -> ExplorationCandidates:
    """The items of a range that few people have had to do with, with the weight (1 + people)^-favour.

    Args:
        interactions: What people did; an item of the index that nobody knows has weight 1.
        columns: Range of items to choose from.
        config: Parameters. Where more than `most_items` qualify, those with the smallest keyed hash of their item key stay.
        excluded: Items that are left out, as if they were not there, shape (items,); none by default.
    """
    known = np.bincount(interactions.indices, minlength=interactions.shape[1])[columns.start : columns.stop]
    may = known <= config.most_interactions
    if excluded is not None:
        may &= ~excluded[columns.start : columns.stop]
    few = columns.start + np.flatnonzero(may)
    if len(few) > config.most_items:
        drawn = _hashes(interactions.item_keys.take(pa.array(few)), f"candidates:{config.seed}")
        few = np.sort(few[np.argsort(drawn, kind="stable")[: config.most_items]])
    weights = (1.0 + known[few - columns.start].astype(np.float64)) ** -config.favour
    return ExplorationCandidates(few.astype(np.int32), weights)


def explore(
    ranked: Ranked,
    people: Interactions,
    candidates: ExplorationCandidates,
    config: ExplorationConfig,
    *,
    suits: Recommender | None = None,
    forbidden: NDArray[np.bool_] | None = None,
    caps: Caps | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Ranked, NDArray[np.float64]]:
    """Gives a random share of places to items that little is known about.

    From the first place on, place by place: with probability `share` the place shows an item drawn from the candidates
    that the person may see and that neither the ranked list nor a place above holds, in proportion to the weights; else it
    shows the next item of the ranked list. So a ranked item moves down by one for each explored item above it and falls out at
    the end, and the list keeps its length. Places that a rule has filled are never explored. A candidate of a group that is
    full cannot be drawn; what counts is the whole ranked list, with what falls out at the end, and what the places above
    explored, so that exploration never exceeds a cap. Where no candidate is left, the next ranked item is shown for certain.

    The propensity of a place is the probability with which it shows the item that it shows, given what the places above
    it show, the candidates and the ranked list: 1 above the first place, 1 - share for a ranked item, share x weight / (sum
    of the weights of the candidates that could have been drawn there) for an explored one. Over all items the
    propensities of a place add up to 1; the probability of the whole list is their product.

    The draws depend on the key of the person, the domain of the candidates and the seed, not on the order or the blocks of
    people: they are a keyed hash (BLAKE2b) of the three, run through SplitMix64 by place.

    Args:
        ranked: The lists without exploration.
        people: The same people, for their keys and for what they have consumed.
        candidates: What may be explored.
        config: Parameters.
        suits: Says by its scores which candidates suit a person (see `suited`); without it, all are drawn alike.
        forbidden: Candidates that a person may not see for other reasons, shape (people, candidates).
        caps: Groups of which the lists of the same people hold a limited number.
        block_bytes: Memory for the weights and the counts of groups of one block of people.

    Returns:
        Lists of the same shape, in which explored items have the rule `EXPLORATION`, no origin and the score of the ranked item
        whose place they took; and the propensities, float64, shape (people, places), 1 for an empty place.

    Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014 (SplitMix64); the use of
    logged propensities: Bottou et al., "Counterfactual Reasoning and Learning Systems", JMLR 2013.
    """
    propensity = np.ones(ranked.items.shape, dtype=np.float64)
    if config.share == 0 or not len(candidates.items) or not people.shape[0]:
        return ranked, propensity
    shown = ranked.first(ranked.items.shape[1])
    target = people.domains[people.item_domain[candidates.items[0]]]
    streams = _hashes(people.user_keys, f"explore:{config.seed}:{target}")
    groups_of = None if caps is None or not len(caps.limits) else caps.members[candidates.items].astype(np.int32)
    rows = max(1, block_bytes // (16 * (len(candidates.items) + (0 if groups_of is None else groups_of.shape[1]))))
    for start in range(0, people.shape[0], rows):
        block = slice(start, min(start + rows, people.shape[0]))
        part = people.take(np.arange(block.start, block.stop))
        free = _may_see(ranked.items[block], part, candidates)
        if forbidden is not None:
            free &= ~forbidden[block]
        quota = None
        if caps is not None and groups_of is not None:
            quota = _Quota(caps.room(ranked.items[block], block), groups_of)
            free &= ~quota.full(np.arange(len(free)))
        _explore_block(
            Ranked(*(getattr(ranked, field.name)[block] for field in dataclasses.fields(Ranked))),
            Ranked(*(getattr(shown, field.name)[block] for field in dataclasses.fields(Ranked))),
            propensity[block],
            np.where(free, candidates.weights * suited(suits, part, candidates, config.fit), 0.0),
            candidates.items,
            streams[block],
            config,
            quota,
        )
    return shown, propensity


def suited(
    model: Recommender | None,
    people: Interactions,
    candidates: ExplorationCandidates,
    fit: float,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> NDArray[np.float64]:
    """What the weights of candidates are multiplied by for each person: exp(fit x z).

    z is the model's score standardised over the candidates that it can score for the person, bounded by -3 and 3, so that
    nothing is all but ruled out and no propensity gets too small to weigh by. It is rounded, so that it does not depend on
    who else is scored at the same time. A candidate without a score has z = 0, the mean.

    Args:
        model: Scores the candidates; None, and popularity, which says the same for everyone, favour none.
        people: Who they are to suit.
        candidates: What may be explored, all of one domain.
        fit: How much they are favoured, >= 0.
        block_bytes: Memory for the scores of a block of people.

    Returns:
        Positive factors that broadcast to shape (people, candidates).
    """
    if model is None or isinstance(model, PopularityModel) or not fit or not len(candidates.items):
        return np.ones((1, 1))
    columns = people.domain_range(people.domains[people.item_domain[candidates.items[0]]])
    scores = np.empty((people.shape[0], len(candidates.items)), dtype=np.float64)
    rows = max(1, block_bytes // (4 * len(columns)))
    for start in range(0, people.shape[0], rows):
        block = np.arange(start, min(start + rows, people.shape[0]))
        scores[block] = model.scores(people.take(block), columns)[:, candidates.items - columns.start]
    known = np.isfinite(scores)
    number = np.maximum(1, known.sum(axis=1, keepdims=True))
    centred = np.where(known, scores, 0.0)
    centred = np.where(known, centred - centred.sum(axis=1, keepdims=True) / number, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / number)
    z = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > _NO_SPREAD)
    factors: NDArray[np.float64] = np.exp(fit * np.round(np.clip(z, -_FARTHEST, _FARTHEST), 3))
    return factors


@dataclasses.dataclass(frozen=True, eq=False)
class _Quota:
    """What caps leave to explore for a block of people.

    Attributes:
        room: How many more of each group a list may hold, shape (people, groups); used up by `take`.
        groups_of: Candidates x groups, int32 CSR.
    """

    room: NDArray[np.int32]
    groups_of: csr_matrix

    def full(self, people: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Candidates of which a group is full, shape (people, candidates)."""
        return np.asarray((self.groups_of @ (self.room[people] <= 0).T.astype(np.int32)).T > 0)

    def take(self, people: NDArray[np.int64], choice: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts one candidate for each of some people; returns those for whom it has filled a group."""
        taken = self.groups_of[choice].toarray()
        self.room[people] -= taken
        filled: NDArray[np.int64] = people[((taken > 0) & (self.room[people] <= 0)).any(axis=1)]
        return filled


def _explore_block(
    ranked: Ranked,
    shown: Ranked,
    propensity: NDArray[np.float64],
    weights: NDArray[np.float64],
    candidates: NDArray[np.int32],
    streams: NDArray[np.uint64],
    config: ExplorationConfig,
    quota: _Quota | None,
) -> None:
    """Writes the lists of one block into `shown` and `propensity`; uses up `weights`, shape (people, candidates)."""
    lengths = ranked.lengths
    explored = np.zeros(len(lengths), dtype=np.int64)
    left = (weights > 0).sum(axis=1)
    for place in range(config.first_place - 1, ranked.items.shape[1]):
        # A place is filled by a rule if the ranked item that would stand there is: rules fill the first places only.
        may = (place < lengths) & (ranked.rules[np.arange(len(lengths)), place - explored] == NO_RULE)
        may &= left > 0
        drawn = may & (_uniform(streams, 2 * place) < config.share)

        rest = np.flatnonzero(~drawn & (place < lengths))
        source = place - explored[rest]
        for field in dataclasses.fields(Ranked):
            getattr(shown, field.name)[rest, place] = getattr(ranked, field.name)[rest, source]
        propensity[rest, place] = np.where(may[rest], 1 - config.share, 1.0)

        who = np.flatnonzero(drawn)
        if who.size:
            summed = np.cumsum(weights[who], axis=1)
            # Bounded, so that no rounding reaches the whole sum.
            wanted = _uniform(streams[who], 2 * place + 1) * summed[:, -1]
            wanted = np.minimum(wanted, np.nextafter(summed[:, -1], 0))
            # The first candidate whose sum exceeds what is wanted: one without weight adds nothing and is never the first.
            choice = (summed > wanted[:, None]).argmax(axis=1)
            propensity[who, place] = config.share * weights[who, choice] / summed[:, -1]
            shown.items[who, place] = candidates[choice]
            shown.scores[who, place] = ranked.scores[who, place - explored[who]]
            shown.origins[who, place] = NO_ORIGIN
            shown.rules[who, place] = EXPLORATION
            weights[who, choice] = 0.0
            explored[who] += 1
            left[who] -= 1
            if quota is not None:
                filled = quota.take(who, choice)
                weights[filled] = np.where(quota.full(filled), 0.0, weights[filled])
                left[filled] = (weights[filled] > 0).sum(axis=1)


def _may_see(items: NDArray[np.int32], people: Interactions, candidates: ExplorationCandidates) -> NDArray[np.bool_]:
    """Which candidates are neither consumed nor in the ranked list, shape (people, candidates)."""
    column = np.full(people.shape[1] + 1, len(candidates.items), dtype=np.int64)
    column[candidates.items] = np.arange(len(candidates.items))
    # One column more for what is no candidate, and the empty place -1 looks at the last entry of `column`.
    free = np.ones((people.shape[0], len(candidates.items) + 1), dtype=np.bool_)
    free[np.arange(len(items))[:, None], column[items]] = False
    free[people.rows[people.is_consumed], column[people.indices[people.is_consumed]]] = False
    return free[:, :-1]


def _hashes(keys: pa.StringArray, salt: str) -> NDArray[np.uint64]:
    """A keyed 64-bit hash of each text, shape (keys,)."""
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8, key=key).digest() for text in keys.to_pylist())
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _uniform(streams: NDArray[np.uint64], position: int) -> NDArray[np.float64]:
    """One number in [0, 1) of each stream: the output of SplitMix64 at a position."""
    step = np.uint64((0x9E3779B97F4A7C15 * (position + 1)) % 2**64)
    mixed = streams + step
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
