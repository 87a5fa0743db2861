import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models_ml import FittedModels, SearchConfig, Selection, fit_models, select_models
from models_ml.als import ALSConfig
from models_ml.evaluation import COMPARISON_SCHEMA, EVALUATION_SCHEMA, evaluation_task
from models_ml.model import ModelConfig
from models_ml.popularity import PopularityConfig
from models_ml.search import SEARCH_SCHEMA, Trial, Validation
from models_ml.selection import choose_champions, config_from_json, fit_model
from models_ml.split import split_interactions


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
        assert selection.champions[domain]["cold"] == "als_joint"
    lead = selection.comparison.filter(
        pc.and_(pc.equal(selection.comparison["metric"], "ndcg"), pc.equal(selection.comparison["cutoff"], 10))
    )
    assert lead.num_rows == 6
    assert min(lead["ci_low"].to_pylist()) > 0


def test_every_candidate_is_judged_on_every_target_segment_metric_and_cutoff(selection):
    table = selection.evaluation
    assert table.schema == EVALUATION_SCHEMA
    cells = table.group_by(["model", "target_domain", "segment", "metric", "cutoff"]).aggregate([([], "count_all")])
    assert cells.num_rows == table.num_rows == 4 * 2 * 3 * 6 * 2
    assert (table["ci_low"].to_numpy() <= table["value"].to_numpy()).all()
    assert (table["value"].to_numpy() <= table["ci_high"].to_numpy()).all()
    assert set(table["split"].to_pylist()) == {"time_per_user"}


def test_one_champion_is_marked_for_each_target_and_segment(selection):
    marked = selection.evaluation.filter(selection.evaluation["is_champion"])
    found = {(row["target_domain"], row["segment"], row["model"]) for row in marked.to_pylist()}
    assert found == {
        (domain, segment, name)
        for domain, champions in selection.champions.items()
        for segment, name in champions.items()
    }


def test_a_platform_model_is_its_fallback_for_people_without_history_there(selection):
    fallback = selection.fallbacks["film"]
    for metric in ("ndcg", "recall", "coverage"):
        where = {"target_domain": "film", "segment": "cold", "metric": metric, "cutoff": 10}
        assert value(selection.evaluation, model="als", **where) == value(selection.evaluation, model=fallback, **where)


def test_everyone_together_is_the_mean_of_the_segments(selection):
    rows = selection.evaluation.filter(
        pc.and_(pc.equal(selection.evaluation["metric"], "ndcg"), pc.equal(selection.evaluation["cutoff"], 10))
    ).to_pylist()
    cells = {(row["model"], row["target_domain"], row["segment"]): row for row in rows}
    for model in ("popularity", "als_joint"):
        warm, cold, both = (cells[model, "film", segment] for segment in ("warm", "cold", "all"))
        assert warm["users"] + cold["users"] == both["users"]
        total = warm["value"] * warm["users"] + cold["value"] * cold["users"]
        assert both["value"] == pytest.approx(total / both["users"])


def test_all_trials_are_recorded_and_one_is_chosen(selection):
    table = selection.search
    assert table.schema == SEARCH_SCHEMA
    for model, tried in (("als", 2 + 1), ("als_joint", 2 + 1), ("popularity", 2), ("recent_popularity", 2)):
        rows = [
            row
            for row in table.to_pylist()
            if (row["model"], row["target_domain"], row["segment"]) == (model, "film", "warm")
        ]
        assert len(rows) == tried, model
        assert sum(row["is_chosen"] for row in rows) == 1
    als = [row for row in table.to_pylist() if row["model"] == "als" and row["target_domain"] == "film"]
    best = max((row for row in als if row["segment"] == "warm"), key=lambda row: row["value"])
    assert best["is_chosen"]
    chosen = config_from_json(json.loads(best["config"]))
    assert dataclasses.replace(chosen, iterations=6) == selection.configs["film"]["als"]


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


def test_a_budget_limits_what_is_trained(planted, quick):
    config = dataclasses.replace(quick, search=dataclasses.replace(quick.search, max_configs=1))
    lines: list[str] = []
    select_models(planted, config, lines.append)
    assert sum(line.startswith("search als") for line in lines) == 3
    with pytest.raises(ValueError, match="budget of the search is empty"):
        select_models(planted, dataclasses.replace(quick, search=dataclasses.replace(quick.search, max_configs=0)))


def test_a_configuration_without_a_solution_loses_and_is_recorded(planted, quick):
    hopeless = dataclasses.replace(quick.search, als_grid=((64, 1e-12, 1e12), *quick.search.als_grid))
    found = select_models(planted, dataclasses.replace(quick, search=hopeless))
    failures = [row for row in found.search.to_pylist() if row["failure"]]
    assert {row["model"] for row in failures} == {"als", "als_joint"}
    assert all("regularization" in row["failure"] and row["value"] is None for row in failures)
    assert all(config["als"].factors == 8 or config["als"].factors == 4 for config in found.configs.values())


def test_when_no_configuration_has_a_solution_popularity_is_champion_and_nothing_else_is_served(planted, quick):
    hopeless = SearchConfig(als_grid=((64, 1e-12, 1e12),), weightings=("weight",), half_lives=(3.0,))
    found = select_models(planted, dataclasses.replace(quick, search=hopeless))
    assert {name for champions in found.champions.values() for name in champions.values()} <= {
        "popularity",
        "recent_popularity",
    }
    assert fit_models(planted, found).joint is None


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
        scores = {("film", name): float(values[members].mean()) for name, members in task.segments.items()}
        return Trial(config, scores, {"film": values})

    trials = {
        "popularity": trial(PopularityConfig(), base),
        "als": trial(ALSConfig(domain="film"), base + noise - noise.mean() + lead),
    }
    config = dataclasses.replace(quick, must_beat_popularity=strict)
    champions, fallbacks = choose_champions(
        Validation(split, {"film": task}, quick.evaluation, 10), {"film": trials}, config
    )
    assert champions["film"]["all"] == champion
    assert fallbacks["film"] == "popularity", "whatever wins, lists are filled up by a popularity"


def test_a_segment_with_too_few_people_is_served_by_popularity(planted, quick):
    found = select_models(planted, dataclasses.replace(quick, min_people=10_000))
    assert {name for champions in found.champions.values() for name in champions.values()} <= {
        "popularity",
        "recent_popularity",
    }


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
        stored, search=selection.search, evaluation=selection.evaluation, comparison=selection.comparison
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


def test_a_version_names_the_model_and_changes_with_configuration_and_interactions(planted, selection):
    version = selection.version("film", "als")
    assert version.startswith("als-")
    assert version in selection.evaluation["model_version"].to_pylist()
    other = dataclasses.replace(selection, interactions_fingerprint="other")
    assert other.version("film", "als") != version


def test_an_unknown_kind_of_model_is_refused(planted):
    with pytest.raises(ValueError, match="unknown kind of model 'oracle', known are als, popularity"):
        config_from_json({"kind": "oracle"})

    class Oracle(ModelConfig):
        kind = "oracle"

    with pytest.raises(TypeError, match="no model for a Oracle"):
        fit_model(planted, Oracle())


def test_the_comparison_is_paired_over_the_same_people(selection):
    assert selection.comparison.schema == COMPARISON_SCHEMA
    for row in selection.comparison.to_pylist():
        assert row["difference"] == pytest.approx(row["model_value"] - row["baseline_value"])
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
