"""Which items go with an item is judged by what people who know the one went on to like, and chosen by that."""

import dataclasses

import numpy as np
import pyarrow.compute as pc
import pytest

from models_ml import EvaluationConfig, Interactions, Selection, fit_models, score_related_items, select_models
from models_ml.als import ALSConfig
from models_ml.ease import EASEConfig
from models_ml.metrics import PERSON_METRICS
from models_ml.neighbours import ItemNeighboursConfig
from models_ml.popularity import PopularityConfig, fit_popularity
from models_ml.registry import fit_model
from models_ml.relating import (
    ITEM_TO_ITEM,
    ITEM_TO_ITEM_ACROSS,
    judge_relating,
    popular_relater,
    related_lists,
    relater,
    relating_task,
)
from models_ml.retrieval import TopK
from models_ml.selection import choose_champions, validation_of
from models_ml.split import NOT_HIDDEN, Split, SplitConfig, split_interactions


def named(interactions: Interactions, items: np.ndarray) -> list[str]:
    keys = interactions.item_keys.to_pylist()
    return ["".join(keys[item][-1] for item in row if item >= 0) for row in items]


def split_of(everything: Interactions) -> Split:
    """The first day trains, all later ones are held out."""
    is_held = everything.last_at > everything.last_at.min()
    nobody = np.full(everything.shape[0], NOT_HIDDEN, dtype=np.int8)
    nothing = np.zeros(everything.shape[1], dtype=np.bool_)
    return Split("time_per_user", everything.where(~is_held), everything.where(is_held), nobody, nothing)


def fixed(*lists: tuple[str, tuple[float, ...]], of: Interactions):
    """Gives the first item asked about the first list, and so on."""
    index = {key[-1]: place for place, key in enumerate(of.item_keys.to_pylist())}

    def relate(items: np.ndarray, columns: range, k: int) -> TopK:
        found = TopK.empty(len(items), k)
        for row, (names, scores) in enumerate(lists[: len(items)]):
            found.items[row, : len(names)] = [index[name] for name in names]
            found.scores[row, : len(names)] = scores
        return found

    return relate


@pytest.fixture
def films(make) -> Interactions:
    return make([("ann", f"film:{name}", 5.0, 1) for name in "abcdef"])


def test_a_list_that_runs_short_is_filled_up_by_the_next_way_without_repeats(films):
    first = fixed(("bc", (0.9, 0.5)), of=films)
    second = fixed(("cdb", (0.8, 0.75, 0.1)), of=films)
    lists, source = related_lists([first, second], np.array([0]), range(6), 4)
    assert named(films, lists.items) == ["bcd"]
    assert source.tolist() == [[0, 0, 1, -1]]
    assert lists.scores[0, :3] == pytest.approx([0.9, 0.5, 0.5 - (1 - 0.75)])


def test_an_item_that_the_first_way_knows_nothing_of_gets_the_list_of_the_next_as_it_is(films):
    nothing = fixed(("", ()), of=films)
    second = fixed(("cd", (0.8, 0.75)), of=films)
    lists, source = related_lists([nothing, second], np.array([0]), range(6), 2)
    assert named(films, lists.items) == ["cd"]
    assert source.tolist() == [[1, 1]]
    assert lists.scores[0] == pytest.approx([0.8, 0.75])


@pytest.mark.parametrize("config", [ALSConfig(factors=8), ItemNeighboursConfig()], ids=lambda config: config.name)
def test_neighbours_are_of_the_range_without_the_item_itself_and_what_is_hidden(planted, config):
    hidden = np.zeros(planted.shape[1], dtype=np.bool_)
    hidden[[4, 8]] = True
    films, items = planted.domain_range("film"), np.array([0, 1, 50])
    found = relater(fit_model(planted, config), hidden)(items, films, 5)
    assert (found.items >= films.start).all()
    assert (found.items < films.stop).all()
    assert not np.isin(found.items, [4, 8]).any()
    assert not (found.items == items[:, None]).any()
    taste = np.array([int(key.split(":")[1]) % 4 for key in planted.item_keys.to_pylist()])
    assert (taste[found.items] == taste[items][:, None]).mean() > 0.9


def test_a_model_without_neighbours_is_refused(planted):
    with pytest.raises(ValueError, match="ease does not say which items are neighbours"):
        relater(fit_model(planted, EASEConfig(domain="film", max_items=10)))


def test_a_person_counts_once_with_the_mean_of_the_items_that_they_know(make):
    """ann knows a and b and goes on to like c: the list of the one that begins with c gains 1, that of the other 1 / log2(3)."""
    world = make(
        [("ann", "film:a", 5.0, 1), ("ann", "film:b", 5.0, 1), ("ann", "film:c", 5.0, 2)]
        + [("eve", f"film:{name}", 5.0, 1) for name in "abcd"]
    )
    split = split_of(world)
    asked = relating_task(split, "film", ITEM_TO_ITEM, EvaluationConfig())
    assert [split.train.user_keys[int(person)].as_py() for person in asked.task.people] == ["ann"]
    assert named(split.train, asked.sources[:, None]) in (["a", "b"], ["b", "a"])
    way = fixed(("cd", (0.9, 0.8)), ("dc", (0.9, 0.8)), of=split.train)
    judged = judge_relating([way], split, asked, (2,))
    assert judged.values[0, PERSON_METRICS.index("ndcg"), 0] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert judged.values[0, PERSON_METRICS.index("recall"), 0] == pytest.approx(1)


def test_across_platforms_the_side_that_is_hidden_is_asked_for_by_items_of_the_other(planted):
    split = split_interactions(planted, SplitConfig(hidden_share=0.3))
    asked = relating_task(split, "film", ITEM_TO_ITEM_ACROSS, EvaluationConfig())
    film = planted.domain_range("film")
    assert len(asked.task.people)
    assert (split.hidden_domain[asked.task.people] == planted.domains.index("film")).all()
    assert (asked.sources >= film.stop).all()
    assert asked.task.splits == {ITEM_TO_ITEM_ACROSS: "hidden_side"}
    assert sorted(set(asked.rows.tolist())) == list(range(len(asked.task.people)))
    known = split.train.csr(np.ones(split.train.entries))
    assert all(known[asked.task.people[row], source] for row, source in zip(asked.rows, asked.sources, strict=True))


def test_where_tastes_are_planted_neighbours_beat_popular_items_within_and_across(planted):
    split = split_interactions(planted, SplitConfig(hidden_share=0.3))
    popular = popular_relater(fit_popularity(split.train, PopularityConfig()))
    way = relater(fit_model(split.train, ALSConfig(factors=8)))
    for segment in (ITEM_TO_ITEM, ITEM_TO_ITEM_ACROSS):
        asked = relating_task(split, "film", segment, EvaluationConfig())
        own, others = (judge_relating([one], split, asked, (10,)).values[:, 1, 0] for one in (way, popular))
        assert PERSON_METRICS[1] == "ndcg"
        assert own.mean() > 1.5 * others.mean()


@pytest.fixture(scope="module")
def related_by(planted, quick):
    """Which of two models relates films on the inner split, the usual one first, and the NDCG@10 of each."""
    validation = validation_of(split_interactions(planted, quick.split), quick)
    popular = fit_popularity(validation.split.train, PopularityConfig())
    validation.fallbacks["film"] = popular
    baseline = validation.try_model(popular, ["film"])

    def choose(usual, other) -> tuple[str, list[float]]:
        models = {"als_joint": usual, "item_neighbours_joint": other}
        trials = {name: validation.try_model(model, ["film"]) for name, model in models.items()}
        champions = choose_champions(
            validation, {"film": {"popularity": baseline, **trials}}, {"film": "popularity"}, quick
        )
        asked = relating_task(validation.split, "film", ITEM_TO_ITEM, quick.evaluation)
        ways = [relater(model, asked.task.excluded) for model in (usual, other)]
        judged = [judge_relating([way], validation.split, asked, (10,)).values[:, 1, 0].mean() for way in ways]
        return champions["film"][ITEM_TO_ITEM], judged

    return validation.split.train, choose


def test_another_model_relates_items_only_if_it_is_better_than_the_usual_one_beyond_doubt(related_by):
    train, choose = related_by
    good = fit_model(train, ALSConfig(factors=8))
    shape = good.item_factors.shape
    by_chance = [
        dataclasses.replace(good, item_factors=np.random.default_rng(seed).normal(size=shape).astype(np.float32))
        for seed in (0, 1)
    ]
    assert choose(good, by_chance[0])[0] == "als_joint"
    assert choose(by_chance[0], good)[0] == "item_neighbours_joint"
    # Of two that know nothing one is ahead by chance, whichever is the usual one.
    assert [choose(*by_chance)[0], choose(*reversed(by_chance))[0]] == ["als_joint", "als_joint"]
    first, second = choose(*by_chance)[1]
    assert first != second


@pytest.fixture(scope="module")
def selection(planted, quick) -> Selection:
    names = ("als_joint", "item_neighbours_joint")
    return select_models(planted, dataclasses.replace(quick, candidates=names, global_time=False))


def test_what_relates_items_is_in_the_evaluation_beside_popular_items(selection):
    for segment, split in ((ITEM_TO_ITEM, "time_per_user"), (ITEM_TO_ITEM_ACROSS, "hidden_side")):
        rows = selection.evaluation.filter(pc.equal(selection.evaluation["segment"], segment)).to_pylist()
        assert {row["model"] for row in rows} == {"popularity", "als_joint", "item_neighbours_joint"}
        assert {row["split"] for row in rows} == {split}
        champions = {(row["target_domain"], row["model"]) for row in rows if row["is_champion"]}
        assert champions == {(domain, own[segment]) for domain, own in selection.champions.items()}


@pytest.mark.parametrize("chosen", ["als_joint", "item_neighbours_joint"])
def test_items_are_related_by_what_was_chosen(planted, selection, chosen):
    champions = {domain: {**own, ITEM_TO_ITEM: chosen} for domain, own in selection.champions.items()}
    models = fit_models(planted, dataclasses.replace(selection, champions=champions))
    rows = [row for batch in score_related_items(models, planted, k=3) for row in batch.to_pylist()]
    within = [row for row in rows if row["item_key"].split(":")[0] == row["target_domain"]]
    assert {row["strategy"] for row in within if row["rank"] == 1} == {chosen}
    by_list: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        by_list.setdefault((row["item_key"], row["target_domain"]), []).append(row["score"])
    assert all(scores == sorted(scores, reverse=True) for scores in by_list.values())
    assert len({(row["item_key"], row["target_domain"], row["related_item_key"]) for row in rows}) == len(rows)
