"""Several models as one: a weighted sum of their scores or of their ranks.

Holds how scores of different models are made comparable, how their weights are found by validation, and the model that nests the
others. Which models are worth blending is decided by whoever fits them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.item_to_item import histories, present
from models_ml.metrics import ndcg
from models_ml.model import Additive, Arrays, ModelConfig, Recommender, keys_from_array, keys_to_array, top_k_by_model
from models_ml.reasons import Contributions, Reasons, name_strongest
from models_ml.retrieval import BLOCK_BYTES, NO_ITEM, TopK, top_k_of_block

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
        total = np.zeros((people.shape[0], len(columns)), dtype=np.float32)
        weights = np.zeros((people.shape[0], 1), dtype=np.float32)
        known = np.zeros(total.shape, dtype=np.bool_)
        consumed = consumed_places(people, columns)
        for member, weight in zip(self.members, self.config.weights, strict=True):
            if weight:
                scores = member.scores(people, columns)
                known |= np.isfinite(scores)
                values, has_say = calibrated(scores, consumed, self.config.calibration)[:2]
                values *= np.float32(weight)
                total += values
                weights[has_say] += np.float32(weight)
        known &= weights > 0
        total /= np.where(weights > 0, weights, np.float32(1))
        if not known.all():
            total[~known] = -np.inf
        return total

    def top_k(self, people: Interactions, columns: range, k: int) -> TopK:
        """See `Recommender.top_k`."""
        return top_k_by_model(self, people, columns, k)

    def explain(self, people: Interactions, items: NDArray[np.int32], most: int = 3) -> Reasons:
        """See `Recommender.explain`.

        What past items add together, through whatever members, is one voice; each other member is a voice of its own. The
        largest voice of a place speaks for it: where it is that of the past items, they are named, with the features that the
        loudest member among theirs has found; elsewhere the trait that the member has found, if any, and no past item.

        A share is that of a blended score without what is the same for all items of a person, the means that are taken off
        the members' scores: w(m) / sd(m, u) times what the item adds to the score of m, summed over the members, over the sum
        of the same for their whole scores, with what the other members add. So a blend of one model has the shares of that
        model. Reciprocal ranks are no sum over past items: there the shares are those of the loudest member's own score.

        Source: additive explanations with the mean as their base, Lundberg and Lee, "A Unified Approach to Interpreting Model
        Predictions", NIPS 2017, of a sum over past items as in Hu, Koren and Volinsky, ICDM 2008, section 5.
        """
        parts = self._parts(people, items)
        reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
        by_past = np.array([isinstance(member, Additive) for member in self.members])
        silent = np.where(parts.has_say, np.float32(0), np.float32(-np.inf))
        heard = parts.added + silent
        together = np.where(parts.has_say[by_past].any(axis=0), parts.added[by_past].sum(axis=0), -np.inf)
        past_speaks = together >= heard[~by_past].max(axis=0, initial=-np.inf)
        reasons.speaker[:] = np.where(past_speaks == by_past[:, None, None], heard, -np.inf).argmax(axis=0)
        everyone = np.arange(people.shape[0])
        is_sum = self.config.calibration == "score"
        for position, member in enumerate(self.members):
            speaks = (reasons.speaker == position) & (items != NO_ITEM) & (parts.has_say[position])
            if speaks.any() and not (is_sum and isinstance(member, Additive) and not member.names_features):
                found = member.explain(people, np.where(speaks, items, NO_ITEM).astype(np.int32), most)
                found.speaker[:] = position
                reasons.put(everyone, found, where=speaks)
        if is_sum:
            reasons.items[:], reasons.shares[:] = NO_ITEM, 0
            listed = np.where(past_speaks, items, NO_ITEM).astype(np.int32)
            constant = np.einsum("mpk,mpk->pk", parts.scale[by_past], parts.mean[by_past])
            whole = parts.added.sum(axis=0) + constant
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
            yield from self._contributions(people, items, self._parts(people, items).scale)

    def _contributions(
        self, people: Interactions, items: NDArray[np.int32], scale: NDArray[np.float32]
    ) -> Iterator[Contributions]:
        """`contributions` with what a unit of each member's score adds to each place, shape (members, people, k)."""
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

    def _parts(self, people: Interactions, items: NDArray[np.int32]) -> "_Parts":
        """What each member adds to each place, calibrated over the place's domain."""
        parts = _Parts.nothing(len(self.members), *items.shape)
        for domain in people.domains:
            columns = people.domain_range(domain)
            listed = (items >= columns.start) & (items < columns.stop)
            asked = np.flatnonzero(listed.any(axis=1))
            rows = max(1, BLOCK_BYTES // (4 * max(1, len(columns))))
            for start in range(0, len(asked), rows):
                block = asked[start : start + rows]
                part, here = people.take(block), listed[block]
                place = np.where(here, items[block] - columns.start, 0)
                consumed = consumed_places(part, columns)
                for position, (member, weight) in enumerate(zip(self.members, self.config.weights, strict=True)):
                    if weight:
                        found = calibrated(member.scores(part, columns), consumed, self.config.calibration)
                        parts.put(position, block, here, weight, found, np.take_along_axis(found.values, place, axis=1))
        return parts.of_whole_weight()

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
class _Parts:
    """What each member of a blend adds to places of lists, all of shape (members, people, k).

    Attributes:
        added: Its calibrated score times its weight, of which the sum over the members is the blended score, float32.
        scale: What a unit of its score adds, float32; 0 for ranks.
        mean: The mean that is taken off its score, float32.
        has_say: Whether it says anything of the person.
        weight: Its weight, 0 where it has no say, float32.
    """

    added: NDArray[np.float32]
    scale: NDArray[np.float32]
    mean: NDArray[np.float32]
    has_say: NDArray[np.bool_]
    weight: NDArray[np.float32]

    @staticmethod
    def nothing(members: int, people: int, k: int) -> "_Parts":
        """Of members without a say."""
        shape = (members, people, k)
        added, scale, mean, weight = (np.zeros(shape, dtype=np.float32) for _ in range(4))
        return _Parts(added, scale, mean, np.zeros(shape, dtype=np.bool_), weight)

    def put(
        self,
        member: int,
        people: NDArray[np.int64],
        here: NDArray[np.bool_],
        weight: float,
        found: "Calibrated",
        values: NDArray[np.float32],
    ) -> None:
        """Writes what a member adds, before weights add up to 1, to some places of some people.

        Args:
            member: Position of the member.
            people: Rows to write to, shape (others,).
            here: Which places to write, shape (others, k).
            weight: Weight of the member.
            found: Its scores, as they were calibrated.
            values: Those of the places, shape (others, k).
        """
        here = here & found.has_say[:, None]
        numbers = (
            (self.added, values * np.float32(weight)),
            (self.scale, found.scale[:, None] * np.float32(weight)),
            (self.mean, found.mean[:, None]),
            (self.has_say, found.has_say[:, None]),
            (self.weight, np.float32(weight)),
        )
        for ours, theirs in numbers:
            ours[member, people] = np.where(here, theirs, ours[member, people])

    def of_whole_weight(self) -> "_Parts":
        """With the weights of the members that have a say adding up to 1."""
        whole = self.weight.sum(axis=0)
        whole[whole == 0] = 1
        for numbers in (self.added, self.scale, self.weight):
            numbers /= whole
        return self


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
    values = np.where(known, scores, np.float32(0))
    total = values.sum(axis=1) - np.bincount(rows, weights=values[consumed], minlength=people)
    mean = (total / count).astype(np.float32)
    values -= mean[:, None]
    unknown = ~known if known_of.sum() < known.size else None
    if unknown is not None:
        np.copyto(values, 0, where=unknown)
    squares = np.einsum("pi,pi->p", values, values) - np.bincount(
        rows, weights=np.square(values[consumed]) * hidden, minlength=people
    )
    scale = _inverse_deviation(squares / count, mean, has_say)
    values *= scale[:, None]
    if unknown is not None:
        candidates = np.where(known, values, np.float32(np.inf))
        candidates[consumed] = np.inf
        smallest = np.where(has_say, candidates.min(axis=1, initial=np.inf), np.float32(0))
        np.copyto(values, smallest[:, None], where=unknown)
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
