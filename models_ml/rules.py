"""Rules on ranked lists, given as data: exclusions, pins, caps and diversity.

Holds what a table of rules means and what it makes of ranked pools. A rule says what it is about (items, by their id,
topic, series, kind or language) and whom it concerns (people, by country, region or age). Which pools there are is decided by the
models; how items are explored is in `exploration`; the share of the other platform in a mixed list (`min_share`) is kept
where lists of both platforms meet, in the warehouse.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from models_ml.diversity import NO_PLACE, diversify
from models_ml.interactions import Interactions
from models_ml.retrieval import BLOCK_BYTES, NO_ITEM

ACTIONS = ("exclude", "pin", "cap", "min_share", "diversity")
RULE_COLUMNS = (
    "rule_id",
    "action",
    "target_domain",
    "item_id",
    "topic",
    "series",
    "item_kind",
    "language",
    "country",
    "region",
    "min_age",
    "per",
    "number",
    "is_active",
)
# What a cap counts for each of -> the column of the table of items that lists them, or names the one that there is.
CAPPED_PER = {"topic": "topics", "person": "people", "series": "series"}
ITEM_COLUMNS = ("item_key", "domain", "item_id", "kind", "language", *CAPPED_PER.values())

NO_ORIGIN = -1
NO_RULE = -1
EXPLORATION = -2
EXPLORATION_NAME = "exploration"

_KEPT, _CAPPED, _EMPTY = 0, 1, 2
_UNLIMITED = np.iinfo(np.int32).max


@dataclasses.dataclass(frozen=True, eq=False)
class Ranked:
    """Ranked items for a block of people, each with where it comes from.

    Attributes:
        items: Item index by rank, int32, shape (people, places); -1 where the list has run short, never before an item.
        scores: Score by rank, float32, shape (people, places).
        origins: What ranked the item, a code of the caller's, shape (people, places); `NO_ORIGIN` where no model did.
        rules: Which rule put the item in its place: a position in `Rules.ids`, `EXPLORATION`, or `NO_RULE`; int16,
            shape (people, places).
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    origins: NDArray[np.int16]
    rules: NDArray[np.int16]

    def __post_init__(self) -> None:
        shapes = {values.shape for values in (self.items, self.scores, self.origins, self.rules)}
        if len(shapes) != 1:
            raise ValueError(f"items, scores, origins and rules must have one shape, found {sorted(shapes)}")

    @staticmethod
    def of(items: NDArray[np.int32], scores: NDArray[np.float32], origins: NDArray[np.int16]) -> "Ranked":
        """Lists that no rule has touched."""
        return Ranked(items, scores, origins, np.full(items.shape, NO_RULE, dtype=np.int16))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of items in each list, shape (people,)."""
        lengths: NDArray[np.int64] = (self.items != NO_ITEM).sum(axis=1)
        return lengths

    def first(self, k: int) -> "Ranked":
        """The first k places, fresh arrays; empty places are added where there are fewer."""
        taken = np.broadcast_to(np.arange(k), (len(self.items), k))
        return self.at(np.where(taken < self.items.shape[1], taken, NO_PLACE))

    def at(self, places: NDArray[np.int64]) -> "Ranked":
        """The given places of each list, in the order asked for; -1 stands for an empty place.

        Args:
            places: Shape (people, places).
        """
        there = places != NO_PLACE
        empty = {"items": NO_ITEM, "scores": -np.inf, "origins": NO_ORIGIN, "rules": NO_RULE}
        if not self.items.shape[1]:
            return Ranked(**{n: np.full(places.shape, v, dtype=getattr(self, n).dtype) for n, v in empty.items()})
        at = np.where(there, places, 0)
        return Ranked(
            **{
                name: np.where(there, np.take_along_axis(getattr(self, name), at, axis=1), value).astype(
                    getattr(self, name).dtype
                )
                for name, value in empty.items()
            }
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """One active rule.

    Attributes:
        rule_id: Its name.
        action: One of `ACTIONS`, without `min_share`.
        number: Largest number of items (cap) or trade-off (diversity); NaN for the others.
        items: Which items it is about, shape (items,).
        per: What a cap counts for each of, a key of `CAPPED_PER`; empty for all of its items together.
        country: Country of the people whom it concerns; empty for any.
        region: Region of them; empty for any.
        min_age: It concerns people who may be younger than this, in years; None for any age.
    """

    rule_id: str
    action: str
    number: float
    items: NDArray[np.bool_]
    per: str = ""
    country: str = ""
    region: str = ""
    min_age: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Caps:
    """Groups of items of which the lists of some people hold a limited number.

    Attributes:
        members: Items x groups, int CSR.
        limits: Largest number of items of each group in a list, int32, shape (groups,).
        concerned: Whom the cap of each group concerns, shape (people, groups).
    """

    members: csr_matrix
    limits: NDArray[np.int32]
    concerned: NDArray[np.bool_]

    def room(self, items: NDArray[np.int32], people: slice) -> NDArray[np.int32]:
        """How many more of each group lists may hold, shape (people, groups); not positive where a group is full.

        Args:
            items: The lists of a range of the people, -1 for an empty place, shape (people, places).
            people: The range.
        """
        filled = items != NO_ITEM
        indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
        shape = (len(items), self.members.shape[0])
        held = csr_matrix((np.ones(int(indptr[-1]), dtype=np.int32), items[filled], indptr), shape) @ self.members
        room: NDArray[np.int32] = np.where(self.concerned[people], self.limits, _UNLIMITED) - held.toarray()
        return room.astype(np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Rules:
    """The active rules over one index of items.

    Attributes:
        rules: The rules by rule_id; pins go to the front in this order.
        members: For each key of `CAPPED_PER` the items x topics (or people, or series) matrix, bool CSR.
        year: Calendar year in which ages are reckoned.
        warnings: A sentence for each rule that changes nothing because what it is about, or whom, is not there.
        knows_people: Whether rules may look at who people are; if not, only exclusions do.
    """

    rules: tuple[Rule, ...]
    members: Mapping[str, csr_matrix]
    year: int
    warnings: tuple[str, ...] = ()
    knows_people: bool = True

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the rules; a code in `Ranked.rules` is a position in them."""
        return tuple(rule.rule_id for rule in self.rules)

    def names(self, codes: NDArray[np.int16]) -> pa.StringArray:
        """Names of the rules behind codes of `Ranked.rules`, NULL for `NO_RULE`."""
        known = pa.array([*self.ids, EXPLORATION_NAME], pa.string())
        position = np.where(codes == EXPLORATION, len(self.ids), codes)
        return known.take(pa.array(position, mask=codes == NO_RULE))

    def for_unknown_people(self) -> "Rules":
        """The same for people of whom nothing may be known but what exclusions keep from them."""
        return dataclasses.replace(self, knows_people=False)

    def acting(self, columns: range) -> list[Rule]:
        """The rules that may change a list of items in a range; a cap per topic, person or series only where there are any."""
        return [
            rule
            for rule in self.rules
            if (about := rule.items[columns.start : columns.stop]).any()
            and (not rule.per or self.members[rule.per][columns.start : columns.stop][about].nnz)
        ]

    def numbered(self, action: str) -> list[tuple[int, Rule]]:
        """The rules of one action with their positions."""
        return [(position, rule) for position, rule in enumerate(self.rules) if rule.action == action]

    def concerns(self, rule: Rule, people: Interactions) -> NDArray[np.bool_]:
        """Which people a rule concerns, shape (people,).

        A person whose country or region is not known is not concerned by a rule for one; a person whose birth decade is
        not known, or allows for it, may be too young.
        """
        if not self.knows_people and rule.action != "exclude":
            return np.full(people.shape[0], not (rule.country or rule.region))
        concerned = np.ones(people.shape[0], dtype=np.bool_)
        if rule.country:
            concerned &= _trait(people, "country", lambda value: value.casefold() == rule.country.casefold())
        if rule.region:
            concerned &= _trait(people, "region", lambda value: value.casefold() == rule.region.casefold())
        if rule.min_age is not None:
            # The youngest of a decade are born on its last day, and are a year younger until then.
            latest = self.year - rule.min_age - 10
            concerned &= ~_trait(people, "birth_decade", lambda value: int(float(value)) <= latest)
        return concerned

    def forbidden(self, people: Interactions, items: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of some items the exclusions keep from each person.

        Args:
            people: The people, with their traits.
            items: Item indices, shape (candidates,).

        Returns:
            Shape (people, candidates).
        """
        forbidden = np.zeros((people.shape[0], len(items)), dtype=np.bool_)
        for _, rule in self.numbered("exclude"):
            about = rule.items[items]
            if about.any():
                forbidden |= self.concerns(rule, people)[:, None] & about
        return forbidden

    def caps(self, people: Interactions, items: NDArray[np.int32]) -> Caps:
        """The caps that some of the items count for, without groups that are too small to exceed theirs.

        Args:
            people: The people, with their traits.
            items: Item indices, shape (candidates,).
        """
        if not self.numbered("cap"):
            nothing = csr_matrix((people.shape[1], 0), dtype=np.int8)
            return Caps(nothing, np.zeros(0, dtype=np.int32), np.zeros((people.shape[0], 0), dtype=np.bool_))
        groups, cap_of, limits = self._cap_groups
        sizes, asked = (np.asarray(part.sum(axis=0)).ravel() for part in (groups, groups[items]))
        used = np.flatnonzero((sizes > limits) & (asked > 0))
        concerned = np.zeros((people.shape[0], len(used)), dtype=np.bool_)
        for position in np.unique(cap_of[used]):
            concerned[:, cap_of[used] == position] = self.concerns(self.rules[position], people)[:, None]
        return Caps(groups[:, used], limits[used], concerned)

    @cached_property
    def _cap_groups(self) -> tuple[csr_matrix, NDArray[np.int64], NDArray[np.int32]]:
        """Items x groups of all caps side by side, the cap of each group (position in `rules`), and its limit."""
        matrices, cap_of, limits = [], [], []
        for position, rule in self.numbered("cap"):
            about = rule.items.astype(np.int8)
            matrix = self.members[rule.per].multiply(about[:, None]).tocsr() if rule.per else csr_matrix(about[:, None])
            matrices.append(matrix.T.tocsr())
            cap_of.append(np.full(matrix.shape[1], position, dtype=np.int64))
            limits.append(np.full(matrix.shape[1], int(rule.number), dtype=np.int32))
        groups = vstack(matrices, format="csr").T.tocsr()
        groups.eliminate_zeros()
        return groups, np.concatenate(cap_of), np.concatenate(limits)


@dataclasses.dataclass(frozen=True)
class RulesReport:
    """What rules did to lists.

    Attributes:
        lists: Lists looked at.
        places: For each rule, how many places it decided: of the first k of the pool those that an exclusion or a cap
            took away; the places that a pin holds; the places for which diversity fetched an item from further down.
        relaxed: Lists in which a cap gave way, because there was nothing else to show.
        shortened: Keys of the people whose list is shorter than their pool would have allowed.
        emptied: Keys of the people whose list is empty though their pool was not; they are among `shortened` too.
    """

    lists: int = 0
    places: Mapping[str, int] = dataclasses.field(default_factory=dict)
    relaxed: int = 0
    shortened: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()

    @staticmethod
    def total(reports: Iterable["RulesReport"]) -> "RulesReport":
        """What rules did to several blocks."""
        lists, relaxed = 0, 0
        places: dict[str, int] = {}
        shortened: list[str] = []
        emptied: list[str] = []
        for report in reports:
            lists, relaxed = lists + report.lists, relaxed + report.relaxed
            for rule_id, count in report.places.items():
                places[rule_id] = places.get(rule_id, 0) + count
            shortened += report.shortened
            emptied += report.emptied
        return RulesReport(lists, places, relaxed, tuple(shortened), tuple(emptied))


def rules_from_arrow(
    rules: pa.Table, items: pa.Table, interactions: Interactions, as_of: int, unprofiled: Interactions | None = None
) -> Rules:
    """The active rules of a table.

    Every condition of a row must hold; an empty one holds always. `exclude` keeps its items from the people it concerns.
    `pin` puts one item in front. `cap` allows at most `number` of its items in a list, for each topic, person or series where
    `per` says so. `diversity` re-ranks by maximal marginal relevance with `number` as the trade-off. Topics, series, kinds,
    countries and regions are compared without case; the language zh holds for zh-cn too.

    Args:
        rules: One row per rule, with the columns `RULE_COLUMNS`.
        items: One row per item, with the columns `ITEM_COLUMNS`; topics and people are lists of text, a series
            is one, NULL for an item that is part of none. Items that it does not have are known by their key only.
        interactions: The index of items; and the traits of everyone, to tell which rules concern nobody.
        as_of: Moment in which ages are reckoned, in microseconds since 1970.
        unprofiled: People who may not be profiled, with their traits: exclusions may concern nobody but them.

    Raises:
        ValueError: If a column is missing, an action, platform or `per` is unknown, a number is missing or out of its
            range, a condition does not go with the action, or two rules have one name. The message names the rule.
    """
    for table, of, columns in ((rules, "rules", RULE_COLUMNS), (items, "items", ITEM_COLUMNS)):
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise ValueError(f"the table of {of} lacks the column(s) {', '.join(missing)}")
    rows = sorted(rules.select(RULE_COLUMNS).to_pylist(), key=lambda row: str(row["rule_id"]))
    names = [row["rule_id"] for row in rows]
    for name in names:
        if not name or names.count(name) > 1 or name == EXPLORATION_NAME:
            raise ValueError(f"rule {name!r}: a rule_id must be given, once, and not be {EXPLORATION_NAME!r}")
    for row in rows:
        _check(row, interactions.domains)

    catalogue = _Catalogue(items, interactions)
    active = tuple(
        Rule(
            rule_id=row["rule_id"],
            action=row["action"],
            number=float("nan") if row["number"] is None else float(row["number"]),
            items=catalogue.about(row),
            per=row["per"] or "",
            country=row["country"] or "",
            region=row["region"] or "",
            min_age=row["min_age"],
        )
        for row in rows
        if row["is_active"] and row["action"] != "min_share"
    )
    made = Rules(
        active,
        {per: catalogue.members(column) for per, column in CAPPED_PER.items()},
        int(np.datetime64(as_of, "us").astype("datetime64[Y]").astype(np.int64)) + 1970,
    )
    return dataclasses.replace(made, warnings=tuple(_idle(made, interactions, unprofiled)))


def apply_rules(
    ranked: Ranked,
    people: Interactions,
    rules: Rules,
    columns: range,
    k: int,
    *,
    reserve: Ranked | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Ranked, RulesReport]:
    """Cuts lists of k from ranked pools, by the rules.

    In this order: what is excluded goes, and a pool that this leaves with fewer than k is filled up from the reserve; pinned
    items, unless consumed or excluded, go to the front; down the list, an item beyond a cap is passed over; of what is left,
    diversity chooses k. If that leaves fewer than k, what the caps passed over comes back at the end, in its order, while
    what is excluded never does. Pinned items count for caps and diversity, and are passed over by neither. Without a rule
    for `columns` the result is the first k places as they are.

    The relevance by which diversity chooses is 1 - place / k, the place counted from 0 after exclusions, pins and caps: with
    trade-off t, an item that is all like one above falls by k (1 - t) / t places. That is the same for every model, however
    its scores are scaled. Where several rules of diversity concern a person, the smallest trade-off holds.

    Args:
        ranked: Pools of distinct items in `columns` that the person has not consumed, longer than k so that there is
            something to move up.
        people: The people, with history, traits and, for diversity, content.
        rules: The rules.
        columns: The range of items that the lists are for.
        k: Length of the lists, >= 1.
        reserve: One list of items of `columns`, the same for everyone, best first, with scores in [0, 1] relative to the first,
            such as popularity; without it a list is short where exclusions leave too little of the pool.
        block_bytes: Memory for the counts of caps and for the likenesses of diversity.

    Returns:
        Lists, shape (people, k), and what was done. A moved item keeps its score; a pinned item from outside the pool gets
        the first score of the pool, 1 where it is empty.

    Raises:
        ValueError: If k is not positive, or diversity is asked for and nothing is known of the content of items.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    acting = rules.acting(columns)
    if not acting:
        return ranked.first(k), RulesReport(people.shape[0])

    counts = {rule.rule_id: 0 for rule in acting}
    remaining = _without_excluded(ranked, people, rules, k, counts)
    if reserve is not None:
        remaining = _filled_up(remaining, ranked, people, rules, k, reserve, block_bytes)
    pool, place = _with_pins(remaining, people, rules, columns, k, counts)
    trade_off, diversified_by = _trade_off(rules, people, columns)
    diverse = np.flatnonzero(trade_off < 1)
    capped_by = _capped(pool, people, rules, None if diverse.size else k, block_bytes)
    status = np.where(pool.items == NO_ITEM, _EMPTY, np.where(capped_by == NO_RULE, _KEPT, _CAPPED))
    order = np.argsort(status, axis=1, kind="stable")
    chosen = order[:, :k].copy()
    if diverse.size:
        kept = (status[diverse] == _KEPT).sum(axis=1)
        chosen[diverse] = _diverse(pool, people, diverse, order[diverse], kept, k, trade_off[diverse], block_bytes)
        fetched = (chosen[diverse, :, None] != order[diverse, None, :k]).all(axis=2)
        for position in np.unique(diversified_by[diverse]):
            counts[rules.ids[position]] += int(fetched[diversified_by[diverse] == position].sum())

    shown = np.zeros(place.shape, dtype=np.bool_)
    np.put_along_axis(shown, chosen, True, axis=1)
    lost = (capped_by != NO_RULE) & ~shown & (place >= 0) & (place < min(k, ranked.items.shape[1]))
    for position, count in zip(*np.unique(capped_by[lost], return_counts=True), strict=True):
        counts[rules.ids[position]] += int(count)

    lists = pool.at(chosen).first(k)
    wanted, got = np.minimum(ranked.lengths, k), lists.lengths
    keys = people.user_keys
    return lists, RulesReport(
        lists=people.shape[0],
        places=counts,
        relaxed=int(((capped_by != NO_RULE) & shown).any(axis=1).sum()),
        shortened=tuple(keys.take(pa.array(np.flatnonzero(got < wanted))).to_pylist()),
        emptied=tuple(keys.take(pa.array(np.flatnonzero((got == 0) & (wanted > 0)))).to_pylist()),
    )


def _without_excluded(ranked: Ranked, people: Interactions, rules: Rules, k: int, counts: dict[str, int]) -> Ranked:
    """Pools with an empty place for each excluded item."""
    gone = ranked.items == NO_ITEM
    for _, rule in rules.numbered("exclude"):
        if rule.rule_id in counts:
            hit = rule.items[ranked.items] & ~gone & rules.concerns(rule, people)[:, None]
            counts[rule.rule_id] += int(hit[:, :k].sum())
            gone |= hit
    return dataclasses.replace(ranked, items=np.where(gone, NO_ITEM, ranked.items))


def _filled_up(
    remaining: Ranked, ranked: Ranked, people: Interactions, rules: Rules, k: int, reserve: Ranked, block_bytes: int
) -> Ranked:
    """Pools that exclusions left with fewer than k items, with the best of the reserve behind them.

    An appended item scores s - (1 - p), with s the last score of the pool and p its own in the reserve, as in `serving`.
    """
    missing = np.where(remaining.lengths < ranked.lengths, k - remaining.lengths, 0)
    short = np.flatnonzero(missing > 0)
    width = int(missing.max(initial=0))
    if not short.size:
        return remaining
    listed = int(reserve.lengths[0])
    items, scores, origins = reserve.items[0, :listed], reserve.scores[0, :listed], reserve.origins[0, :listed]
    column = np.full(people.shape[1] + 1, listed, dtype=np.int64)
    column[items] = np.arange(listed)
    added = Ranked.of(*(np.zeros((people.shape[0], width), values.dtype) for values in (items, scores, origins)))
    added.items[:], added.origins[:] = NO_ITEM, NO_ORIGIN
    last = np.where(np.isfinite(ranked.scores), ranked.scores, np.inf).min(axis=1)
    rows = max(1, block_bytes // (4 * listed + 4))
    for start in range(0, len(short), rows):
        block = short[start : start + rows]
        part = people.take(block)
        free = np.ones((len(block), listed + 1), dtype=np.bool_)
        free[np.arange(len(block))[:, None], column[ranked.items[block]]] = False
        free[part.rows[part.is_consumed], column[part.indices[part.is_consumed]]] = False
        free = free[:, :listed] & ~rules.forbidden(part, items)
        order = np.cumsum(free, axis=1, dtype=np.int32)
        row, at = np.nonzero(free & (order <= missing[block, None]))
        place = order[row, at] - 1
        added.items[block[row], place], added.origins[block[row], place] = items[at], origins[at]
        added.scores[block[row], place] = last[block[row]] - (1 - scores[at])
    return _joined([remaining, added])


def _joined(parts: Sequence[Ranked]) -> Ranked:
    """The places of several lists of the same people side by side."""
    names = [field.name for field in dataclasses.fields(Ranked)]
    return Ranked(*(np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names))


def _with_pins(
    ranked: Ranked, people: Interactions, rules: Rules, columns: range, k: int, counts: dict[str, int]
) -> tuple[Ranked, NDArray[np.int64]]:
    """Pools without empty places, with what is pinned in front, and the place that each item had, -1 for a new one."""
    width = ranked.items.shape[1]
    gone = ranked.items == NO_ITEM
    first_score = np.where(ranked.lengths > 0, ranked.scores[:, 0], 1) if width else np.ones(people.shape[0])
    front: list[Ranked] = []
    front_place: list[NDArray[np.int64]] = []
    pinned = np.zeros(people.shape[0], dtype=np.int64)
    for position, rule in rules.numbered("pin"):
        if rule.rule_id not in counts:
            continue
        item = columns.start + int(np.argmax(rule.items[columns.start : columns.stop]))
        holds = rules.concerns(rule, people) & ~rules.forbidden(people, np.array([item], dtype=np.int32))[:, 0]
        holds[people.rows[(people.indices == item) & people.is_consumed]] = False
        for other in front:
            holds &= other.items[:, 0] != item
        holds &= pinned < k
        pinned += holds
        counts[rule.rule_id] += int(holds.sum())
        found = (ranked.items == item) & holds[:, None]
        gone |= found
        place = np.where(found.any(axis=1), found.argmax(axis=1), NO_PLACE) if width else np.full(len(holds), NO_PLACE)
        own = ranked.at(place[:, None])
        new = holds & (place == NO_PLACE)
        front.append(
            Ranked(
                np.where(holds[:, None], np.int32(item), NO_ITEM).astype(np.int32),
                np.where(new, first_score, own.scores[:, 0])[:, None].astype(np.float32),
                own.origins,
                np.where(holds[:, None], position, NO_RULE).astype(np.int16),
            )
        )
        front_place.append(np.asarray(place)[:, None])

    pool = _joined([*front, dataclasses.replace(ranked, items=np.where(gone, NO_ITEM, ranked.items))])
    old = np.concatenate([*front_place, np.broadcast_to(np.arange(width), (people.shape[0], width))], axis=1)
    if not pool.items.shape[1]:
        return ranked.first(1), np.full((people.shape[0], 1), NO_PLACE, dtype=np.int64)
    order = np.argsort(pool.items == NO_ITEM, axis=1, kind="stable")
    empty = np.take_along_axis(pool.items, order, axis=1) == NO_ITEM
    return pool.at(np.where(empty, NO_PLACE, order)), np.take_along_axis(old, order, axis=1)


def _capped(
    pool: Ranked, people: Interactions, rules: Rules, enough: int | None, block_bytes: int
) -> NDArray[np.int64]:
    """The cap (position in the rules) that passes each place over, `NO_RULE` for those it keeps, shape (people, pool).

    Args:
        pool: The pools.
        people: The people.
        rules: The rules.
        enough: Kept items at which a list is full, so that what comes after need not be looked at; None for no end.
        block_bytes: Memory for the counts of one block.
    """
    capped_by = np.full(pool.items.shape, NO_RULE, dtype=np.int64)
    caps = rules.numbered("cap")
    present = np.unique(pool.items[pool.items != NO_ITEM])
    if not caps or not present.size:
        return capped_by
    groups, cap_of, limits = rules._cap_groups
    members = groups[present]
    used, local = np.unique(members.indices, return_inverse=True)
    if not used.size:
        return capped_by
    # The groups of each item, one row an item, padded with a group that is never full; the last row is the empty place.
    sizes = np.diff(members.indptr)
    padded = np.full((len(present) + 1, int(sizes.max())), len(used), dtype=np.int64)
    owner = np.repeat(np.arange(len(present)), sizes)
    padded[owner, np.arange(len(owner)) - members.indptr[:-1][owner]] = local
    limit = np.append(limits[used], _UNLIMITED)
    cap = np.append(cap_of[used], cap_of[used[0]])
    concerned = np.zeros((people.shape[0], len(rules.rules)), dtype=np.bool_)
    for position, rule in caps:
        concerned[:, position] = rules.concerns(rule, people)

    rows = max(1, block_bytes // (4 * len(limit)))
    for start in range(0, people.shape[0], rows):
        block = np.arange(start, min(start + rows, people.shape[0]))
        groups_of = padded[
            np.where(pool.items[block] == NO_ITEM, len(present), np.searchsorted(present, pool.items[block]))
        ]
        if enough is not None:
            broken = _breaks(groups_of[:, :enough], limit, cap, concerned[block])
            block, groups_of = block[broken], groups_of[broken]
        counted = np.zeros((len(block), len(limit)), dtype=np.int32)
        row = np.arange(len(block))[:, None]
        kept = np.zeros(len(block), dtype=np.int64)
        for place in range(pool.items.shape[1]):
            if enough is not None and (kept >= enough).all():
                break
            own = groups_of[:, place]
            full = (counted[row, own] >= limit[own]) & concerned[block[:, None], cap[own]]
            full &= pool.rules[block, place, None] == NO_RULE
            passed = full.any(axis=1)
            capped_by[block[passed], place] = cap[own[passed, full[passed].argmax(axis=1)]]
            counted[row, own] += ~passed[:, None]
            kept += ~passed & (pool.items[block, place] != NO_ITEM)
    return capped_by


def _breaks(
    groups_of: NDArray[np.int64], limit: NDArray[np.int32], cap: NDArray[np.int64], concerned: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whose first places hold more of some group than its limit, shape (people,); for the others a cap changes nothing.

    Args:
        groups_of: Groups of each of the first places, shape (people, places, groups of an item).
        limit: Limit of each group.
        cap: Cap of each group.
        concerned: Whom each rule concerns, shape (people, rules).
    """
    row = np.arange(len(groups_of), dtype=np.int64)[:, None, None]
    there, counts = np.unique(row * len(limit) + groups_of, return_counts=True)
    owner, group = np.divmod(there, len(limit))
    broken = np.zeros(len(groups_of), dtype=np.bool_)
    broken[owner[(counts > limit[group]) & concerned[owner, cap[group]]]] = True
    return broken


def _trade_off(rules: Rules, people: Interactions, columns: range) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The smallest trade-off that concerns each person, 1 for none, and the rule that it is from."""
    trade_off = np.ones(people.shape[0], dtype=np.float32)
    by = np.full(people.shape[0], NO_RULE, dtype=np.int64)
    for position, rule in rules.numbered("diversity"):
        if rule.items[columns.start : columns.stop].any():
            smaller = rules.concerns(rule, people) & (trade_off > np.float32(rule.number))
            trade_off[smaller], by[smaller] = rule.number, position
    return trade_off, by


def _diverse(
    pool: Ranked,
    people: Interactions,
    diverse: NDArray[np.int64],
    order: NDArray[np.int64],
    kept: NDArray[np.int64],
    k: int,
    trade_off: NDArray[np.float32],
    block_bytes: int,
) -> NDArray[np.int64]:
    """Places of the k that diversity chooses; what caps passed over comes after.

    Args:
        pool: The pools of everyone.
        people: Everyone.
        diverse: Whom it concerns.
        order: Their places, those that no cap passes over first.
        kept: How many those are.
        k: Length of the lists.
        trade_off: Theirs.
        block_bytes: Memory for the likenesses of one block.
    """
    if people.content is None:
        raise ValueError("a rule asks for diversity, but nothing is known of what items are about")
    is_kept = np.arange(order.shape[1]) < kept[:, None]
    at = np.where(is_kept, order, 0)
    items = np.where(is_kept, pool.items[diverse[:, None], at], NO_ITEM).astype(np.int32)
    pinned = (is_kept & (pool.rules[diverse[:, None], at] != NO_RULE)).sum(axis=1)
    relevance = np.broadcast_to((1 - np.arange(items.shape[1]) / k).astype(np.float32), items.shape)
    found = diversify(items, relevance, people.content.features, k, trade_off, fixed=pinned, block_bytes=block_bytes)[
        :, : order.shape[1]
    ]
    chosen = np.take_along_axis(order, np.maximum(found, 0), axis=1)
    return np.where(found == NO_PLACE, order[:, :k], chosen)


def _trait(people: Interactions, name: str, holds: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Of which people a condition holds on the value of a trait; of nobody whose value is not known."""
    if people.traits is None or name not in people.traits.names:
        return np.zeros(people.shape[0], dtype=np.bool_)
    position = people.traits.names.index(name)
    held = np.array([bool(holds(value)) for value in people.traits.values[position]] + [False])
    return np.asarray(held[people.traits.codes[:, position]], dtype=np.bool_)


def _check(row: Mapping[str, Any], domains: Sequence[str]) -> None:
    """Raise unless a row of the table of rules makes sense."""

    def refuse(found: str, expected: str) -> None:
        raise ValueError(f"rule {row['rule_id']!r}: {found}; {expected}")

    action, number = row["action"], row["number"]
    if action not in ACTIONS:
        refuse(f"unknown action {action!r}", f"known are {', '.join(ACTIONS)}")
    if row["target_domain"] and row["target_domain"] not in domains:
        refuse(f"unknown platform {row['target_domain']!r}", f"known are {', '.join(domains)}, empty for both")
    about = [name for name in ("item_id", "topic", "series", "item_kind", "language") if row[name]]
    whom = [name for name in ("country", "region") if row[name]]
    if action == "exclude" and not about:
        refuse("it would exclude everything", "say what it is about: item_id, topic, series, item_kind or language")
    if action == "pin" and not row["item_id"]:
        refuse("it does not say what to pin", "an item_id is expected")
    if action in ("min_share", "diversity") and about:
        refuse(f"{action} with {', '.join(about)}", "it is about whole lists, without a condition on items")
    if action == "min_share" and whom:
        refuse(f"min_share with {', '.join(whom)}", "it holds for everyone")
    if row["min_age"] is not None and (action != "exclude" or row["min_age"] < 1):
        refuse(f"{action} with min_age {row['min_age']}", "an age of at least 1 is expected, in an exclusion")
    if row["per"] and (action != "cap" or row["per"] not in CAPPED_PER):
        refuse(f"{action} per {row['per']!r}", f"a cap can be per {', '.join(CAPPED_PER)}")
    if action == "cap" and (number is None or number < 1 or number != int(number)):
        refuse(f"number is {number}", "a whole number of at least 1 is expected in a cap")
    if action in ("min_share", "diversity") and (number is None or not 0 <= number <= 1):
        refuse(f"number is {number}", f"a number from 0 to 1 is expected in {action}")


def _idle(rules: Rules, interactions: Interactions, unprofiled: Interactions | None) -> Iterable[str]:
    """A sentence for each rule that changes nothing."""
    for rule in rules.rules:
        if not rule.items.any():
            yield f"rule {rule.rule_id!r} is about no item that is known; check its item_id, topic, series, item_kind and language"
            continue
        people = [interactions] if unprofiled is None or rule.action != "exclude" else [interactions, unprofiled]
        if not any(rules.concerns(rule, group).any() for group in people):
            yield f"rule {rule.rule_id!r} concerns nobody; check its country, region and min_age"


class _Catalogue:
    """What is known of the items of an index, aligned with it."""

    def __init__(self, items: pa.Table, interactions: Interactions) -> None:
        keys = pc.cast(items.column("item_key"), pa.string()).combine_chunks()
        rows = pc.index_in(interactions.item_keys, value_set=keys)
        self._items = items.select([name for name in ITEM_COLUMNS if name != "item_key"]).combine_chunks().take(rows)
        self._keys = interactions.item_keys
        self._domains = np.array(interactions.domains)[interactions.item_domain]

    def about(self, row: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which items a rule is about."""
        about = np.ones(len(self._keys), dtype=np.bool_)
        if row["target_domain"]:
            about &= self._domains == row["target_domain"]
        if row["item_id"]:
            by_id = pc.fill_null(pc.equal(pc.cast(self._items.column("item_id"), pa.string()), row["item_id"]), False)
            by_key = pc.equal(self._keys, row["item_id"])
            about &= np.asarray(by_id) | np.asarray(by_key)
        if row["item_kind"]:
            about &= self._is("kind", lambda value: value == row["item_kind"].casefold())
        if row["series"]:
            about &= self._is("series", lambda value: value == row["series"].casefold())
        if row["language"]:
            tag = row["language"].casefold()
            about &= self._is("language", lambda value: value == tag or value.startswith(f"{tag}-"))
        if row["topic"]:
            members, names = self._listed("topics")
            wanted = np.array([name.casefold() == row["topic"].casefold() for name in names], dtype=np.int64)
            about &= np.asarray(members.astype(np.int64) @ wanted > 0) if len(names) else False
        return about

    def members(self, column: str) -> csr_matrix:
        """Items x what a column of lists, or of texts without regard to case, holds."""
        return self._listed(column)[0]

    def _is(self, column: str, holds: Callable[[str], bool]) -> NDArray[np.bool_]:
        encoded = pc.cast(self._items.column(column), pa.string()).combine_chunks().dictionary_encode()
        held = np.array([bool(holds(value.casefold())) for value in encoded.dictionary.to_pylist()] + [False])
        codes = pc.fill_null(encoded.indices, len(held) - 1)
        return np.asarray(held[codes.to_numpy(zero_copy_only=False)], dtype=np.bool_)

    def _listed(self, column: str) -> tuple[csr_matrix, list[str]]:
        listed = self._items.column(column).combine_chunks()
        if pa.types.is_list(listed.type):
            owner, values = pc.list_parent_indices(listed).to_numpy(), pc.list_flatten(listed)
        else:
            owner, values = np.arange(len(listed)), pc.utf8_lower(pc.cast(listed, pa.string()))
        values = pc.cast(values, pa.string()).dictionary_encode()
        codes = pc.fill_null(values.indices, NO_ITEM).to_numpy(zero_copy_only=False)
        known = codes != NO_ITEM
        names = values.dictionary.to_pylist()
        matrix = csr_matrix(
            (np.ones(int(known.sum()), dtype=np.bool_), (owner[known], codes[known])),
            shape=(len(self._keys), len(names)),
        )
        return matrix, names
