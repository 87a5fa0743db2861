"""Ranked lists for everyone.

Holds the way from fitted models to the rows that are published: which segment a person is in, which model serves them, what rules
and exploration make of the list, and why each item is in it. Keys and codes only: titles and texts are joined in the warehouse.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.blend import BlendedLists, BlendModel, Parts
from models_ml.costs import Ledger
from models_ml.diversity import NO_PLACE
from models_ml.evaluation import COLD_ITEM, SERVING_SEGMENTS, serving_segments
from models_ml.exploration import ExplorationCandidates, ExplorationConfig, exploration_candidates, explore
from models_ml.interactions import Interactions
from models_ml.metrics import hit_matrix
from models_ml.model import ModelConfig
from models_ml.reasons import Reasons
from models_ml.retrieval import BLOCK_BYTES, NO_ITEM, TopK
from models_ml.rules import EXPLORATION, NO_ORIGIN, Ranked, Rules, RulesReport, apply_rules
from models_ml.segment_popularity import SegmentPopularityModel
from models_ml.selection import FittedModels
from models_ml.serving import serve

SCORED_SCHEMA = pa.schema(
    [
        ("user_key", pa.string()),
        ("target_domain", pa.string()),
        ("rank", pa.int32()),
        ("item_key", pa.string()),
        ("score", pa.float64()),
        ("strategy", pa.string()),
        ("reason_code", pa.string()),
        ("reason_item_key", pa.string()),
        ("reason_share", pa.float64()),
        ("reason_item_key_2", pa.string()),
        ("reason_share_2", pa.float64()),
        ("reason_item_key_3", pa.string()),
        ("reason_share_3", pa.float64()),
        ("reason_topic", pa.string()),
        ("reason_segment", pa.string()),
        ("propensity", pa.float64()),
        ("rule", pa.string()),
        ("model_version", pa.string()),
    ]
)

REASON_CODES = (
    "because_you_enjoyed",
    "similar_taste",
    "other_side_taste",
    "similar_people",
    "shared_topics",
    "popular_in_segment",
    "popular_now",
    "rising_now",
    "popular",
    "popular_then",
    "new_here",
    "picked_for_you",
)
_NO_REASON_OF_THEIR_OWN = {
    "popularity": "popular",
    "recent_popularity": "popular_now",
    "rising": "rising_now",
    "segment_popularity": "popular",
    "contemporary_popularity": "popular_then",
    "user_neighbours": "similar_people",
}
# Codes whose evidence is past items of the person.
_BY_ITEMS = ("because_you_enjoyed", "other_side_taste", "similar_people", "shared_topics")
_MOST_REASONS = 3
_MOST_TOPICS = 2
_EXPLORED, _PINNED = "exploration", "rule"


@dataclasses.dataclass(frozen=True)
class ScoringConfig:
    """How lists are made.

    Attributes:
        k: Length of the lists.
        pool: Places of the pool that rules choose from, for each place of the list.
        block_people: People in one batch; memory is about 400 bytes x people x k x pool, and that of the models.
        explain: Whether to look for reasons of a person's own.
        exploration: Share of the lists for items that little is known about.
    """

    k: int = 50
    pool: int = 3
    block_people: int = 2048
    explain: bool = True
    exploration: ExplorationConfig = dataclasses.field(default_factory=ExplorationConfig)


class ListMaker:
    """Makes the lists of all people, block by block, and keeps account of what rules did to them.

    Args:
        models: What to serve with.
        interactions: Everything that people did.
        config: How lists are made.
        rules: What people have decided about lists.
        ledger: Told what each model took to `score` and to `explain`, and rules and exploration to `apply`.
        unprofiled: People who may not be profiled, with what they have consumed and with traits, over the same items. Nothing of
            theirs is in `interactions`.

    Raises:
        ValueError: If `unprofiled` has other items, or anything of theirs is in `interactions`.
    """

    def __init__(
        self,
        models: FittedModels,
        interactions: Interactions,
        config: ScoringConfig | None = None,
        rules: Rules | None = None,
        ledger: Ledger | None = None,
        unprofiled: Interactions | None = None,
    ):
        if unprofiled is None:
            unprofiled = interactions.take(np.zeros(0, dtype=np.int64))
        if not unprofiled.item_keys.equals(interactions.item_keys):
            raise ValueError("people who may not be profiled have to do with other items than those of the models")
        learnt = interactions.take(interactions.positions_of_users(unprofiled.user_keys)).entries
        if learnt:
            raise ValueError(
                f"{learnt:,} entries of people who may not be profiled are among those that models learn from"
            )
        self.models = models
        self.interactions = interactions
        self.config = config or ScoringConfig()
        self.rules = rules or Rules((), {}, 1970)
        self._general_rules = self.rules.for_unknown_people()
        self.reports: list[RulesReport] = []
        self._ledger = ledger or Ledger()
        self._unprofiled = dataclasses.replace(unprofiled, content=interactions.content)
        self._versions = [*models.models]
        self._explored: Mapping[str, ExplorationCandidates] = {
            domain: exploration_candidates(interactions, interactions.domain_range(domain), self.config.exploration)
            for domain in interactions.domains
        }

    @property
    def report(self) -> RulesReport:
        """What rules have done to the lists made so far."""
        return RulesReport.total(self.reports)

    def batches(self, user_keys: pa.Array | pa.ChunkedArray) -> Iterator[pa.RecordBatch]:
        """Ranked items for every person on every target.

        A person is served by the champion of their segment on the target: `warm` or `few` (much or little history there),
        `cold` (history elsewhere only), `new` (none). Lists hold no consumed item and have dense ranks from 1; they are
        shorter than k only where the target has nothing else or a rule says so. Scores never increase along a list, except
        where rules or exploration moved an item.

        The reason code follows from what speaks for the item: a past item of the target (`because_you_enjoyed`) or of
        another side (`other_side_taste`), shared topics or people (`shared_topics`), a trait of the person
        (`popular_in_segment`), or what the model is (`popular`, `popular_now`, `rising_now`, `popular_then`,
        `similar_people`, `similar_taste`); `new_here` is an explored item, `picked_for_you` one that a rule pinned. Of a
        blend it follows from the member that speaks for the item (see `BlendModel.explain`). Only what
        the code speaks of stands beside it: past items and their shares with `because_you_enjoyed`, `other_side_taste`,
        `similar_people` and `shared_topics`; topics and people with `shared_topics`, but no mere words; a segment with
        `popular_in_segment`, if it is a country or region.

        Who may not be profiled gets the list of a person of whom nothing is known, in the ranking, its scores and its reasons. What
        they have consumed is left out all the same, and so is what an exclusion keeps from people of their country, region or age;
        other rules with such a condition do not concern them.

        Args:
            user_keys: Whom to serve, distinct; strangers are served too.

        Yields:
            Batches of `SCORED_SCHEMA`, by target, then in the order of `user_keys` with those who may not be profiled last, then by
            rank.
        """
        keys = user_keys.combine_chunks() if isinstance(user_keys, pa.ChunkedArray) else user_keys
        keys = keys.cast(pa.string())
        positions = self._unprofiled.positions_of_users(keys)
        may_be = np.flatnonzero(positions < 0)
        may_not = np.flatnonzero(positions >= 0)
        positions[may_be] = self.interactions.positions_of_users(keys.take(pa.array(may_be)))
        step = self.config.block_people
        for domain in self.interactions.domains:
            for group, source, is_profiled in ((may_be, self.interactions, True), (may_not, self._unprofiled, False)):
                for start in range(0, len(group), step):
                    members = group[start : start + step]
                    people = source.take(positions[members])
                    people = dataclasses.replace(people, user_keys=keys.take(pa.array(members)))
                    yield self._block(people, domain, is_profiled=is_profiled)

    def _block(self, people: Interactions, domain: str, *, is_profiled: bool) -> pa.RecordBatch:
        """The lists of one block of people on one target."""
        columns = people.domain_range(domain)
        rules = self.rules if is_profiled else self._general_rules
        # What is known of the people, for ranking and reasons.
        known = people if is_profiled else self._nobody(people.user_keys)
        segments = serving_segments(known, domain)
        if is_profiled:
            ranked, blended = self._pools(people, segments, domain)
        else:
            ranked, blended = self._general(people, domain), {}
        with self._ledger.stage("rules", domain, "apply"):
            reserve = self._reserve(domain)
            lists, report = apply_rules(ranked, people, rules, columns, self.config.k, reserve=reserve)
        self.reports.append(report)
        explored = self._explored[domain]
        with self._ledger.stage("exploration", domain, "apply"):
            propensity = np.ones(lists.items.shape, dtype=np.float64)
            # What rules keep from each person costs as much as drawing does, and is for nothing where nothing is drawn.
            if self.config.exploration.share:
                lists, propensity = explore(
                    lists,
                    people,
                    explored,
                    self.config.exploration,
                    suits=self.models.model_for(domain, COLD_ITEM)[1] if is_profiled else None,
                    forbidden=rules.forbidden(people, explored.items),
                    caps=rules.caps(people, explored.items),
                )
        reasons, codes, named = self._reasons(known, segments, domain, lists, blended)
        return self._rows(people, domain, lists, propensity, reasons, codes, named)

    def _pools(
        self, people: Interactions, segments: NDArray[np.int8], domain: str
    ) -> tuple[Ranked, dict[int, BlendedLists]]:
        """More than is shown, for rules to choose from; the origin is the position of the model's version.

        With the lists of each blend, by its origin, for which it need not score again to say why.
        """
        blended: dict[int, BlendedLists] = {}
        columns = people.domain_range(domain)
        places = self._places(columns)
        shape = (people.shape[0], places)
        ranked = Ranked.of(
            np.full(shape, NO_ITEM, dtype=np.int32),
            np.full(shape, -np.inf, dtype=np.float32),
            np.full(shape, NO_ORIGIN, dtype=np.int16),
        )
        for position, segment in enumerate(SERVING_SEGMENTS):
            members = np.flatnonzero(segments == position)
            if members.size:
                own, lists = self._served(people.take(members), segment, domain, places)
                ranked.items[members], ranked.scores[members] = own.items, own.scores
                ranked.origins[members] = own.origins
                if isinstance(lists, BlendedLists):
                    origin = self._versions.index(self.models.model_for(domain, segment)[0])
                    parts = Parts.nothing(len(lists.parts.added), *shape)
                    whole = blended.setdefault(origin, BlendedLists(ranked.items, ranked.scores, parts))
                    whole.parts.set(members, lists.parts)
        return ranked, blended

    def _general(self, people: Interactions, domain: str) -> Ranked:
        """Pools of people who may not be profiled: that of a person of whom nothing is known, less what each has consumed."""
        columns = people.domain_range(domain)
        places = self._places(columns)
        taken = people.where(people.is_consumed & people.domain_mask(domain))
        # A list has a place even where the target has no item.
        length = max(1, min(len(columns), places + int(np.diff(taken.indptr).max(initial=0))))
        ranked, _ = self._served(self._nobody(pa.array([""])), "new", domain, length)
        # The place of each item in it; what it does not hold, and what is empty in it, is one place further.
        place_of = np.full(people.shape[1] + 1, length, dtype=np.int64)
        place_of[ranked.items[0]] = np.arange(length)
        place_of[NO_ITEM] = length
        at = np.full((people.shape[0], places), NO_PLACE, dtype=np.int64)
        rows = max(1, BLOCK_BYTES // (8 * (length + 1)))
        for start in range(0, people.shape[0], rows):
            own = taken.take(np.arange(start, min(start + rows, people.shape[0])))
            free = np.tile(np.append(ranked.items[0] != NO_ITEM, False), (own.shape[0], 1))
            free[own.rows, place_of[own.indices]] = False
            order = np.cumsum(free, axis=1, dtype=np.int32)
            person, place = np.nonzero(free & (order <= places))
            at[start + person, order[person, place] - 1] = place
        shape = people.shape[0], length
        return Ranked(*(np.broadcast_to(getattr(ranked, part.name), shape) for part in dataclasses.fields(Ranked))).at(
            at
        )

    def _served(self, people: Interactions, segment: str, domain: str, places: int) -> tuple[Ranked, TopK]:
        """Places of the champion of one segment, and of what fills up, with their origins and as the model gave them."""
        version, model = self.models.model_for(domain, segment)
        fallback_version, fallback = self.models.fallback_for(domain)
        with self._ledger.stage(model.config.name, domain, "score"):
            served = serve(model, fallback, people, people.domain_range(domain), places)
        origins = np.where(served.is_fallback, self._versions.index(fallback_version), self._versions.index(version))
        origins = np.where(served.lists.items == NO_ITEM, NO_ORIGIN, origins).astype(np.int16)
        return Ranked.of(served.lists.items, served.lists.scores, origins), served.lists

    def _places(self, columns: range) -> int:
        """Places of the pools of a target."""
        return self.config.k * (self.config.pool if self.rules.acting(columns) else 1)

    def _nobody(self, user_keys: pa.StringArray) -> Interactions:
        """People of whom nothing is known, under the given keys."""
        unknown = self.interactions.take(np.full(len(user_keys), -1))
        return dataclasses.replace(unknown, user_keys=user_keys)

    def _reserve(self, domain: str) -> Ranked:
        """Everything of the target by popularity: what exclusions leave a list short of."""
        version, fallback = self.models.fallback_for(domain)
        columns = self.interactions.domain_range(domain)
        lists = fallback.top_k(self._nobody(pa.array([""])), columns, max(1, len(columns)))
        origins = np.where(lists.items == NO_ITEM, -1, self._versions.index(version))
        return Ranked.of(lists.items, lists.scores, origins.astype(np.int16))

    def _reasons(
        self,
        people: Interactions,
        segments: NDArray[np.int8],
        domain: str,
        lists: Ranked,
        blended: Mapping[int, BlendedLists],
    ) -> tuple[Reasons, NDArray[np.int8], NDArray[np.object_]]:
        """What speaks for each place, its code, and the name of the place whose people do; nothing that is not of the code."""
        columns = people.domain_range(domain)
        # One more than is shown: an item may speak for itself, if the person has only looked at it so far.
        reasons = Reasons.nothing(lists.items.shape[0], lists.items.shape[1], _MOST_REASONS + 1)
        usual = np.zeros(lists.items.shape, dtype=np.int8)
        named = np.full(lists.items.shape, None, dtype=np.object_)
        for origin in np.unique(lists.origins[lists.origins >= 0]):
            model = self.models.models[self._versions[origin]]
            own = lists.origins == origin
            parts = model.members if isinstance(model, BlendModel) else (model,)
            usual[own] = REASON_CODES.index(_usual_code(model.config))
            members = np.flatnonzero(own.any(axis=1))
            if not self.config.explain:
                continue
            items = np.where(own[members], lists.items[members], NO_ITEM)
            with self._ledger.stage(model.config.name, domain, "explain"):
                if isinstance(model, BlendModel):
                    ranked = blended[int(origin)].of(members) if int(origin) in blended else None
                    found = model.explain(people.take(members), items, _MOST_REASONS + 1, ranked)
                else:
                    found = model.explain(people.take(members), items, _MOST_REASONS + 1)
            reasons.put(members, found, own[members])
            spoken = np.array([REASON_CODES.index(_usual_code(part.config)) for part in parts], dtype=np.int8)
            usual[members] = np.where(own[members], spoken[found.speaker], usual[members])
            # A blend has at most one member of a kind.
            by_segment = next((part for part in parts if isinstance(part, SegmentPopularityModel)), None)
            if by_segment is not None and len(by_segment.value_texts):
                texts = by_segment.places[found.trait]
                speaks = own[members] & (found.trait != NO_ITEM)
                named[members] = np.where(speaks, texts, named[members])
        # Nobody has enjoyed what they gave nothing for, though its time or its topic may say something.
        enjoyed = people.where(people.strength > 0)
        mine = hit_matrix(reasons.items.reshape(len(lists.items), -1), enjoyed.csr(enjoyed.strength))
        own_items = mine.reshape(reasons.items.shape) & (reasons.items != lists.items[:, :, None])
        reasons = reasons.only(own_items, _MOST_REASONS + 1)
        here = (reasons.items >= columns.start) & (reasons.items < columns.stop)
        # What the other platform says stands alone: its sentence speaks of that platform only.
        reasons = reasons.only(here[:, :, :1] | ~here, _MOST_REASONS)
        by_items = (reasons.items[:, :, 0] != NO_ITEM) & (usual != REASON_CODES.index("similar_people"))
        codes = np.where(reasons.trait != NO_ITEM, REASON_CODES.index("popular_in_segment"), usual)
        codes[by_items & here[:, :, 0]] = REASON_CODES.index("because_you_enjoyed")
        codes[by_items & ~here[:, :, 0]] = REASON_CODES.index("other_side_taste")
        # Content names topics for all its places, and `als_content` for those of new items.
        codes[reasons.features[:, :, 0] != NO_ITEM] = REASON_CODES.index("shared_topics")
        by_taste = codes == REASON_CODES.index("similar_taste")
        codes[by_taste & (segments == SERVING_SEGMENTS.index("cold"))[:, None]] = REASON_CODES.index("other_side_taste")
        codes[lists.rules == EXPLORATION] = REASON_CODES.index("new_here")
        codes[lists.rules >= 0] = REASON_CODES.index("picked_for_you")
        stays = np.isin(codes, [REASON_CODES.index(code) for code in _BY_ITEMS])
        reasons = reasons.only(np.broadcast_to(stays[:, :, None], reasons.items.shape), _MOST_REASONS)
        by_topics = codes == REASON_CODES.index("shared_topics")
        reasons = dataclasses.replace(reasons, features=np.where(by_topics[:, :, None], reasons.features, NO_ITEM))
        named[codes != REASON_CODES.index("popular_in_segment")] = None
        return reasons, codes.astype(np.int8), named

    def _rows(
        self,
        people: Interactions,
        domain: str,
        lists: Ranked,
        propensity: NDArray[np.float64],
        reasons: Reasons,
        codes: NDArray[np.int8],
        named: NDArray[np.object_],
    ) -> pa.RecordBatch:
        rows, ranks = np.nonzero(lists.items != NO_ITEM)
        origins, rules = lists.origins[rows, ranks], lists.rules[rows, ranks]
        source = np.where(origins >= 0, origins, len(self._versions) + (rules != EXPLORATION)).astype(np.int64)
        names = [self.models.models[version].config.name for version in self._versions]
        because: dict[str, pa.Array] = {}
        for place in range(_MOST_REASONS):
            suffix = "" if place == 0 else f"_{place + 1}"
            items = reasons.items[rows, ranks, place]
            because[f"reason_item_key{suffix}"] = people.item_keys.take(pa.array(items, mask=items == NO_ITEM))
            shares = reasons.shares[rows, ranks, place].astype(np.float64)
            because[f"reason_share{suffix}"] = pa.array(shares, mask=items == NO_ITEM)
        values = {
            "user_key": people.user_keys.take(pa.array(rows)),
            "target_domain": pa.array([domain], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int8))),
            "rank": pa.array(ranks.astype(np.int32) + 1, pa.int32()),
            "item_key": people.item_keys.take(pa.array(lists.items[rows, ranks])),
            "score": pa.array(lists.scores[rows, ranks].astype(np.float64)),
            "strategy": pa.array([*names, _EXPLORED, _PINNED], pa.string()).take(pa.array(source)),
            "reason_code": pa.array(REASON_CODES, pa.string()).take(pa.array(codes[rows, ranks])),
            **because,
            "reason_topic": _topics(people, reasons.features[rows, ranks]),
            "reason_segment": pa.array(named[rows, ranks].tolist(), pa.string()),
            "propensity": pa.array(propensity[rows, ranks]),
            "rule": self.rules.names(rules),
            "model_version": pa.array([*self._versions, _EXPLORED, _PINNED], pa.string()).take(pa.array(source)),
        }
        return pa.RecordBatch.from_arrays([values[name] for name in SCORED_SCHEMA.names], schema=SCORED_SCHEMA)


def score_people(
    models: FittedModels,
    interactions: Interactions,
    user_keys: pa.Array | pa.ChunkedArray,
    config: ScoringConfig | None = None,
    rules: Rules | None = None,
) -> Iterator[pa.RecordBatch]:
    """Ranked items for every person on every target; see `ListMaker.batches`."""
    return ListMaker(models, interactions, config, rules).batches(user_keys)


def _usual_code(config: ModelConfig) -> str:
    """Reason code of a model's rows where nothing of the person's own speaks for them."""
    return _NO_REASON_OF_THEIR_OWN.get(config.name, "similar_taste")


def _topics(people: Interactions, features: NDArray[np.int32]) -> pa.StringArray:
    """Names of the topics and people that a place shares with the person, joined; NULL where there is none.

    Args:
        people: With the content of the items, which names the features.
        features: Shape (rows, most), strongest first, -1 for none.
    """
    if people.content is None or not features.size:
        return pa.nulls(len(features), pa.string())
    first = features[:, :_MOST_TOPICS]
    first = np.where(np.append(people.content.is_named, False)[first], first, NO_ITEM)
    distinct, inverse = np.unique(first, axis=0, return_inverse=True)
    texts = [
        " / ".join(people.content.names[feature] for feature in row if feature != NO_ITEM) or None
        for row in distinct.tolist()
    ]
    return pa.array(texts, pa.string()).take(pa.array(inverse.reshape(-1)))
