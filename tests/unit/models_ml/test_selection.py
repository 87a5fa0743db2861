import dataclasses
import json
import weakref
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models_ml import FittedModels, Selection, SelectionConfig, fit_models, select_models
from models_ml import selection as selecting
from models_ml.als import ALSConfig
from models_ml.costs import COSTS_SCHEMA, Ledger
from models_ml.evaluation import COMPARISON_SCHEMA, EVALUATION_SCHEMA, SERVING_SEGMENTS, evaluation_task
from models_ml.interactions import interactions_from_arrow
from models_ml.model import ModelConfig
from models_ml.popularity import PopularityConfig
from models_ml.registry import config_from_json, fit_model
from models_ml.relating import RELATING_SEGMENTS
from models_ml.search import SEARCH_SCHEMA, Trial, Validation
from models_ml.selection import SERVED, choose_champions, search_candidates, validation_of, worse_champions
from models_ml.split import split_interactions
from tests.unit.models_ml.conftest import preference_table


@pytest.fixture(scope="module")
def selection(planted, quick) -> Selection:
    return select_models(planted, quick)


def value(table: pa.Table, **where) -> float:
    for name, wanted in where.items():
        table = table.filter(pc.equal(table[name], wanted))
    assert table.num_rows == 1, f"{table.num_rows} rows for {where}"
    return table["value"][0].as_py()


def test_where_tastes_are_planted_als_is_champion_and_popularity_is_beaten_beyond_doubt(selection):
    for domain in ("film", "knowledge"):
        assert selection.champions[domain]["warm"] in ("als", "als_joint")
        assert selection.champions[domain]["cold"] in ("als_joint", "als_joint_cold")
    lead = [
        row
        for row in selection.comparison.to_pylist()
        if (row["metric"], row["cutoff"], row["baseline"]) == ("ndcg", 10, "popularity")
        and row["segment"] in ("warm", "cold")
        and row["split"] != "global_time"
    ]
    assert len(lead) == 4
    assert min(row["ci_low"] for row in lead) > 0


def test_every_candidate_is_judged_on_every_target_segment_metric_and_cutoff(selection):
    table = selection.evaluation
    assert table.schema == EVALUATION_SCHEMA
    key = ["model", "target_domain", "segment", "split", "metric", "cutoff"]
    assert table.group_by(key).aggregate([([], "count_all")]).num_rows == table.num_rows
    assert (table["ci_low"].to_numpy() <= table["value"].to_numpy()).all()
    assert (table["value"].to_numpy() <= table["ci_high"].to_numpy()).all()
    rows = [row for row in table.to_pylist() if (row["metric"], row["cutoff"]) == ("ndcg", 10)]
    models = {row["model"] for row in rows if row["split"] == "time_per_user"}
    assert models - {"als_joint_cold"} == {"popularity", "recent_popularity", "als", "als_joint", SERVED}
    for domain in ("film", "knowledge"):
        for segment, split in (("warm", "time_per_user"), ("cold", "hidden_side"), ("new", "hidden_side")):
            found = {
                row["model"]
                for row in rows
                if (row["target_domain"], row["segment"], row["split"]) == (domain, segment, split)
            }
            assert found == models, f"{domain}, {segment}"


def test_the_split_at_one_point_in_time_judges_what_is_served_and_popularity(selection):
    for domain in ("film", "knowledge"):
        rows = [
            row
            for row in selection.evaluation.to_pylist()
            if row["split"] == "global_time" and row["target_domain"] == domain
        ]
        shown = {name for segment, name in selection.champions[domain].items() if segment not in RELATING_SEGMENTS}
        wanted = {"popularity", selection.fallbacks[domain], *shown, SERVED}
        assert {row["model"] for row in rows} == wanted


def test_one_champion_is_marked_for_each_target_segment_and_split(selection):
    for row in selection.evaluation.to_pylist():
        chosen = selection.champions[row["target_domain"]].get(row["segment"])
        assert row["is_champion"] == (row["model"] == chosen)


def test_what_is_served_is_the_champion_of_each_segment(selection):
    rows = {
        (row["model"], row["segment"]): row["value"]
        for row in selection.evaluation.to_pylist()
        if (row["target_domain"], row["metric"], row["cutoff"]) == ("film", "ndcg", 10)
        and row["split"] != "global_time"
    }
    for segment in SERVING_SEGMENTS:
        if (SERVED, segment) in rows:
            assert rows[SERVED, segment] == rows[selection.champions["film"][segment], segment]


def test_a_platform_model_is_its_fallback_for_people_without_history_there(selection):
    fallback = selection.fallbacks["film"]
    for metric in ("ndcg", "recall", "coverage"):
        where = {"target_domain": "film", "segment": "cold", "metric": metric, "cutoff": 10, "split": "hidden_side"}
        assert value(selection.evaluation, model="als", **where) == value(selection.evaluation, model=fallback, **where)


def test_everyone_together_is_the_mean_of_the_serving_segments(selection):
    rows = [
        row
        for row in selection.evaluation.to_pylist()
        if (row["target_domain"], row["metric"], row["cutoff"]) == ("film", "ndcg", 10)
        and row["split"] != "global_time"
        and row["model"] == "als_joint"
    ]
    parts = [row for row in rows if row["segment"] in SERVING_SEGMENTS]
    (everyone,) = [row for row in rows if row["segment"] == "all"]
    assert sum(row["users"] for row in parts) == everyone["users"]
    total = sum(row["value"] * row["users"] for row in parts)
    assert everyone["value"] == pytest.approx(total / everyone["users"])


def test_all_trials_are_recorded_and_one_is_chosen(selection):
    table = selection.search
    assert table.schema == SEARCH_SCHEMA
    for model, tried in (("als", 5), ("als_joint", 5), ("popularity", 2), ("recent_popularity", 8)):
        rows = [
            row
            for row in table.to_pylist()
            if (row["model"], row["target_domain"], row["segment"]) == (model, "film", "warm")
        ]
        assert len(rows) == tried, model
        assert sum(row["is_chosen"] for row in rows) == 1
        (chosen,) = [config_from_json(json.loads(row["config"])) for row in rows if row["is_chosen"]]
        final = {"iterations": 15} if model.startswith("als") else {}
        assert dataclasses.replace(chosen, **final) == selection.configs["film"][model]


def test_who_is_new_to_a_target_gets_the_parameters_that_are_best_for_them_there(selection):
    """A joint model is one for both targets and for those at home there; its cold variant is chosen for the others alone."""
    rows = selection.search.to_pylist()
    for domain in ("film", "knowledge"):
        tried = {
            row["config"]: row["value"]
            for row in rows
            if row["model"] in ("als_joint", "als_joint_cold")
            and (row["target_domain"], row["segment"]) == (domain, "cold")
        }
        (chosen,) = {
            row["config"]
            for row in rows
            if (row["model"], row["target_domain"]) == ("als_joint_cold", domain) and row["is_chosen"]
        }
        assert tried[chosen] == max(tried.values())
        variant = dataclasses.replace(config_from_json(json.loads(chosen)), iterations=15)
        configs = selection.configs[domain]
        # Where it is the same as the usual one it is no candidate of its own.
        assert configs.get("als_joint_cold", configs["als_joint"]) == variant
        assert "als_joint_cold" not in configs or configs["als_joint_cold"] != configs["als_joint"]
    assert any("als_joint_cold" in configs for configs in selection.configs.values())
    for champions in selection.champions.values():
        assert "als_joint_cold" not in {name for segment, name in champions.items() if segment != "cold"}


def test_a_configuration_that_two_variants_try_is_fitted_once(planted, quick, monkeypatch):
    fitted: list[ModelConfig] = []

    def fit(train, config):
        fitted.append(config)
        return fit_model(train, config)

    monkeypatch.setattr("models_ml.selection.fit_model", fit)
    outer = split_interactions(planted, quick.split)
    config = dataclasses.replace(quick, candidates=("als_joint",))
    search_candidates(outer.train, validation_of(outer, config), config, Ledger())
    joint = [config for config in fitted if isinstance(config, ALSConfig)]
    assert len(joint) == len(set(joint)) == 5


def test_a_search_keeps_no_more_models_than_its_variant_tries_again(planted, quick, monkeypatch):
    alive: list[weakref.ref] = []
    most = 0

    def fit(train, config):
        nonlocal most
        model = fit_model(train, config)
        alive.append(weakref.ref(model))
        most = max(most, sum(one() is not None for one in alive))
        return model

    monkeypatch.setattr("models_ml.selection.fit_model", fit)
    outer = split_interactions(planted, quick.split)
    config = dataclasses.replace(quick, candidates=("als_joint",), search=dataclasses.replace(quick.search, trials=3))
    search_candidates(outer.train, validation_of(outer, config), config, Ledger())
    # Popularity and its best configurations, five of the joint model, and those that are best so far.
    assert len(alive) > most + 8
    assert most <= 14


def test_ease_looks_at_as_many_items_as_asked_for(planted, quick):
    outer = split_interactions(planted, quick.split)
    config = dataclasses.replace(quick, candidates=("ease", "ease_joint"), ease_items=7)
    found = search_candidates(outer.train, validation_of(outer, config), config, Ledger())
    for trials in found.values():
        for name in ("ease", "ease_joint"):
            assert trials[name].config.max_items == 7
            assert trials[name].model.describe()["items_kept"] == 7


def test_where_nobody_is_new_to_a_target_no_variant_is_tried(planted_table, quick):
    """As many people, but each knows one platform only."""
    users = pc.if_else(
        pc.equal(planted_table["domain"], "film"),
        planted_table["user_key"],
        pc.binary_join_element_wise("k", planted_table["user_key"], ""),
    )
    at = planted_table.schema.get_field_index("user_key")
    alone = interactions_from_arrow(planted_table.set_column(at, "user_key", users))
    outer = split_interactions(alone, quick.split)
    found = search_candidates(outer.train, validation_of(outer, quick), quick, Ledger())
    assert all("als_joint" in trials and "als_joint_cold" not in trials for trials in found.values())


def test_parameters_found_before_are_tried_first(planted, quick):
    known = {("als", "film"): {"regularization": 33.0, "alpha": 3.0}}
    found = select_models(planted, quick, known=known).search.to_pylist()
    tried = [json.loads(row["config"]) for row in found if (row["model"], row["target_domain"]) == ("als", "film")]
    assert (tried[0]["regularization"], tried[0]["alpha"]) == (33.0, 3.0)
    assert len({json.dumps(config) for config in tried}) == 6


def test_parameters_found_on_everything_are_not_tried_where_the_choice_is_as_of_a_time(planted, quick):
    known = {("als", "film"): {"regularization": 33.0, "alpha": 3.0}}
    config = dataclasses.replace(quick, candidates=("als",), choose_as_of=True)
    lines: list[str] = []
    found = select_models(planted, config, lines.append, known=known)
    assert sum("33.0" in line for line in lines) == 1
    usual = select_models(planted, dataclasses.replace(config, choose_as_of=False), known=known)
    assert (found.to_json(), found.search) == (usual.to_json(), usual.search), "what is served is chosen on everything"


def test_every_stage_of_every_model_has_its_cost(selection):
    assert selection.costs.schema == COSTS_SCHEMA
    stages = {(row["model"], row["stage"]) for row in selection.costs.to_pylist()}
    assert stages >= {
        (name, stage) for name in ("als", "als_joint", "popularity") for stage in ("search", "fit", "evaluate")
    }
    assert min(selection.costs["seconds"].to_pylist()) >= 0


def test_the_same_seed_gives_the_same_choice_figures_and_factors(planted, quick, selection):
    again = select_models(planted, quick)
    assert again.to_json() == selection.to_json()
    assert again.evaluation.equals(selection.evaluation)
    assert again.comparison.equals(selection.comparison)
    assert again.search.equals(selection.search)
    first, second = fit_models(planted, selection).to_arrays()[1], fit_models(planted, again).to_arrays()[1]
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_the_search_never_sees_the_test_part(planted, quick):
    """Whatever is held out for the test, the choice is the same."""
    outer = split_interactions(planted, quick.split)
    held = planted.csr(np.arange(1, planted.entries + 1)).multiply(
        outer.held_out.csr(np.ones(outer.held_out.entries, np.int64))
    )
    weight = planted.weight.copy()
    weight[held.tocsr().data - 1] = 0.0
    spoiled = dataclasses.replace(planted, weight=weight, strength=weight.copy())
    assert select_models(spoiled, quick).search.equals(select_models(planted, quick).search)


def test_an_item_that_is_hidden_from_training_takes_no_place_in_the_search(planted, quick):
    outer = split_interactions(planted, quick.split)
    assert outer.hidden_items.any()
    for task in validation_of(outer, quick).tasks.values():
        assert task.excluded[outer.hidden_items].all()
        assert not task.catalogue[outer.hidden_items].any()


@pytest.mark.parametrize("choose_as_of", [True, False])
def test_what_is_judged_at_one_point_in_time_is_chosen_without_the_future_only_where_asked_for(
    planted, quick, choose_as_of
):
    """Whatever comes after the point in time, the same models are champions for it."""
    at_once = split_interactions(planted, dataclasses.replace(quick.split, kind="global_time"))
    taste = np.array([int(key.split(":")[1]) % 4 for key in planted.item_keys.to_pylist()])
    own = np.array([int(key[1:]) % 4 for key in planted.user_keys.to_pylist()])
    # After that, everybody turns from their own taste: the best model is another one, which a choice by then cannot know.
    later = planted.last_at > at_once.split_at
    weight = np.where(later & (taste[planted.indices] == own[planted.rows]), 0, planted.weight).astype(np.float32)
    turned = dataclasses.replace(planted, weight=weight, strength=weight.copy())
    config = dataclasses.replace(quick, candidates=("als", "item_neighbours"), choose_as_of=choose_as_of)

    def judged(world):
        return {
            (row["model"], row["target_domain"], row["segment"])
            for row in select_models(world, config).evaluation.to_pylist()
            if row["split"] == "global_time" and row["is_champion"]
        }

    assert (judged(turned) == judged(planted)) == choose_as_of


def test_a_budget_adds_configurations(planted, quick):
    config = dataclasses.replace(quick, search=dataclasses.replace(quick.search, trials=2))
    lines: list[str] = []
    select_models(planted, config, lines.append)
    assert sum(line.startswith("search als film") and ":" in line for line in lines) == 7


@pytest.mark.parametrize(
    ("lead", "strict", "champion"),
    [(0.01, True, "popularity"), (0.01, False, "als"), (0.2, True, "als"), (-0.2, False, "popularity")],
    ids=["noise", "noise allowed", "beyond doubt", "worse"],
)
def test_a_lead_over_popularity_must_be_beyond_doubt(planted, quick, lead, strict, champion):
    split = split_interactions(planted, quick.split)
    task = evaluation_task(split, "film", quick.evaluation)
    base = np.random.default_rng(0).random(len(task.people))
    noise = np.random.default_rng(1).normal(0, 0.3, len(task.people))

    def trial(config: ModelConfig, values: np.ndarray) -> Trial:
        scores = {("film", name): float(values[m].mean()) for name, m in task.segments.items() if m.any()}
        return Trial(config, scores, {"film": values})

    trials = {
        "popularity": trial(PopularityConfig(), base),
        "als": trial(ALSConfig(domain="film"), base + noise - noise.mean() + lead),
    }
    config = dataclasses.replace(quick, must_beat_popularity=strict)
    validation = Validation(split, {"film": task}, quick.evaluation, 10)
    champions = choose_champions(validation, {"film": trials}, {"film": "popularity"}, config)
    assert champions["film"]["warm"] == champion


def test_a_segment_with_too_few_people_takes_over_a_champion(planted, quick):
    found = select_models(planted, dataclasses.replace(quick, min_people=10_000))
    for domain, champions in found.champions.items():
        served = {segment: name for segment, name in champions.items() if segment not in RELATING_SEGMENTS}
        assert set(served.values()) == {found.fallbacks[domain]}
    warm = select_models(planted, dataclasses.replace(quick, min_people=60))
    assert warm.champions["film"]["warm"] in ("als", "als_joint")
    assert warm.champions["film"]["few"] == warm.champions["film"]["warm"]


def test_only_what_is_liked_counts_as_relevant(make, quick):
    rows = [("ann", f"film:{day}", 5.0 if day < 9 else 2.5, day) for day in range(10)]
    rows += [("ben", f"film:{day}", 5.0, day) for day in range(10)]
    split = split_interactions(make(rows), quick.split)
    task = evaluation_task(split, "film", quick.evaluation)
    assert split.train.entries == 16, "what is held out and disliked is not trained on either"
    assert np.diff(task.relevant.indptr).tolist() == [1, 2]


def test_a_cap_on_the_people_is_a_seeded_sample_and_is_reported(planted, quick):
    capped = dataclasses.replace(quick.evaluation, max_people=25)
    split = split_interactions(planted, quick.split)
    task = evaluation_task(split, "film", capped)
    assert (len(task.people), task.eligible > 25) == (25, True)
    assert task.people.tolist() == evaluation_task(split, "film", capped).people.tolist()
    found = select_models(planted, dataclasses.replace(quick, evaluation=capped))
    assert found.people["film"] == {"eligible": task.eligible, "evaluated": 25}


def test_a_selection_and_its_models_come_back_from_what_is_stored(planted, selection):
    stored = json.loads(json.dumps(selection.to_json()))
    again = Selection.from_json(
        stored,
        search=selection.search,
        evaluation=selection.evaluation,
        comparison=selection.comparison,
        costs=selection.costs,
    )
    assert again.configs == selection.configs
    models = fit_models(planted, again)
    manifest, arrays = models.to_arrays()
    assert not any(values.dtype.hasobject for values in arrays.values())
    back = FittedModels.from_arrays(json.loads(json.dumps(manifest)), arrays)
    columns = planted.domain_range("knowledge")
    for version, model in models.models.items():
        np.testing.assert_array_equal(
            back.models[version].top_k(planted, columns, 5).items, model.top_k(planted, columns, 5).items
        )
    assert back.served == models.served
    assert back.fallback_for("film")[0] == models.fallback_for("film")[0]


def test_models_are_not_fitted_on_other_interactions_than_were_selected_on(planted, selection):
    with pytest.raises(ValueError, match="changed since the models were selected"):
        fit_models(planted.take(np.arange(200)), selection)


def test_a_version_names_the_model_and_changes_with_configuration_interactions_and_code(planted, selection):
    version = selection.version("film", "als")
    assert version.startswith("als-")
    assert version in selection.evaluation["model_version"].to_pylist()
    for changed in ({"interactions_fingerprint": "other"}, {"code": "other"}):
        assert dataclasses.replace(selection, **changed).version("film", "als") != version


def test_the_comparison_is_paired_over_the_same_people(selection):
    assert selection.comparison.schema == COMPARISON_SCHEMA
    rows = selection.comparison.to_pylist()
    assert all(row["baseline"] not in (SERVED, row["model"]) for row in rows), "what is served is no rival of itself"
    for row in rows:
        assert row["difference"] == pytest.approx(row["model_value"] - row["baseline_value"])
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]


def test_a_blend_that_another_segment_takes_over_is_judged_there_too(make, planted_table, quick, monkeypatch):
    """Too few people are in `few` to choose by, so it takes over what wins `warm`: here a blend."""
    columns = ("user_key", "item_key", "weight")
    warm = [tuple(row[name] for name in columns) for row in planted_table.to_pylist()]
    few = [(f"v{user[1:]}", *rest) for user, *rest in warm if int(user[1:]) < 40]
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for row in few:
        side = (row[0], row[1].split(":")[0])
        counts[side] = counts.get(side, 0) + 1
        if counts[side] <= 4:
            kept.append(row)
    world = make([(*row, place % 8) for place, row in enumerate([*warm, *kept])])
    monkeypatch.setattr(
        "models_ml.selection._champion",
        lambda validation, found, domain, segment, config: (
            "blend_warm" if "blend_warm" in found and segment == "warm" else "popularity"
        ),
    )
    # It is worse than popularity there, which is not what is asked.
    config = dataclasses.replace(quick, blend_members=3, min_people=60, must_beat_popularity=False)
    found = select_models(world, config)
    assert found.champions["film"]["few"] == found.champions["film"]["warm"] == "blend_warm"
    cells = {
        (row["model"], row["segment"])
        for row in found.evaluation.to_pylist()
        if (row["target_domain"], row["split"]) == ("film", "time_per_user")
    }
    segments = {segment for _, segment in cells} & {"warm", "few"}
    assert segments == {"warm", "few"}
    assert {("blend_warm", segment) for segment in segments} <= cells
    assert ("blend_warm", "linked") not in cells


def test_a_champion_that_the_test_shows_to_be_worse_than_popularity_is_not_served(
    quick: SelectionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody likes the same films, whenever; so what is rising is chance, and its lead on the inner split would be too."""
    random = np.random.default_rng(0)
    share = 1 / np.arange(1, 41) ** 1.5
    rows = [
        (f"u{person:03}", f"film:{item:02}", 5.0, int(random.integers(400)))
        for person in range(200)
        for item in random.choice(40, 10, replace=False, p=share / share.sum())
    ]
    world = interactions_from_arrow(preference_table(rows))
    config = dataclasses.replace(quick, candidates=("rising",))
    by_the_rules = select_models(world, config).champions["film"]

    def by_chance(*arguments: Any) -> dict[str, dict[str, str]]:
        return {
            domain: own | {"warm": "rising", "new": "rising"} for domain, own in choose_champions(*arguments).items()
        }

    monkeypatch.setattr(selecting, "choose_champions", by_chance)
    kept = select_models(world, dataclasses.replace(config, must_beat_popularity=False))
    assert kept.champions["film"]["warm"] == "rising"
    assert ("film", "warm") in worse_champions(kept.comparison.to_pylist())
    found = select_models(world, config)
    assert found.champions["film"]["warm"] == "popularity"
    assert found.champions["film"]["cold_item"] == by_the_rules["cold_item"]
    assert not worse_champions(found.comparison.to_pylist())
    shown = {row["model"] for row in found.evaluation.to_pylist() if row["segment"] == "warm" and row["is_champion"]}
    assert shown == {"popularity"}
