"""Several models as one: a weighted sum of their scores or of their ranks.

Holds how scores of different models are made comparable, how their weights are found by validation, and the model that nests the
others. Which models are worth blending is decided by whoever fits them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.item_to_item import histories, present
from models_ml.metrics import ndcg
from models_ml.model import Additive, Arrays, ModelConfig, Recommender, keys_from_array, keys_to_array
from models_ml.reasons import Contributions, Reasons, name_strongest
from models_ml.retrieval import BLOCK_BYTES, NO_ITEM, TopK, top_k_by_scores, top_k_of_block

Calibration = Literal["score", "reciprocal_rank"]
# Constant of reciprocal rank fusion: how little the first ranks differ.
_RANK_OFFSET = 60
# Weights are searched in steps of one twentieth.
_UNITS = 20
# Share of known scores below which a member's are standardised one by one.
_FEW = 0.2


@dataclasses.dataclass(frozen=True)
class BlendConfig(ModelConfig):
    """Parameters of a blend.

    Attributes:
        members: Configurations of the models, at least one.
        weights: Weight of each member, >= 0 and not all 0.
        calibration: What is added up: `score`, standardised for each person, or `reciprocal_rank`.
        label: Name of the blend in tables.
        segment: Segment of people that the blend is for; None for everyone.
    """

    kind: ClassVar[str] = "blend"

    members: tuple[ModelConfig, ...]
    weights: tuple[float, ...]
    calibration: Calibration = "score"
    label: str = "blend"
    segment: str | None = None

    def __post_init__(self) -> None:
        # JSON has lists only.
        object.__setattr__(self, "members", tuple(self.members))
        object.__setattr__(self, "weights", tuple(self.weights))
        if not self.members or len(self.members) != len(self.weights):
            raise ValueError(f"a blend needs one weight for each member, got {self.weights} for {len(self.members)}")
        if not all(weight >= 0 for weight in self.weights) or not 0 < sum(self.weights) < np.inf:
            raise ValueError(f"weights must be finite, not negative and not all 0, got {self.weights}")
        if self.calibration not in get_args(Calibration):
            raise ValueError(f"calibration must be score or reciprocal_rank, got {self.calibration!r}")

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    def to_json(self) -> dict[str, Any]:
        """The parameters with `kind`, as JSON values; the members in the same form."""
        return {
            "kind": self.kind,
            "members": [member.to_json() for member in self.members],
            "weights": list(self.weights),
            "calibration": self.calibration,
            "label": self.label,
            "segment": self.segment,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class BlendModel:
    """score(u, i) = sum over members m with a say of w(m) c(m, u, i) / sum of their w(m).

    A member has a say for a person if it scores any item of the range that the person has not consumed. c is calibrated among
    those items. `score`: (s - mean) / standard deviation of the member's scores s for the person; an item that the member knows
    nothing about gets the person's smallest value. `reciprocal_rank`: 1 / (60 + rank), and 0 for such an item. An item about which
    no member knows anything has no score.

    Sources: standardised scores are those of Montague and Aslam, "Relevance Score Normalization for Metasearch", CIKM 2001;
    reciprocal ranks those of Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank
    Learning Methods", SIGIR 2009.

    Attributes:
        config: Parameters.
        item_keys: Keys of all items, the same for every member.
        members: The fitted models, in the order of the configuration.
    """

    config: BlendConfig
    item_keys: pa.StringArray
    members: tuple[Recommender, ...]

    def scores(self, people: Interactions, columns: range) -> NDArray[np.float32]:
        """See `Recommender.scores`."""
        return self._scored(people, columns, lambda position, found: None)

    def _scored(
        self, people: Interactions, columns: range, note: Callable[[int, "Calibrated"], None]
    ) -> NDArray[np.float32]:
        """`scores`; what each member with weight adds, before weights add up to 1, is told with the member's position."""
        total = np.zeros((people.shape[0], len(columns)), dtype=np.float32)
        weights = np.zeros((people.shape[0], 1), dtype=np.float32)
        known = np.zeros(total.shape, dtype=np.bool_)
        consumed = consumed_places(people, columns)
        for position, (member, weight) in enumerate(zip(self.members, self.config.weights, strict=True)):
            if weight:
                scores = member.scores(people, columns)
                known |= np.isfinite(scores)
                found = calibrated(scores, consumed, self.config.calibration)
                values = found.values
                values *= np.float32(weight)
                total += values
                weights[found.has_say] += np.float32(weight)
                note(position, found)
        known &= weights > 0
        total /= np.where(weights > 0, weights, np.float32(1))
        if not known.all():
            total[~known] = -np.inf
        return total

    def top_k(self, people: Interactions, columns: range, k: int) -> "BlendedLists":
        """See `Recommender.top_k`; with what `explain` needs of it. Memory is that for each member with weight."""
        parts = Parts.nothing(len(self.members), people.shape[0], k)
        everyone, unlisted = np.arange(people.shape[0]), dict[int, dict[int, Calibrated]]()

        def scores(start: int, stop: int) -> NDArray[np.float32]:
            unlisted[start] = {}
            return self._scored(people.take(everyone[start:stop]), columns, unlisted[start].__setitem__)

        def listed(start: int, stop: int, items: NDArray[np.int32]) -> None:
            for position, found in unlisted.pop(start).items():
                parts.put(position, everyone[start:stop], found, items - columns.start, self.config.weights[position])

        candidates = np.arange(columns.start, columns.stop, dtype=np.int64)
        lists = top_k_by_scores(scores, people.shape, candidates, people.consumed(), k, listed=listed)
        return BlendedLists(lists.items, lists.scores, parts.of_whole_weight())

    def explain(
        self, people: Interactions, items: NDArray[np.int32], most: int = 3, ranked: "BlendedLists | None" = None
    ) -> Reasons:
        """See `Recommender.explain`.

        What past items add together, through whatever members, is one voice; each other member is a voice of its own. The
        largest voice of a place speaks for it: where it is that of the past items, they are named, with the features that the
        loudest member among theirs has found; elsewhere the trait that the member has found, if any, and no past item.

        A share is that of a blended score without what is the same for all items of a person, the means that are taken off
        the members' scores: w(m) / sd(m, u) times what the item adds to the score of m, summed over the members, over the sum
        of the same for their whole scores, with what the other members add. So a blend of one model has the shares of that
        model. Reciprocal ranks are no sum over past items: there the shares are those of the loudest member's own score.

        Args:
            people: History of the people, as it was ranked by.
            items: Listed item indices of any domains, -1 for an empty place, shape (people, k).
            most: Largest number of past items and of shared features that are named.
            ranked: Lists of the same people in which the items were found, in any order; without them every member scores
                everything once more.

        Source: additive explanations with the mean as their base, Lundberg and Lee, "A Unified Approach to Interpreting Model
        Predictions", NIPS 2017, of a sum over past items as in Hu, Koren and Volinsky, ICDM 2008, section 5.
        """
        reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
        for rows, listed, parts in self._by_domain(people, items, ranked):
            found = self._explained(people.take(rows), listed, parts, most)
            reasons.put(rows, found, where=listed != NO_ITEM)
        return reasons

    def _explained(self, people: Interactions, items: NDArray[np.int32], parts: "Parts", most: int) -> Reasons:
        """`explain` for items of one domain."""
        reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
        by_past = np.array([isinstance(member, Additive) for member in self.members])
        heard = np.where(parts.has_say, parts.added, -np.inf)
        together = np.where(parts.has_say[by_past].any(axis=0), parts.added[by_past].sum(axis=0), -np.inf)
        past_speaks = together >= heard[~by_past].max(axis=0, initial=-np.inf)
        reasons.speaker[:] = np.where(past_speaks == by_past[:, None, None], heard, -np.inf).argmax(axis=0)
        everyone = np.arange(people.shape[0])
        is_sum = self.config.calibration == "score"
        for position, member in enumerate(self.members):
            speaks = (reasons.speaker == position) & (items != NO_ITEM) & parts.has_say[position]
            if speaks.any() and not (is_sum and isinstance(member, Additive) and not member.names_features):
                found = member.explain(people, np.where(speaks, items, NO_ITEM).astype(np.int32), most)
                found.speaker[:] = position
                reasons.put(everyone, found, where=speaks)
        if is_sum:
            reasons.items[:], reasons.shares[:] = NO_ITEM, 0
            listed = np.where(past_speaks, items, NO_ITEM).astype(np.int32)
            whole = parts.added.sum(axis=0) + (parts.scale[by_past] * parts.mean[by_past]).sum(axis=0)
            for contributed in self._contributions(people, listed, parts.scale):
                rows = contributed.people
                prior = whole[rows] - contributed.parts.sum(axis=2)
                name_strongest(reasons, contributed, listed[rows], prior)
        return reasons

    @property
    def names_features(self) -> bool:
        """See `Additive`."""
        return True

    def contributions(self, people: Interactions, items: NDArray[np.int32]) -> Iterator[Contributions]:
        """See `Additive.contributions`: w(m) / sd(m, u) times those of each member.

        What is left of the score is added by no past item: the means that are taken off, members whose score is no sum over past
        items, what a member adds that is the same for everyone (the prior of `bridge`, the offset of `mapped`), and the smallest
        value of a member that knows nothing about the item. Of reciprocal ranks all is left.
        """
        if self.config.calibration == "score":
            for rows, listed, parts in self._by_domain(people, items, None):
                for found in self._contributions(people.take(rows), listed, parts.scale):
                    found.parts[listed[found.people] == NO_ITEM] = 0
                    yield dataclasses.replace(found, people=rows[found.people])

    def _contributions(
        self, people: Interactions, items: NDArray[np.int32], scale: NDArray[np.float32]
    ) -> Iterator[Contributions]:
        """`contributions` with what a unit of each member's score adds, shape (members, people, 1)."""
        own = people.csr(np.ones(people.entries, dtype=np.float32))
        for rows, past, is_there in histories(own, items):
            block, listed = people.take(rows), items[rows]
            entries = block.rows * np.int64(block.shape[1]) + block.indices
            # One row more for what is beyond the end of a history.
            parts = np.zeros((len(rows), past.shape[1] + 1, items.shape[1]), dtype=np.float32)
            for position, member in enumerate(self.members):
                if not (isinstance(member, Additive) and scale[position, rows].any()):
                    continue
                for found in member.contributions(block, listed):
                    who = found.people[:, None]
                    entry = np.searchsorted(entries, who * np.int64(block.shape[1]) + found.past)
                    place = np.where(found.past != NO_ITEM, entry - block.indptr[who], past.shape[1])
                    added = found.parts * scale[position, rows[found.people], :, None]
                    parts[who, place] += added.transpose(0, 2, 1)
            yield Contributions(rows, present(past, is_there), parts[:, :-1].transpose(0, 2, 1))

    def _by_domain(
        self, people: Interactions, items: NDArray[np.int32], ranked: "BlendedLists | None"
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], "Parts"]]:
        """For each domain that items are of, the people with any, their items of it, and what members add to these."""
        for domain in people.domains:
            columns = people.domain_range(domain)
            is_here = (items >= columns.start) & (items < columns.stop)
            rows = np.flatnonzero(is_here.any(axis=1))
            if rows.size:
                listed = np.where(is_here[rows], items[rows], NO_ITEM).astype(np.int32)
                known = None if ranked is None else ranked.parts_of(rows, listed)
                yield rows, listed, known or self._parts(people.take(rows), listed, columns)

    def _parts(self, people: Interactions, items: NDArray[np.int32], columns: range) -> "Parts":
        """What each member adds to items of one domain."""
        parts, everyone = Parts.nothing(len(self.members), *items.shape), np.arange(people.shape[0])
        rows = max(1, BLOCK_BYTES // (4 * len(columns)))
        for start in range(0, people.shape[0], rows):
            block = everyone[start : start + rows]
            place = items[block] - columns.start
            note = partial(self._note, parts, block, place)
            self._scored(people.take(block), columns, note)
        return parts.of_whole_weight()

    def _note(
        self, parts: "Parts", block: NDArray[np.int64], place: NDArray[np.int32], position: int, found: "Calibrated"
    ) -> None:
        parts.put(position, block, found, place, self.config.weights[position])

    def describe(self) -> dict[str, Any]:
        """See `Recommender.describe`."""
        return {
            "model": self.config.name,
            "config": self.config.to_json(),
            "items": len(self.item_keys),
            "members": [member.describe() for member in self.members],
        }

    def to_arrays(self) -> Arrays:
        """See `Recommender.to_arrays`: those of member m under `member<m>/`, the item keys once."""
        arrays: Arrays = {"item_keys": keys_to_array(self.item_keys)}
        for position, member in enumerate(self.members):
            own = member.to_arrays()
            arrays |= {f"member{position}/{name}": own[name] for name in own if name != "item_keys"}
        return arrays

    @staticmethod
    def from_arrays(
        arrays: Arrays, config: BlendConfig, model_from_arrays: Callable[[Arrays, ModelConfig], Recommender]
    ) -> "BlendModel":
        """The model that `to_arrays` took apart.

        Args:
            arrays: What `to_arrays` gave.
            config: Parameters.
            model_from_arrays: Restores a member of any kind.
        """
        members = []
        for position, member in enumerate(config.members):
            prefix = f"member{position}/"
            own = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
            members.append(model_from_arrays({**own, "item_keys": arrays["item_keys"]}, member))
        return BlendModel(config, keys_from_array(arrays["item_keys"]), tuple(members))


def fit_blend(
    interactions: Interactions, config: BlendConfig, fit: Callable[[Interactions, ModelConfig], Recommender]
) -> BlendModel:
    """Fits every member.

    Args:
        interactions: What people did.
        config: Parameters.
        fit: Fits a member of any kind.
    """
    return BlendModel(config, interactions.item_keys, tuple(fit(interactions, member) for member in config.members))


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """What each member of a blend adds to places of lists of one domain.

    Attributes:
        added: Its calibrated score times its weight, of which the sum over the members is the blended score, float32, shape
            (members, people, k); that of an empty place means nothing.
        scale: What a unit of its score adds, 0 for ranks, float32, shape (members, people, 1).
        mean: The mean that is taken off its score, float32, shape (members, people, 1).
        weight: Its weight, 0 where it has no say of the person, float32, shape (members, people, 1).
    """

    added: NDArray[np.float32]
    scale: NDArray[np.float32]
    mean: NDArray[np.float32]
    weight: NDArray[np.float32]

    @property
    def has_say(self) -> NDArray[np.bool_]:
        """Whether a member says anything of a person, shape (members, people, 1)."""
        return self.weight > 0

    @staticmethod
    def nothing(members: int, people: int, k: int) -> "Parts":
        """Of members without a say."""
        return Parts(*(np.zeros((members, people, places), dtype=np.float32) for places in (k, 1, 1, 1)))

    def put(
        self,
        member: int,
        people: NDArray[np.int64],
        found: "Calibrated",
        columns: NDArray[np.int32],
        weight: float,
    ) -> None:
        """Writes what a member adds, before weights add up to 1, to the places of some people.

        Args:
            member: Position of the member.
            people: Rows to write to, shape (others,).
            found: Its scores, as they were calibrated, times its weight.
            columns: Column of the scores for each place, negative for an empty one, shape (others, k).
            weight: Its weight.
        """
        self.added[member, people] = np.take_along_axis(found.values, np.maximum(columns, 0), axis=1)
        own = np.float32(weight) * found.has_say
        self.scale[member, people, 0] = found.scale * own
        self.mean[member, people, 0] = found.mean
        self.weight[member, people, 0] = own

    def of_whole_weight(self) -> "Parts":
        """With the weights of the members that have a say adding up to 1."""
        whole = self.weight.sum(axis=0)
        whole[whole == 0] = 1
        for numbers in (self.added, self.scale, self.weight):
            numbers /= whole
        return self

    def set(self, people: NDArray[np.int64], other: "Parts") -> None:
        """Writes those of some people, with as many places, into these."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[:, people] = getattr(other, field.name)


@dataclasses.dataclass(frozen=True)
class BlendedLists(TopK):
    """Lists of a blend.

    Attributes:
        parts: What each member has added to each place.
    """

    parts: Parts

    def of(self, people: NDArray[np.integer]) -> "BlendedLists":
        """Those of some people."""
        fields = {field.name: getattr(self.parts, field.name)[:, people] for field in dataclasses.fields(self.parts)}
        return BlendedLists(self.items[people], self.scores[people], Parts(**fields))

    def parts_of(self, people: NDArray[np.int64], items: NDArray[np.int32]) -> Parts | None:
        """The parts of items in another order, -1 for an empty place, shape (others, k); None if some were not listed."""
        lists = self.of(people)
        order = np.argsort(lists.items, axis=1, kind="stable")
        width = np.int64(max(lists.items.max(initial=0), items.max(initial=0)) + 2)
        row = np.arange(len(people))[:, None] * width
        listed = (row + np.take_along_axis(lists.items, order, axis=1) + 1).ravel()
        wanted = (row + items + 1).ravel()
        place = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
        is_filled = items.ravel() != NO_ITEM
        if (listed[place] != wanted)[is_filled].any():
            return None
        column = np.where(is_filled, order.ravel()[place], 0).reshape(items.shape)
        added = np.take_along_axis(
            lists.parts.added, np.broadcast_to(column, (len(lists.parts.added), *column.shape)), 2
        )
        return dataclasses.replace(lists.parts, added=added)


class Calibrated(NamedTuple):
    """Scores of one model made comparable with those of others; see `calibrated`.

    Attributes:
        values: Finite, shape (people, columns); 0 for those of whom the model has no say.
        has_say: Of which people it has, shape (people,).
        mean: What was taken off the scores of each person, float32, shape (people,); 0 for ranks.
        scale: What they were multiplied with after that, float32, shape (people,); 0 for ranks.
    """

    values: NDArray[np.float32]
    has_say: NDArray[np.bool_]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of entries of a block."""


def calibrated(scores: NDArray[np.float32], consumed: Places, calibration: Calibration) -> Calibrated:
    """Scores of one model made comparable with those of others, as `BlendModel` says.

    Args:
        scores: Shape (people, columns), -inf where the model knows nothing.
        consumed: What may not be recommended again (see `consumed_places`).
        calibration: How.
    """
    known = np.isfinite(scores)
    few = np.count_nonzero(known, axis=1) < _FEW * scores.shape[1]
    if calibration != "reciprocal_rank" and few.any() and not few.all():
        # Each way rounds in its own manner: a person's way depends on the person alone, not on who else is in the block.
        both = Calibrated(
            np.empty_like(scores),
            np.empty(len(scores), dtype=np.bool_),
            *(np.empty(len(scores), dtype=np.float32) for _ in range(2)),
        )
        for part in (np.flatnonzero(few), np.flatnonzero(~few)):
            inside = np.isin(consumed[0], part)
            own = np.searchsorted(part, consumed[0][inside]), consumed[1][inside]
            for ours, theirs in zip(both, calibrated(scores[part], own, calibration), strict=True):
                ours[part] = theirs
        return both
    if calibration == "reciprocal_rank":
        known[consumed] = False
        nothing = np.zeros(len(scores), dtype=np.float32)
        has_rank = np.asarray(known.any(axis=1), dtype=np.bool_)
        return Calibrated(_reciprocal_ranks(scores, known), has_rank, nothing, nothing)
    # Sums over everything known less the few that are consumed: a mask over the whole block takes several times as long.
    rows, people = consumed[0], len(scores)
    hidden = known[consumed]
    known_of = np.count_nonzero(known, axis=1)
    count: NDArray[np.float64] = known_of - np.bincount(rows, weights=hidden, minlength=people)
    has_say = np.asarray(count > 0, dtype=np.bool_)
    count = np.maximum(count, 1)
    if few.all():
        return _standardised_few(scores, np.flatnonzero(known), consumed, count, has_say)
    # 0 for what is not known. Where it is scattered, a mask of bits, a product and `where` take a tenth to a third of the time of
    # `copyto` with a mask, and give the same bits.
    values = (scores.view(np.int32) & -known.astype(np.int32)).view(np.float32)
    total = values.sum(axis=1) - np.bincount(rows, weights=values[consumed], minlength=people)
    mean = (total / count).astype(np.float32)
    values -= mean[:, None]
    is_all_known = known_of.sum() == known.size
    if not is_all_known:
        values *= known
    squares = np.einsum("pi,pi->p", values, values) - np.bincount(
        rows, weights=np.square(values[consumed]) * hidden, minlength=people
    )
    scale = _inverse_deviation(squares / count, mean, has_say)
    values *= scale[:, None]
    if not is_all_known:
        candidates = np.where(known, values, np.float32(np.inf))
        candidates[consumed] = np.inf
        smallest = np.where(has_say, candidates.min(axis=1, initial=np.inf), np.float32(0))
        values = np.where(known, values, smallest[:, None])
    return Calibrated(values, has_say, mean, scale)


def _standardised_few(
    scores: NDArray[np.float32],
    known: NDArray[np.int64],
    consumed: Places,
    count: NDArray[np.float64],
    has_say: NDArray[np.bool_],
) -> Calibrated:
    """`calibrated` scores where few are known, by the flat places of these; `count` is of those not consumed, at least 1."""
    people, columns = scores.shape
    rows, values = known // columns, scores.reshape(-1)[known].astype(np.float64)
    counts = ~np.isin(known, consumed[0] * columns + consumed[1])
    mean = np.bincount(rows, weights=values * counts, minlength=people) / count
    values -= mean[rows]
    squares = np.bincount(rows, weights=np.square(values) * counts, minlength=people)
    smallest = np.full(people, np.inf)
    np.minimum.at(smallest, rows[counts], values[counts])
    smallest[~has_say] = 0
    scale = _inverse_deviation(squares / count, mean, has_say)
    found = np.repeat((smallest * scale).astype(np.float32), columns)
    found[known] = values * scale[rows]
    return Calibrated(found.reshape(people, columns), has_say, mean.astype(np.float32), scale)


def _inverse_deviation(
    variance: NDArray[np.float64], mean: NDArray[np.floating], has_say: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """1 / standard deviation, shape (people,); 0 where the model has no say or scores everything alike."""
    deviation = np.sqrt(np.maximum(variance, 0))
    # What is left of sums of equal scores is rounding.
    differs = has_say & (deviation > 1e-6 * np.abs(mean))
    return np.divide(1, deviation, out=np.zeros(len(mean)), where=differs).astype(np.float32)


def _reciprocal_ranks(scores: NDArray[np.float32], ranked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 / (60 + rank) among the ranked scores of each row, ties in the order of the columns; 0 for the others."""
    # One sort of numbers that hold the score and the column is several times as fast as a stable sort of positions.
    bits = (np.float32(0) - scores).view(np.int32)
    keys = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64) << 32
    keys[~ranked] = 0x7FFFFFFF << 32
    keys |= np.arange(scores.shape[1])
    keys.sort(axis=1)
    found = np.empty_like(scores)
    ranks = np.arange(1, scores.shape[1] + 1)
    np.put_along_axis(found, keys & 0xFFFFFFFF, (1 / (_RANK_OFFSET + ranks)).astype(np.float32)[None, :], axis=1)
    found[~ranked] = 0
    return found


def consumed_places(people: Interactions, columns: range) -> Places:
    """Where in a block of scores the items stand that people may not be recommended again."""
    consumed = people.is_consumed & (people.indices >= columns.start) & (people.indices < columns.stop)
    return people.rows[consumed].astype(np.int64), people.indices[consumed].astype(np.int64) - columns.start


def blend_weights(
    members: Sequence[Recommender],
    people: Interactions,
    columns: range,
    relevant: csr_matrix,
    calibration: Calibration = "score",
    *,
    k: int = 10,
    depth: int = 200,
    excluded: NDArray[np.bool_] | None = None,
) -> tuple[float, ...]:
    """Weights with the largest mean NDCG@k on validation, by coordinate ascent on the simplex.

    From the best of the single members and their equal mean, one twentieth to a half of the weight is moved from one member to
    another, as long as the best such move is a gain. The lists are chosen among each member's first `depth` items.

    Args:
        members: Models fitted without the relevant items.
        people: History of the validation people, as the members are to rank by.
        columns: Range of items to choose from.
        relevant: Validation people x all items CSR; every stored entry is relevant. People without any are left out.
        calibration: As in `BlendConfig`.
        k: Cutoff.
        depth: Items of each member that are looked at, >= k.
        excluded: Items that are left out of every list, shape (items,); default none.

    Returns:
        One weight for each member in steps of 0.05, which add up to 1. The first of equals is taken; without anybody to judge by,
        all weights are equal.
    """
    asked = np.flatnonzero(np.diff(relevant.indptr) > 0)
    if not asked.size:
        return tuple([1 / len(members)] * len(members))
    pool = _pool(members, people.take(asked), columns, relevant[asked], calibration, depth, excluded)
    wanted = np.diff(relevant[asked].indptr)

    def quality(units: tuple[int, ...]) -> float:
        return float(ndcg(pool.hits(np.array(units), k), wanted, k).mean())

    whole = len(members) * _UNITS
    single = [tuple(whole if one == other else 0 for one in range(len(members))) for other in range(len(members))]
    best = max([*single, (_UNITS,) * len(members)], key=quality)
    reached = quality(best)
    while True:
        moves = []
        for source, target in itertools.permutations(range(len(members)), 2):
            for step in (1, 2, 4, 10):
                amount = min(step * len(members), best[source])
                moved = list(best)
                moved[source] -= amount
                moved[target] += amount
                if amount:
                    moves.append(tuple(moved))
        if not moves:
            break
        candidate = max(moves, key=quality)
        if quality(candidate) <= reached:
            break
        best, reached = candidate, quality(candidate)
    return tuple(round(units / whole, 6) for units in best)


@dataclasses.dataclass(frozen=True, eq=False)
class _Pool:
    """Items that at least one member ranks high for a person, with what each member says of them.

    Attributes:
        values: Calibrated scores, float32, shape (members, people, pool); -inf beyond the end of a person's pool.
        is_relevant: Shape (people, pool).
        has_say: Shape (members, people).
    """

    values: NDArray[np.float32]
    is_relevant: NDArray[np.bool_]
    has_say: NDArray[np.bool_]

    def hits(self, weights: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
        """Which of the first k places of a blend are relevant, shape (people, at most k)."""
        used = np.flatnonzero(weights)
        blend = np.einsum("m,mpi->pi", weights[used].astype(np.float32), self.values[used])
        blend[~self.has_say[used].any(axis=0)] = -np.inf
        order = np.argsort(-blend, axis=1, kind="stable")[:, :k]
        listed = np.isfinite(np.take_along_axis(blend, order, axis=1))
        hits: NDArray[np.bool_] = np.take_along_axis(self.is_relevant, order, axis=1) & listed
        return hits


def _pool(
    members: Sequence[Recommender],
    people: Interactions,
    columns: range,
    relevant: csr_matrix,
    calibration: Calibration,
    depth: int,
    excluded: NDArray[np.bool_] | None,
) -> _Pool:
    """The first `depth` items of each member, ascending; in blocks of people."""
    blocks = []
    rows = max(1, BLOCK_BYTES // (4 * max(1, len(columns))))
    for start in range(0, people.shape[0], rows):
        block = np.arange(start, min(start + rows, people.shape[0]))
        part = people.take(block)
        consumed = consumed_places(part, columns)
        chosen = np.zeros((len(block), len(columns)), dtype=np.bool_)
        values, says = [], []
        for member in members:
            scores = member.scores(part, columns)
            calibrated_scores, has_say = calibrated(scores, consumed, calibration)[:2]
            values.append(calibrated_scores)
            says.append(has_say)
            scores[consumed] = -np.inf
            if excluded is not None:
                scores[:, excluded[columns.start : columns.stop]] = -np.inf
            lists = top_k_of_block(scores, depth)
            listed, place = np.nonzero(lists.items != NO_ITEM)
            chosen[listed, lists.items[listed, place]] = True
        size = int(chosen.sum(axis=1).max(initial=0))
        # Chosen items first, both in ascending order.
        place = np.argsort(~chosen, axis=1, kind="stable")[:, :size]
        filled = np.take_along_axis(chosen, place, axis=1)
        found = np.stack([np.where(filled, np.take_along_axis(one, place, axis=1), -np.inf) for one in values])
        wanted = relevant[block][:, columns.start : columns.stop].toarray() != 0
        blocks.append((found, np.take_along_axis(wanted, place, axis=1), np.stack(says)))
    size = max(found.shape[2] for found, _, _ in blocks)
    pad = [(0, 0), (0, 0)]
    return _Pool(
        np.concatenate(
            [np.pad(f, [*pad, (0, size - f.shape[2])], constant_values=-np.inf) for f, _, _ in blocks], axis=1
        ),
        np.concatenate([np.pad(w, [(0, 0), (0, size - w.shape[1])]) for _, w, _ in blocks]),
        np.concatenate([says for _, _, says in blocks], axis=1),
    )
