import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from models_ml.content import FEATURE_KINDS, ItemContent
from models_ml.evaluation import (
    COLD_ITEM,
    COMPARISON_SCHEMA,
    EVALUATION_SCHEMA,
    SEGMENTS,
    SERVING_SEGMENTS,
    EvaluationConfig,
    Judgement,
    cold_item_task,
    comparison_rows,
    evaluation_rows,
    evaluation_task,
    judge,
    serving_segments,
)
from models_ml.interactions import Interactions, interactions_from_arrow
from models_ml.metrics import CONTENT_METRICS, PERSON_METRICS
from models_ml.popularity import PopularityConfig, PopularityModel, fit_popularity
from models_ml.retrieval import NO_ITEM
from models_ml.split import ALL_HIDDEN, Split, SplitConfig, split_interactions

CONFIG = EvaluationConfig(cutoffs=(5, 10), draws=200)
CONFIG_AT_5 = dataclasses.replace(CONFIG, cutoffs=(5,))
HIDING = SplitConfig(hidden_share=0.3, new_share=0.15, cold_item_share=0.15)
BY_TIME = SplitConfig(hidden_share=0.0, new_share=0.0, cold_item_share=0.0)
NDCG = PERSON_METRICS.index("ndcg")


@pytest.fixture(scope="module")
def world() -> Interactions:
    """300 people with 3 to 12 of 40 items a side, a third of them on one side only; items of four topics in turn."""
    random = np.random.default_rng(7)
    rows = [
        (f"u{person:03}", f"{side}:{item:02}", side)
        for person in range(300)
        for side in (("film", "knowledge") if person % 3 else (("film", "knowledge")[person % 2],))
        for item in random.choice(40, size=random.integers(3, 13), replace=False)
    ]
    table = pa.table(
        {
            **dict(zip(("user_key", "item_key", "domain"), zip(*rows, strict=True), strict=True)),
            "weight": random.choice([2.0, 5.0], len(rows)),
            "is_consumed": [True] * len(rows),
            "last_at": pa.array(random.integers(0, 10**14, len(rows)), pa.timestamp("us")),
        }
    )
    interactions = interactions_from_arrow(table)
    items = np.arange(interactions.shape[1])
    features = csr_matrix((np.ones(len(items), np.float32), (items, items % 4)), shape=(len(items), 5))
    kinds = np.array([FEATURE_KINDS.index("topic")] * 4 + [FEATURE_KINDS.index("term")], np.int8)
    return interactions.with_content(ItemContent(features, ("a", "b", "c", "d", "word"), kinds))


def ranked(interactions: Interactions, first: list[int]) -> PopularityModel:
    """A model that lists these items first, for everyone."""
    scores = np.linspace(0.4, 0.1, interactions.shape[1]).astype(np.float32)
    scores[first] = np.linspace(1.0, 0.5, len(first))
    return PopularityModel(PopularityConfig(), interactions.item_keys, scores)


def plain(split: Split) -> PopularityModel:
    return fit_popularity(split.train, PopularityConfig())


def test_people_are_served_by_what_they_have_done_on_the_target(make):
    rows = [("cold", "knowledge:a", 1.0, 0), ("few", "film:a", 1.0, 0), ("four", "knowledge:b", 1.0, 0)]
    rows += [("four", f"film:{item}", 1.0, item) for item in range(4)]
    rows += [("warm", f"film:{item}", 1.0, item) for item in range(5)]
    history = make(rows).take(np.array([0, 1, 2, 3, -1]))
    found = [SERVING_SEGMENTS[code] for code in serving_segments(history, "film")]
    assert found == ["cold", "few", "few", "warm", "new"]


@pytest.mark.parametrize("config", [HIDING, SplitConfig(kind="global_time")], ids=["hiding", "global time"])
@pytest.mark.parametrize("domain", ["film", "knowledge"])
def test_everyone_is_in_one_serving_segment_and_who_has_history_on_the_target_is_linked_or_not(world, config, domain):
    split = split_interactions(world, config)
    task = evaluation_task(split, domain, CONFIG)
    assert tuple(task.segments) == SEGMENTS
    assert (np.sum([task.segments[name] for name in SERVING_SEGMENTS], axis=0) == 1).all()
    on_target = task.segments["warm"] | task.segments["few"]
    assert ((task.segments["linked"] | task.segments["unlinked"]) == on_target).all()
    assert not (task.segments["linked"] & task.segments["unlinked"]).any()
    other = {"film": "knowledge", "knowledge": "film"}[domain]
    elsewhere = split.train.people_with_history(other)[task.people]
    assert (task.segments["linked"] == (on_target & elsewhere)).all()
    assert (elsewhere[task.segments["cold"]]).all()
    assert task.segments["all"].all()
    if config is HIDING:
        assert all(members.sum() > 5 for members in task.segments.values())


def test_who_lost_a_side_is_cold_and_who_lost_everything_is_new(world):
    split = split_interactions(world, HIDING)
    task = evaluation_task(split, "film", CONFIG)
    hidden = split.hidden_domain[task.people]
    assert (task.segments["new"] == (hidden == ALL_HIDDEN)).all()
    assert (task.segments["cold"] == (hidden == world.domains.index("film"))).all()
    assert {name: task.splits[name] for name in ("warm", "few", "cold", "new", "all")} == {
        "warm": "time_per_user",
        "few": "time_per_user",
        "cold": "hidden_side",
        "new": "hidden_side",
        "all": "time_per_user",
    }


def test_only_what_is_liked_counts_as_relevant(make):
    rows = [("ann", f"film:{day}", 5.0 if day < 9 else 2.5, day) for day in range(10)]
    rows += [("ben", f"film:{day}", 5.0, day) for day in range(10)]
    split = split_interactions(make(rows), BY_TIME)
    task = evaluation_task(split, "film", CONFIG)
    assert split.train.entries == 16, "what is held out and disliked is not trained on either"
    assert np.diff(task.relevant.indptr).tolist() == [1, 2]


def test_a_hidden_item_is_asked_for_as_a_cold_item_and_nowhere_else(world):
    split = split_interactions(world, HIDING)
    hidden = split.hidden_items
    known, cold = evaluation_task(split, "film", CONFIG), cold_item_task(split, "film", CONFIG)
    assert known.relevant.nnz
    assert not hidden[known.relevant.indices].any()
    assert cold.relevant.nnz
    assert hidden[cold.relevant.indices].all()
    assert split.train.people_with_history("film")[cold.people].all()
    assert cold.splits == {COLD_ITEM: "hidden_items"}
    assert cold.catalogue.sum() == hidden[: len(world.domain_range("film"))].sum()
    assert known.catalogue.sum() == len(world.domain_range("film")) - cold.catalogue.sum()
    assert {*cold.relevant.indices} <= {*np.flatnonzero(cold.catalogue)}


def test_a_model_that_lists_hidden_items_loses_no_place_to_them(world):
    """As if they were not in the catalogue: the list is the model's own without them, as long as any other."""
    split = split_interactions(world, HIDING)
    task = evaluation_task(split, "film", CONFIG)
    hidden = np.flatnonzero(split.hidden_items & task.excluded)
    hidden = hidden[hidden < len(world.domain_range("film"))]
    assert len(hidden) >= 3
    model = ranked(world, [*hidden.tolist(), 7, 3, 20])
    found = judge(model, plain(split), split, task, (5,)).items
    consumed = split.train.consumed().toarray()[task.people]
    order = [item for item in np.argsort(-model.item_scores, kind="stable") if item < 40 and item not in hidden]
    expected = [[item for item in order if not own[item]][:5] for own in consumed]
    assert found.tolist() == expected


def test_a_cold_item_must_be_found_in_the_whole_catalogue(world):
    split = split_interactions(world, HIDING)
    task = cold_item_task(split, "film", CONFIG)
    cold = np.flatnonzero(task.catalogue).tolist()
    known = [item for item in range(40) if not task.catalogue[item]]
    first, last = (judge(ranked(world, order), plain(split), split, task, (5,)) for order in (cold, known))
    assert first.values[:, PERSON_METRICS.index("hit_rate"), 0].mean() > 0.9
    assert not last.values[:, PERSON_METRICS.index("hit_rate"), 0].any()
    rows = [
        row
        for row in evaluation_rows({"a": first, "b": last}, {"a": "v", "b": "v"}, task, {}, CONFIG_AT_5)
        if row["metric"] == "coverage"
    ]
    assert [row["value"] for row in rows] == [1.0, 0.0], "coverage is that of the cold items"


def test_by_global_time_everything_that_people_turn_to_is_relevant(make):
    rows = [("ann", "film:a", 5.0, 0), ("ben", "film:b", 5.0, 1), ("ann", "knowledge:c", 5.0, 1)]
    rows += [
        ("ann", "film:new", 5.0, 9),
        ("ann", "film:b", 5.0, 9),
        ("zoe", "film:a", 5.0, 9),
        ("ben", "knowledge:c", 5, 9),
    ]
    world = make(rows)
    split = split_interactions(world, SplitConfig(kind="global_time", split_at=int(world.last_at.min()) + 10**11))
    task = evaluation_task(split, "film", CONFIG)
    keys = world.item_keys.to_pylist()
    asked = {world.user_keys[int(person)].as_py(): task.relevant[row].indices for row, person in enumerate(task.people)}
    assert {person: {keys[item] for item in items} for person, items in asked.items()} == {
        "ann": {"film:b", "film:new"},
        "zoe": {"film:a"},
    }
    assert {name: members.tolist() for name, members in task.segments.items() if members.any()} == {
        "few": [True, False],
        "new": [False, True],
        "linked": [True, False],
        "all": [True, True],
    }
    assert set(task.splits.values()) == {"global_time"}
    assert not task.excluded.any()
    cold = cold_item_task(split, "film", CONFIG)
    assert [keys[item] for item in cold.relevant.indices] == ["film:new"]
    assert cold.splits == {COLD_ITEM: "global_time"}
    other_side = evaluation_task(split, "knowledge", CONFIG)
    assert other_side.segments["cold"].tolist() == [True]


def test_a_cap_on_the_people_is_a_seeded_sample_and_is_reported(world):
    split = split_interactions(world, HIDING)
    capped = dataclasses.replace(CONFIG, max_people=25)
    task, again = (evaluation_task(split, "film", capped) for _ in range(2))
    assert (len(task.people), task.eligible > 25) == (25, True)
    assert task.people.tolist() == again.people.tolist()
    assert task.people.tolist() != evaluation_task(split, "film", dataclasses.replace(capped, seed=1)).people.tolist()


def test_the_measures_by_hand(make):
    rows = [("ann", f"film:{day}", 5.0, day) for day in range(5)]
    rows += [("ben", "film:5", 5.0, 0), ("ben", "film:6", 5.0, 0)]
    world = make(rows)
    split = split_interactions(world, BY_TIME)
    task = evaluation_task(split, "film", CONFIG)
    found = judge(ranked(world, [0, 5, 4, 6]), plain(split), split, task, (1, 3))
    # Ann is trained on items 0 to 3 and is asked for item 4; her list is 5, 4, 6. Items 5 and 6 have one person of two each.
    assert found.items.tolist() == [[5, 4, 6]]
    by_metric = dict(zip(PERSON_METRICS, found.values[0].tolist(), strict=True))
    bits = -np.log2(2 / 3)
    assert by_metric["recall"] == [0, 1]
    assert by_metric["ndcg"] == [0, pytest.approx(1 / np.log2(3))]
    assert by_metric["map"] == by_metric["mrr"] == [0, 0.5]
    assert by_metric["hit_rate"] == [0, 1]
    assert by_metric["novelty"] == pytest.approx([bits, (2 * bits - np.log2(1 / 3)) / 3])
    # Of seven items six have one person, item 4 has nobody: percentiles 4/7 and 1/14.
    assert by_metric["popularity"] == pytest.approx([4 / 7, (4 / 7 + 1 / 14 + 4 / 7) / 3])


def test_lists_are_measured_by_content_for_a_sample_only_and_only_where_there_is_content(world):
    split = split_interactions(world, HIDING)
    task = evaluation_task(split, "film", CONFIG)
    model = ranked(world, [0, 4, 8, 12, 16])
    some = judge(model, model, split, task, (5, 10), content_people=30).content_values
    measured = np.isfinite(some[:, CONTENT_METRICS.index("diversity")])
    assert 0 < measured.sum() <= 30
    calibrated = np.isfinite(some[:, CONTENT_METRICS.index("calibration")])
    on_target = task.segments["warm"] | task.segments["few"]
    assert (calibrated == (measured & on_target)).all(), (
        "who has no history on the target has no topics there to be true to"
    )
    assert np.isnan(judge(model, model, split, task, (5, 10)).content_values).all()
    bare = dataclasses.replace(split, train=dataclasses.replace(split.train, content=None))
    without = judge(model, model, bare, task, (5, 10), content_people=30)
    rows = evaluation_rows({"m": without}, {"m": "v"}, task, {}, CONFIG)
    assert not {row["metric"] for row in rows} & {*CONTENT_METRICS}
    rows = evaluation_rows(
        {"m": judge(model, model, split, task, (5, 10), content_people=30)}, {"m": "v"}, task, {}, CONFIG
    )
    content = [row for row in rows if row["metric"] == "diversity" and row["segment"] == "all"]
    assert [(row["cutoff"], row["users"]) for row in content] == [(5, measured.sum())]
    assert content[0]["value"] == pytest.approx(some[measured, CONTENT_METRICS.index("diversity")].mean())
    assert not any(row["metric"] == "calibration" for row in rows if row["segment"] in ("cold", "new"))


@pytest.fixture(scope="module")
def judged(world):
    split = split_interactions(world, HIDING)
    task = evaluation_task(split, "film", CONFIG)
    models = {
        "popularity": plain(split),
        "backwards": ranked(world, list(range(39, -1, -1))),
        "odd": ranked(world, [5, 1]),
    }
    judgements = {
        name: judge(model, models["popularity"], split, task, CONFIG.cutoffs, content_people=50)
        for name, model in models.items()
    }
    return task, judgements, {name: f"{name}-1" for name in models}


CHAMPIONS = {"warm": "odd", "few": "popularity", "cold": "popularity", "new": "backwards"}


def test_the_evaluation_has_one_row_for_each_of_its_keys(judged):
    task, judgements, versions = judged
    rows = evaluation_rows(judgements, versions, task, CHAMPIONS, CONFIG)
    table = pa.Table.from_pylist(rows, EVALUATION_SCHEMA)
    keys = {tuple(row[name] for name in ("model", "segment", "split", "metric", "cutoff")) for row in rows}
    assert len(keys) == table.num_rows
    assert {row["segment"] for row in rows} == {*SEGMENTS}
    assert {row["metric"] for row in rows} == {*PERSON_METRICS, *CONTENT_METRICS, "coverage", "gini"}
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    for row in rows:
        assert row["is_champion"] == (CHAMPIONS.get(row["segment"]) == row["model"])
        assert row["model_version"] == f"{row['model']}-1"
        if row["metric"] in ("ndcg", "coverage"):
            assert row["users"] == task.segments[row["segment"]].sum()


def test_the_rows_are_the_means_of_the_people_of_the_segment(judged):
    task, judgements, versions = judged
    for row in evaluation_rows(judgements, versions, task, CHAMPIONS, CONFIG):
        if row["metric"] in PERSON_METRICS:
            people = judgements[row["model"]].values[task.segments[row["segment"]]]
            own = people[:, PERSON_METRICS.index(row["metric"]), CONFIG.cutoffs.index(row["cutoff"])]
            assert row["value"] == pytest.approx(own.mean())


def test_a_models_figures_do_not_depend_on_which_others_are_judged(judged):
    task, judgements, versions = judged
    together = evaluation_rows(judgements, versions, task, CHAMPIONS, CONFIG)
    alone = evaluation_rows({"odd": judgements["odd"]}, versions, task, CHAMPIONS, CONFIG)
    for one, other in zip(alone, [row for row in together if row["model"] == "odd"], strict=True):
        assert one == pytest.approx(other)


def test_the_champion_of_each_segment_is_compared_with_every_other_model_over_the_same_people(judged):
    task, judgements, _ = judged
    rows = comparison_rows(CHAMPIONS, judgements, task, CONFIG)
    assert pa.Table.from_pylist(rows, COMPARISON_SCHEMA).num_rows == 4 * 2 * len(PERSON_METRICS) * 2
    assert {(row["segment"], row["model"], row["baseline"]) for row in rows} == {
        (segment, champion, other)
        for segment, champion in CHAMPIONS.items()
        for other in judgements
        if other != champion
    }
    for row in rows:
        metric, cutoff = PERSON_METRICS.index(row["metric"]), CONFIG.cutoffs.index(row["cutoff"])
        members = task.segments[row["segment"]]
        own, other = (judgements[row[name]].values[members, metric, cutoff] for name in ("model", "baseline"))
        assert row["difference"] == pytest.approx((own - other).mean(), abs=1e-12)
        assert row["model_value"] - row["baseline_value"] == pytest.approx(row["difference"], abs=1e-12)
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        assert row["p_value"] <= row["p_holm"] <= min(1, 2 * row["p_value"]) + 1e-12
        assert row["split"] == task.splits[row["segment"]]


def test_the_more_models_a_champion_is_compared_with_the_less_one_of_them_proves(judged):
    task, judgements, _ = judged
    people = len(task.people)
    random = np.random.default_rng(0)

    def figures(lead: float) -> Judgement:
        values = random.normal(lead, 0.3, (people, len(PERSON_METRICS), len(CONFIG.cutoffs)))
        return dataclasses.replace(judgements["odd"], values=values)

    many = {"best": figures(0.06), **{f"m{position:02}": figures(0.0) for position in range(20)}}
    rows = comparison_rows({"all": "best"}, many, task, CONFIG)
    few = comparison_rows({"all": "best"}, {name: many[name] for name in ("best", "m00")}, task, CONFIG)
    assert all(row["p_holm"] == row["p_value"] for row in few)
    adjusted = [row for row in rows if row["baseline"] == "m00"]
    assert [row["p_value"] for row in adjusted] == [row["p_value"] for row in few]
    assert any(row["p_holm"] > row["p_value"] for row in adjusted)


def test_a_segment_without_people_or_without_champion_has_no_rows(judged):
    task, judgements, versions = judged
    nobody = dataclasses.replace(task, segments={**task.segments, "new": np.zeros(len(task.people), bool)})
    assert "new" not in {row["segment"] for row in evaluation_rows(judgements, versions, nobody, CHAMPIONS, CONFIG)}
    assert "new" not in {row["segment"] for row in comparison_rows(CHAMPIONS, judgements, nobody, CONFIG)}
    assert comparison_rows({"warm": "odd"}, {"odd": judgements["odd"]}, task, CONFIG) == []


def test_a_person_who_has_everything_has_an_empty_list(make):
    rows = [("ann", f"film:{day}", 5.0, day) for day in range(5)] + [("ben", "film:4", 5.0, 9)]
    world = make(rows)
    split = split_interactions(world, BY_TIME)
    task = evaluation_task(split, "film", CONFIG)
    found = judge(plain(split), plain(split), split, task, (3,))
    assert found.items.tolist() == [[4, NO_ITEM, NO_ITEM]], "only what was held out is left"
    assert found.values[0, NDCG, 0] == 1


@pytest.mark.parametrize("kind", ["time_per_user", "global_time"])
def test_where_nobody_can_be_asked_there_are_no_rows(make, kind):
    for rows in ([], [("ann", "film:a", 5.0, 0)]):
        split = split_interactions(make(rows), SplitConfig(kind=kind))
        for task in (evaluation_task(split, "knowledge", CONFIG), cold_item_task(split, "knowledge", CONFIG)):
            judgement = judge(plain(split), plain(split), split, task, CONFIG.cutoffs, content_people=5)
            assert evaluation_rows({"popularity": judgement}, {"popularity": "v"}, task, {}, CONFIG) == []
            assert comparison_rows({"all": "popularity"}, {"popularity": judgement}, task, CONFIG) == []


def test_a_model_for_one_segment_is_judged_on_it_alone(planted):
    split = split_interactions(planted, SplitConfig())
    config = EvaluationConfig(cutoffs=(5,), draws=20)
    task = evaluation_task(split, "film", config)
    popular = fit_popularity(split.train, PopularityConfig())
    whole = judge(popular, popular, split, task, (5,))
    own = judge(popular, popular, split, task, (5,), only=("cold",))
    cold = task.segments["cold"]
    np.testing.assert_array_equal(own.values[cold], whole.values[cold])
    np.testing.assert_array_equal(own.items[cold], whole.items[cold])
    judgements = {"popularity": whole, "for_cold": own}
    rows = evaluation_rows(judgements, dict.fromkeys(judgements, "v"), task, {}, config)
    assert {row["segment"] for row in rows if row["model"] == "for_cold"} == {"cold"}
    lines = comparison_rows({"warm": "popularity", "cold": "popularity"}, judgements, task, config)
    assert {row["segment"] for row in lines} == {"cold"}
