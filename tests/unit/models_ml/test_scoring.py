import dataclasses
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from models_ml import SCORED_SCHEMA, FittedModels, ScoringConfig, fit_models, score_people, select_models
from models_ml.als import ALSConfig
from models_ml.blend import BlendConfig, BlendModel
from models_ml.contemporary import ContemporaryPopularityConfig
from models_ml.content import FEATURE_KINDS, item_content_from_arrow
from models_ml.content_model import ContentModelConfig
from models_ml.exploration import ExplorationConfig
from models_ml.interactions import interactions_from_arrow
from models_ml.neighbours import UserNeighboursConfig
from models_ml.popularity import PopularityConfig
from models_ml.registry import fit_model
from models_ml.rules import RULE_COLUMNS, rules_from_arrow
from models_ml.scoring import REASON_CODES, ListMaker
from models_ml.segment_popularity import SegmentPopularityConfig
from models_ml.traits import Traits
from tests.unit.models_ml.conftest import preference_table

TEN = ScoringConfig(k=10, block_people=37)


@pytest.fixture(scope="module")
def models(planted, quick):
    return fit_models(planted, select_models(planted, quick))


@pytest.fixture(scope="module")
def everyone(planted) -> pa.Array:
    """Everyone with history, one without, in no order."""
    keys = [*planted.user_keys.to_pylist(), "stranger"]
    return pa.array(np.random.default_rng(0).permutation(keys).tolist())


@pytest.fixture(scope="module")
def scored(models, planted, everyone) -> pa.Table:
    return pa.Table.from_batches(score_people(models, planted, everyone, TEN))


def test_everyone_has_a_list_on_every_platform(scored, everyone):
    lists = {
        (row["user_key"], row["target_domain"]) for row in scored.select(["user_key", "target_domain"]).to_pylist()
    }
    assert lists == {(user, domain) for user in everyone.to_pylist() for domain in ("film", "knowledge")}
    assert scored.schema == SCORED_SCHEMA


def test_ranks_are_dense_and_scores_finite_and_never_increasing(scored):
    previous = None
    for row in scored.to_pylist():
        place = (row["user_key"], row["target_domain"])
        if previous and previous[0] == place:
            assert row["rank"] == previous[1] + 1
            assert row["score"] <= previous[2]
        else:
            assert row["rank"] == 1
        assert np.isfinite(row["score"])
        previous = (place, row["rank"], row["score"])


def test_an_item_already_consumed_is_never_recommended(scored, planted):
    consumed = {
        (planted.user_keys[int(row)].as_py(), planted.item_keys[int(item)].as_py())
        for row, item in zip(planted.rows, planted.indices, strict=True)
    }
    listed = set(zip(scored["user_key"].to_pylist(), scored["item_key"].to_pylist(), strict=True))
    assert len(listed) == scored.num_rows, "an item twice in one list"
    assert not listed & consumed


def test_a_list_holds_items_of_its_platform_only(scored):
    for row in scored.to_pylist():
        assert row["item_key"].startswith(row["target_domain"] + ":")


def test_each_segment_is_served_by_its_champion(scored, models):
    first = {(row["user_key"], row["target_domain"]): row for row in scored.to_pylist() if row["rank"] == 1}
    expected = {
        ("u100", "film"): ("warm", "because_you_enjoyed"),
        ("u003", "knowledge"): ("cold", "other_side_taste"),
        ("u013", "film"): ("cold", "other_side_taste"),
        ("stranger", "film"): ("new", None),
    }
    for (user, domain), (segment, reason) in expected.items():
        row = first[user, domain]
        assert row["model_version"] == models.served[domain][segment]
        assert row["strategy"] == models.models[row["model_version"]].config.name
        if reason:
            assert row["reason_code"] == reason
    assert first["stranger", "film"]["reason_code"] in ("popular", "popular_now")
    assert first["stranger", "film"]["reason_item_key"] is None


def test_a_reason_is_something_the_person_has_enjoyed(scored, planted):
    own = {}
    for row, item in zip(planted.rows, planted.indices, strict=True):
        own.setdefault(planted.user_keys[int(row)].as_py(), set()).add(planted.item_keys[int(item)].as_py())
    because = [row for row in scored.to_pylist() if row["reason_item_key"] is not None]
    assert len(because) > 0.5 * scored.num_rows
    for row in because:
        named = [row[f"reason_item_key{place}"] for place in ("", "_2", "_3")]
        assert {item for item in named if item} <= own[row["user_key"]]
        assert row["strategy"] in ("als", "als_joint")


def test_an_item_never_speaks_for_itself_and_the_other_side_speaks_alone(models, planted):
    """People have looked at the first film of their taste without consuming it, so it can be recommended to them."""
    looked = dataclasses.replace(planted, is_consumed=np.zeros(planted.entries, np.bool_))
    rows = pa.Table.from_batches(score_people(models, looked, looked.user_keys, TEN)).to_pylist()
    own = {
        (planted.user_keys[int(u)].as_py(), planted.item_keys[int(i)].as_py())
        for u, i in zip(planted.rows, planted.indices, strict=True)
    }
    assert any((row["user_key"], row["item_key"]) in own for row in rows)
    for row in rows:
        named = [row[f"reason_item_key{place}"] for place in ("", "_2", "_3")]
        assert row["item_key"] not in named
        if row["reason_code"] == "other_side_taste":
            assert not any(item and item.startswith(row["target_domain"]) for item in named)


def test_shares_never_increase_and_stand_beside_their_items(scored):
    for row in scored.to_pylist():
        shares = [row[f"reason_share{place}"] for place in ("", "_2", "_3")]
        items = [row[f"reason_item_key{place}"] for place in ("", "_2", "_3")]
        assert [share is None for share in shares] == [item is None for item in items]
        given = [share for share in shares if share is not None]
        assert given == sorted(given, reverse=True)
        assert all(share > 0 for share in given)


def test_without_explanations_the_lists_are_the_same(scored, models, planted, everyone):
    plain = pa.Table.from_batches(score_people(models, planted, everyone, dataclasses.replace(TEN, explain=False)))
    for column in ("user_key", "item_key", "score", "strategy"):
        assert plain[column].to_pylist() == scored[column].to_pylist()
    assert plain["reason_item_key"].null_count == plain.num_rows
    assert "because_you_enjoyed" not in plain["reason_code"].to_pylist()
    assert "similar_taste" in plain["reason_code"].to_pylist()


def test_lists_do_not_depend_on_who_else_is_served(models, planted, scored):
    alone = pa.Table.from_batches(score_people(models, planted, pa.array(["u042"]), TEN))
    together = [row for row in scored.to_pylist() if row["user_key"] == "u042"]
    for mine, theirs in zip(alone.to_pylist(), together, strict=True):
        assert mine["item_key"] == theirs["item_key"]
        assert mine["score"] == pytest.approx(theirs["score"], rel=1e-5)


def test_nobody_to_serve_is_no_rows(models, planted):
    assert pa.Table.from_batches(score_people(models, planted, pa.array([], pa.string())), SCORED_SCHEMA).num_rows == 0


def test_chunked_keys_are_served_like_any(models, planted, scored, everyone):
    chunked = pa.chunked_array([everyone[:50], everyone[50:]])
    again = pa.Table.from_batches(score_people(models, planted, chunked, TEN))
    assert again.equals(scored)


@pytest.fixture(scope="module")
def known(planted):
    """The planted world with what its items are about and where people live."""
    keys = planted.item_keys
    items = pa.table(
        {
            "item_key": keys,
            "domain": [key.split(":")[0] for key in keys.to_pylist()],
            "item_id": [key.split(":")[1] for key in keys.to_pylist()],
            "kind": ["movie"] * len(keys),
            "language": ["en"] * len(keys),
            "title": keys,
            "text": pa.nulls(len(keys), pa.string()),
            "topics": [[f"taste {int(key.split(':')[1]) % 4}"] for key in keys.to_pylist()],
            "people": pa.nulls(len(keys), pa.list_(pa.string())),
            "series": pa.nulls(len(keys), pa.string()),
        }
    )
    towns = Traits(("region",), (("east", "west"),), (np.arange(planted.shape[0]) % 2).astype(np.int32)[:, None])
    return planted.with_content(item_content_from_arrow(items, keys)).with_traits(towns), items


def rules_of(known, **rule):
    world, items = known
    row = {**dict.fromkeys(RULE_COLUMNS), "rule_id": "r", "is_active": True, **rule}
    return rules_from_arrow(pa.Table.from_pylist([row]), items, world, 0)


def lists_of(models, world, rules=None, **config):
    maker = ListMaker(models, world, ScoringConfig(k=10, block_people=64, **config), rules)
    return pa.Table.from_batches(maker.batches(world.user_keys)).to_pylist(), maker.report


def test_an_excluded_item_is_in_no_list_of_those_whom_it_is_kept_from(models, known):
    world, _ = known
    free, _ = lists_of(models, world)
    rows, report = lists_of(models, world, rules_of(known, action="exclude", topic="taste 1", region="east"))
    east = {key for position, key in enumerate(world.user_keys.to_pylist()) if position % 2 == 0}
    tasted = {key for key in world.item_keys.to_pylist() if int(key.split(":")[1]) % 4 == 1}
    assert any(row["item_key"] in tasted for row in free if row["user_key"] in east)
    assert not any(row["item_key"] in tasted for row in rows if row["user_key"] in east)
    assert [row for row in rows if row["user_key"] not in east] == [row for row in free if row["user_key"] not in east]
    assert report.places["r"] > 0
    assert report.emptied == ()


def test_a_pinned_item_stands_first_and_says_so(models, known):
    world, _ = known
    rows, _ = lists_of(models, world, rules_of(known, action="pin", target_domain="film", item_id="07"))
    own = world.csr(np.ones(world.entries)).toarray()[:, world.item_keys.to_pylist().index("film:07")]
    for row in rows:
        if row["target_domain"] == "film" and row["rank"] == 1:
            position = world.user_keys.to_pylist().index(row["user_key"])
            assert (row["item_key"] == "film:07") == (own[position] == 0)
            if row["item_key"] == "film:07":
                assert (row["rule"], row["reason_code"]) == ("r", "picked_for_you")


def test_explored_places_say_so_with_their_propensity(models, known):
    world, _ = known
    share = ExplorationConfig(share=0.3, first_place=2, most_interactions=1000, seed=3)
    rows, _ = lists_of(models, world, exploration=share)
    explored = [row for row in rows if row["rule"] == "exploration"]
    assert 0.15 < len(explored) / len(rows) < 0.35
    assert {row["reason_code"] for row in explored} == {"new_here"}
    assert {row["strategy"] for row in explored} == {"exploration"}
    assert all(0 < row["propensity"] < 0.3 for row in explored)
    assert all(row["propensity"] == 1.0 for row in rows if row["rank"] == 1)


def test_exploration_keeps_the_caps(models, known):
    """A quarter of the items are of each taste, and lists without a cap hold far more of one than two."""
    world, _ = known
    exploring = {"exploration": ExplorationConfig(share=0.5, first_place=2, most_interactions=1000)}
    capped = {key for key in world.item_keys.to_pylist() if int(key.split(":")[1]) % 4 == 1}

    def most(rows):
        counts = Counter((row["user_key"], row["target_domain"]) for row in rows if row["item_key"] in capped)
        return max(counts.values())

    free, _ = lists_of(models, world, **exploring)
    rows, report = lists_of(models, world, rules_of(known, action="cap", topic="taste 1", number=2.0), **exploring)
    assert report.relaxed == 0
    assert any(row["rule"] == "exploration" and row["item_key"] in capped for row in rows)
    assert (most(free) > 2, most(rows)) == (True, 2)


def test_every_reason_code_written_is_a_known_one(scored):
    assert set(scored["reason_code"].to_pylist()) <= set(REASON_CODES)


@pytest.fixture(scope="module")
def by_time(planted):
    """Everybody gets what was popular around their own moments; each has given nothing for the first of their items."""
    strength = planted.strength.copy()
    strength[planted.indptr[:-1]] = 0
    world = dataclasses.replace(planted, strength=strength)
    contemporary, als = fit_model(world, ContemporaryPopularityConfig()), fit_model(world, ALSConfig(factors=8))

    def blend(by_time: float, by_taste: float) -> BlendModel:
        config = BlendConfig((als.config, contemporary.config), (by_taste, by_time))
        return BlendModel(config, world.item_keys, (als, contemporary))

    return world, contemporary, blend


def served_by(model, world):
    popular = fit_model(world, PopularityConfig())
    served = dict.fromkeys(("warm", "few", "cold", "new"), "model")
    served |= dict.fromkeys(("cold_item", "fallback"), "popularity")
    return FittedModels(
        world.item_keys, {"model": model, "popularity": popular}, dict.fromkeys(world.domains, served), None
    )


def test_what_was_popular_at_the_time_is_not_said_to_come_of_what_a_person_enjoyed(by_time):
    world, contemporary, _ = by_time
    rows = pa.Table.from_batches(score_people(served_by(contemporary, world), world, world.user_keys, TEN)).to_pylist()
    codes = {row["reason_code"] for row in rows if row["strategy"] == "contemporary_popularity"}
    assert codes == {"popular_then"}


def test_a_blend_says_what_its_largest_part_says(by_time):
    """Nearly all of the score is popularity at the person's time, or nearly all of it their taste; or each part leads somewhere."""
    world, _, blend = by_time
    codes = {}
    for weights in ((0.95, 0.05), (0.5, 0.5), (0.05, 0.95)):
        rows, _ = lists_of(served_by(blend(*weights), world), world)
        blended = [row for row in rows if row["strategy"] == "blend"]
        codes[weights] = Counter(row["reason_code"] for row in blended)
        for row in blended:
            by_taste = row["reason_code"] in ("because_you_enjoyed", "other_side_taste")
            assert (row["reason_item_key"] is not None) == (row["reason_share"] is not None) == by_taste
    by_time_only, either, by_taste_only = codes.values()
    assert by_time_only["popular_then"] > 0.9 * by_time_only.total()
    assert by_taste_only["popular_then"] < 0.2 * by_taste_only.total()
    assert {"popular_then", "because_you_enjoyed"} <= set(either)


def test_rules_leave_the_reasons_of_a_blend_as_they_are(known):
    """An exclusion for some makes a deeper pool for all, and whoever it is not for has the same rows."""
    world, _ = known
    members = tuple(fit_model(world, config) for config in (ContemporaryPopularityConfig(), ALSConfig(factors=8)))
    blend = BlendModel(BlendConfig(tuple(one.config for one in members), (0.5, 0.5)), world.item_keys, members)
    served = served_by(blend, world)
    free, _ = lists_of(served, world)
    ruled, report = lists_of(served, world, rules_of(known, action="exclude", topic="taste 1", region="east"))
    assert report.places["r"] > 0
    east = set(world.user_keys.to_pylist()[::2])
    for rows in (free, ruled):
        rows[:] = [row for row in rows if row["user_key"] not in east]
        shares = [[row.pop(f"reason_share{place}") or 0.0 for place in ("", "_2", "_3")] for row in rows]
        rows.append(np.round(shares, 3).tolist())
    assert ruled[:-1] == free[:-1]
    np.testing.assert_allclose(ruled[-1], free[-1], atol=2e-3)


def test_nobody_is_said_to_have_enjoyed_what_they_gave_nothing_for(by_time):
    world, _, blend = by_time
    served = served_by(blend(0.1, 0.9), world)
    rows = pa.Table.from_batches(score_people(served, world, world.user_keys, TEN)).to_pylist()
    disliked = {
        (world.user_keys[int(user)].as_py(), world.item_keys[int(item)].as_py())
        for user, item, value in zip(world.rows, world.indices, world.strength, strict=True)
        if value == 0
    }
    named = {(row["user_key"], row[f"reason_item_key{place}"]) for row in rows for place in ("", "_2", "_3")}
    assert any(item is not None for _, item in named)
    assert not named & disliked


def test_a_segment_that_speaks_inside_a_blend_is_named(models, known):
    world, _ = known
    segments = fit_model(world, SegmentPopularityConfig(traits=("region",), prior=1.0))
    blend = BlendModel(BlendConfig((segments.config,), (1.0,)), world.item_keys, (segments,))
    rows = pa.Table.from_batches(score_people(served_by(blend, world), world, world.user_keys, TEN)).to_pylist()
    spoken = [row for row in rows if row["reason_code"] == "popular_in_segment"]
    assert spoken
    assert {row["reason_segment"] for row in spoken} <= {"east", "west"}


def test_of_the_traits_of_a_person_only_a_place_is_named(models, known):
    world, _ = known
    codes = world.traits.codes[:, :1]
    for trait, is_place in (("country", True), ("region", True), ("gender", False), ("device", False)):
        of_people = world.with_traits(Traits((trait,), (("one", "other"),), codes))
        segments = fit_model(of_people, SegmentPopularityConfig(traits=(trait,), prior=1.0))
        rows, _ = lists_of(served_by(segments, of_people), of_people)
        spoken = [row["reason_segment"] for row in rows if row["reason_code"] == "popular_in_segment"]
        assert set(spoken) == ({"one", "other"} if is_place else {None}), trait


def by_content(known, kind):
    """Everybody served by content, with the tastes as features of a kind."""
    world, _ = known
    content = dataclasses.replace(
        world.content, kinds=np.full(len(world.content.kinds), FEATURE_KINDS.index(kind), dtype=np.int8)
    )
    of_kind = world.with_content(content)
    return served_by(fit_model(of_kind, ContentModelConfig()), of_kind), of_kind


def test_topics_and_people_are_named_and_mere_words_are_not(known):
    for kind in FEATURE_KINDS:
        rows, _ = lists_of(*by_content(known, kind))
        shared = [row for row in rows if row["strategy"] == "content"]
        assert {row["reason_code"] for row in shared} == {"shared_topics"}, kind
        named = {row["reason_topic"] for row in shared}
        assert named == {None} if kind == "term" else named and None not in named, kind


EVIDENT = {"because_you_enjoyed", "other_side_taste", "similar_people", "shared_topics"}


def test_only_what_the_code_speaks_of_stands_beside_it(models, known, by_time):
    world, _ = known
    pinned = rules_of(known, action="pin", target_domain="film", item_id="07")
    exploring = {"exploration": ExplorationConfig(share=0.3, most_interactions=1000)}
    content, of_topics = by_content(known, "topic")
    segments = fit_model(world, SegmentPopularityConfig(traits=("region",), prior=1.0))
    neighbours = fit_model(world, UserNeighboursConfig())
    rows = [
        *lists_of(models, world, pinned, **exploring)[0],
        *lists_of(content, of_topics, pinned, **exploring)[0],
        *lists_of(served_by(segments, world), world, pinned)[0],
        *lists_of(served_by(by_time[1], by_time[0]), by_time[0])[0],
        *lists_of(served_by(neighbours, world), world)[0],
    ]
    codes = {row["reason_code"] for row in rows}
    assert codes >= EVIDENT | {"popular_then", "popular_in_segment", "new_here", "picked_for_you"}
    with_items = {row["reason_code"] for row in rows if row["reason_item_key"] or row["reason_share"] is not None}
    assert with_items == EVIDENT
    assert {row["reason_code"] for row in rows if row["reason_topic"]} == {"shared_topics"}
    assert {row["reason_code"] for row in rows if row["reason_segment"]} == {"popular_in_segment"}


REFUSING = ("u050", "u101", "u103", "u104")


@pytest.fixture(scope="module")
def parted(known):
    """The world as models may learn from it, without REFUSING; REFUSING with what they have consumed; and models of the former.

    Each of REFUSING lives in the east (even numbers) or west; whoever is new is served what is popular in their region.
    """
    world, _ = known
    refusing = np.isin(world.user_keys.to_pylist(), REFUSING)
    codes = np.where(refusing[:, None], -1, world.traits.codes).astype(np.int32)
    learnt = world.where(~refusing[world.rows]).with_traits(dataclasses.replace(world.traits, codes=codes))
    held = world.take(np.flatnonzero(refusing))
    held = dataclasses.replace(held, weight=np.zeros_like(held.weight), strength=np.zeros_like(held.strength))
    neighbours, region = (
        fit_model(learnt, config)
        for config in (UserNeighboursConfig(), SegmentPopularityConfig(traits=("region",), prior=1.0))
    )
    models = served_by(neighbours, learnt)
    served = {**models.served["film"], "new": "region"}
    return (
        learnt,
        held,
        FittedModels(
            models.item_keys, {**models.models, "region": region}, dict.fromkeys(learnt.domains, served), None
        ),
    )


def lists_in(parted, rules=None, keys=None, k=10, **config):
    learnt, held, models = parted
    maker = ListMaker(models, learnt, ScoringConfig(k=k, block_people=64, **config), rules, unprofiled=held)
    keys = learnt.user_keys if keys is None else keys
    return pa.Table.from_batches(maker.batches(keys)).to_pylist()


def consumed_by(interactions):
    """Keys of the items that each person has consumed."""
    items = interactions.item_keys.to_pylist()
    return {
        user: {items[item] for item in interactions.indices[interactions.indptr[row] : interactions.indptr[row + 1]]}
        for row, user in enumerate(interactions.user_keys.to_pylist())
    }


def test_who_may_not_be_profiled_gets_the_list_of_a_stranger_less_what_they_have_consumed(parted):
    rows = lists_in(parted)
    shown = ("item_key", "score", "strategy", "reason_code", "reason_segment", "reason_item_key", "model_version")
    for domain in ("film", "knowledge"):
        ranking = [
            [row[column] for column in shown]
            for row in lists_in(parted, keys=pa.array(["stranger"]), k=40)
            if row["target_domain"] == domain
        ]
        assert len(ranking) == 40
        assert {(strategy, code) for _, _, strategy, code, *_ in ranking} == {("segment_popularity", "popular")}
        for user, consumed in consumed_by(parted[1]).items():
            own = [
                [row[column] for column in shown]
                for row in rows
                if (row["user_key"], row["target_domain"]) == (user, domain)
            ]
            assert consumed & {place[0] for place in ranking[:10]}, "nothing would have to be left out"
            assert own == [place for place in ranking if place[0] not in consumed][:10]


def test_of_others_nothing_changes_when_somebody_may_not_be_profiled(parted):
    learnt, _, models = parted
    alone = pa.Table.from_batches(ListMaker(models, learnt, TEN).batches(learnt.user_keys)).to_pylist()
    others = [row for row in alone if row["user_key"] not in REFUSING]
    rows = lists_in(parted)
    assert [row for row in rows if row["user_key"] not in REFUSING] == others
    assert "similar_people" in {row["reason_code"] for row in others}
    assert {row["user_key"] for row in rows} == set(learnt.user_keys.to_pylist())


def test_only_exclusions_look_at_where_the_unprofiled_live(parted, known):
    learnt, held, _ = parted

    of_taste = {key for key in learnt.item_keys.to_pylist() if int(key.split(":")[1]) % 4 == 1}
    rows = lists_in(parted, rules_of(known, action="exclude", topic="taste 1", region="west"))
    listed = {user: {row["item_key"] for row in rows if row["user_key"] == user} for user in REFUSING}
    assert {user for user in REFUSING if not listed[user] & of_taste} == {"u101", "u103"}, "they live in the west"

    may_see_it = {user for user, consumed in consumed_by(held).items() if "film:06" not in consumed}
    assert may_see_it & {"u101", "u103"}
    for region, concerned in (("west", set()), (None, may_see_it)):
        pin = rules_of(known, action="pin", target_domain="film", item_id="06", region=region)
        assert {row["user_key"] for row in lists_in(parted, pin) if row["rule"] == "r"} & {*REFUSING} == concerned


def test_exploration_shows_the_unprofiled_nothing_that_they_have_consumed(parted):
    rows = lists_in(parted, exploration=ExplorationConfig(share=0.5, first_place=1, most_interactions=1000))
    consumed = consumed_by(parted[1])
    own = [row for row in rows if row["user_key"] in REFUSING]
    assert any(row["rule"] == "exploration" for row in own)
    assert not any(row["item_key"] in consumed[row["user_key"]] for row in own)


def test_who_has_consumed_nearly_everything_and_may_not_be_profiled_gets_what_is_left(parted):
    learnt, held, models = parted
    one = held.take(np.array([0]))
    everything = np.setdiff1d(np.arange(80, dtype=np.int32), [3, 5, 41])
    several = {
        name: np.zeros(77, dtype=getattr(held, name).dtype) for name in ("weight", "strength", "last_at", "is_consumed")
    }
    full = dataclasses.replace(one, indptr=np.array([0, 77]), indices=everything, **several)
    full = dataclasses.replace(full, is_consumed=np.ones(77, dtype=np.bool_))
    rows = lists_in((learnt, full, models), keys=one.user_keys)
    found = {(row["target_domain"], row["item_key"]) for row in rows}
    keys = learnt.item_keys.to_pylist()
    assert found == {("film", keys[3]), ("film", keys[5]), ("knowledge", keys[41])}


def test_models_that_have_learnt_from_who_may_not_be_profiled_serve_nobody(parted, known):
    learnt, held, models = parted
    world, _ = known
    with pytest.raises(ValueError, match="entries of people who may not be profiled"):
        ListMaker(models, world, TEN, unprofiled=held)
    others = dataclasses.replace(held, item_keys=pa.array([f"x{n}" for n in range(80)]))
    with pytest.raises(ValueError, match="other items"):
        ListMaker(models, learnt, TEN, unprofiled=others)


def test_who_may_not_be_profiled_has_no_list_where_the_target_has_no_item(parted):
    learnt, held, _ = parted
    films = [key for key in learnt.item_keys.to_pylist() if key.startswith("film:")]
    learnt, held = (
        interactions_from_arrow(
            preference_table([(user, item, 1.0, 0) for user in users.to_pylist() for item in films[:3]]),
            domains=("film", "knowledge"),
        )
        for users in (learnt.user_keys[:9], held.user_keys)
    )
    popular = fit_model(learnt, PopularityConfig())
    rows = lists_in(
        (learnt, held, served_by(popular, learnt)), keys=pa.concat_arrays([learnt.user_keys, held.user_keys])
    )
    assert rows == []
