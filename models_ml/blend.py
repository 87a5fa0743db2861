"""Several models as one: a weighted sum of their scores or of their ranks.

Holds how scores of different models are made comparable, how their weights are found by validation, and the model that nests the
others. Which models are worth blending is decided by whoever fits them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from models_ml.interactions import Interactions
from models_ml.metrics import ndcg
from models_ml.model import Arrays, ModelConfig, Recommender, keys_from_array, keys_to_array, top_k_by_model
from models_ml.reasons import Reasons
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
                values, has_say = calibrated(scores, consumed, self.config.calibration)
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
        """See `Recommender.explain`: the reasons of the member that adds most to the place, among those that have one.

        The shares are of that member's own score.
        """
        added = self._added(people, items)
        nothing = Reasons.nothing(items.shape[0], items.shape[1], most)
        found = [
            member.explain(people, items, most) if weight else nothing
            for member, weight in zip(self.members, self.config.weights, strict=True)
        ]
        has_reason = np.stack(
            [(part.items >= 0).any(axis=2) | (part.features >= 0).any(axis=2) | (part.trait >= 0) for part in found]
        )
        speaker = np.where(has_reason, added, -np.inf).argmax(axis=0)
        reasons = Reasons.nothing(items.shape[0], items.shape[1], most)
        everyone = np.arange(people.shape[0])
        for position, part in enumerate(found):
            reasons.put(everyone, part, where=(speaker == position) & has_reason[position] & (items != NO_ITEM))
        return reasons

    def _added(self, people: Interactions, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """What each member adds to each place, calibrated over the place's domain; shape (members, people, k)."""
        added = np.full((len(self.members), *items.shape), -np.inf, dtype=np.float32)
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
                        values, has_say = calibrated(member.scores(part, columns), consumed, self.config.calibration)
                        values = np.float32(weight) * np.take_along_axis(values, place, axis=1)
                        added[position, block] = np.where(here & has_say[:, None], values, added[position, block])
        return added

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


Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of entries of a block."""


def calibrated(
    scores: NDArray[np.float32], consumed: Places, calibration: Calibration
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores of one model made comparable with those of others, as `BlendModel` says.

    Args:
        scores: Shape (people, columns), -inf where the model knows nothing.
        consumed: What may not be recommended again (see `consumed_places`).
        calibration: How.

    Returns:
        Finite values, shape (people, columns), and for which people the model has a say, shape (people,). The values of
        those for whom it has none are 0.
    """
    known = np.isfinite(scores)
    few = np.count_nonzero(known, axis=1) < _FEW * scores.shape[1]
    if calibration != "reciprocal_rank" and few.any() and not few.all():
        # Each way rounds in its own manner: a person's way depends on the person alone, not on who else is in the block.
        values, has_say = np.empty_like(scores), np.empty(len(scores), dtype=np.bool_)
        for part in (np.flatnonzero(few), np.flatnonzero(~few)):
            inside = np.isin(consumed[0], part)
            own = np.searchsorted(part, consumed[0][inside]), consumed[1][inside]
            values[part], has_say[part] = calibrated(scores[part], own, calibration)
        return values, has_say
    if calibration == "reciprocal_rank":
        known[consumed] = False
        return _reciprocal_ranks(scores, known), np.asarray(known.any(axis=1), dtype=np.bool_)
    # Sums over everything known less the few that are consumed: a mask over the whole block takes several times as long.
    rows, people = consumed[0], len(scores)
    hidden = known[consumed]
    known_of = np.count_nonzero(known, axis=1)
    count: NDArray[np.float64] = known_of - np.bincount(rows, weights=hidden, minlength=people)
    has_say = np.asarray(count > 0, dtype=np.bool_)
    count = np.maximum(count, 1)
    if few.all():
        return _standardised_few(scores, np.flatnonzero(known), consumed, count, has_say), has_say
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
    values *= _inverse_deviation(squares / count, mean, has_say)[:, None]
    if unknown is not None:
        candidates = np.where(known, values, np.float32(np.inf))
        candidates[consumed] = np.inf
        smallest = np.where(has_say, candidates.min(axis=1, initial=np.inf), np.float32(0))
        np.copyto(values, smallest[:, None], where=unknown)
    return values, has_say


def _standardised_few(
    scores: NDArray[np.float32],
    known: NDArray[np.int64],
    consumed: Places,
    count: NDArray[np.float64],
    has_say: NDArray[np.bool_],
) -> NDArray[np.float32]:
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
    return found.reshape(people, columns)


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
            calibrated_scores, has_say = calibrated(scores, consumed, calibration)
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
