import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from models_ml import ScoringConfig, fit_models, score_people, score_related_items, select_models
from models_ml.blend import BlendConfig
from models_ml.costs import COSTS_SCHEMA, Ledger
from models_ml.scoring import ListMaker

FIVE = ScoringConfig(k=5)


@pytest.fixture(scope="module")
def served(planted, quick):
    """The film side serves a blend of two models to everyone with history there."""
    selection = select_models(planted, dataclasses.replace(quick, global_time=False))
    film = selection.configs["film"]
    blend = BlendConfig((film["als"], film["als_joint"]), (0.5, 0.5))
    champions = {"warm": "blend", "few": "blend", "cold": "als_joint", "new": "popularity"}
    chosen = dataclasses.replace(
        selection,
        configs={**selection.configs, "film": {**film, "blend": blend}},
        champions={**selection.champions, "film": champions},
    )
    ledger = Ledger()
    return chosen, fit_models(planted, chosen, ledger), ledger.table()


def noted(costs: pa.Table) -> set[tuple[str, str, str]]:
    return {(row["model"], row["target_domain"], row["stage"]) for row in costs.to_pylist()}


def test_a_stage_that_comes_again_adds_its_time_and_keeps_the_largest_memory(monkeypatch):
    times = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr("models_ml.costs.time.perf_counter", lambda: next(times))
    # Asked when a stage starts, which sets back the mark, and when it ends.
    peaks = iter([99.0, 7.0, 99.0, 5.0])
    said = []
    ledger = Ledger(said.append, lambda: next(peaks))
    for _ in range(2):
        with ledger.stage("als", "film", "score"):
            pass
    assert ledger.table().to_pylist() == [
        {"model": "als", "target_domain": "film", "stage": "score", "seconds": 5.0, "peak_megabytes": 7.0}
    ]
    assert said == ["score als film"] * 2


def test_a_ledger_without_entries_is_a_table_without_rows():
    assert Ledger().table().equals(COSTS_SCHEMA.empty_table())


def test_each_model_that_is_served_has_one_final_fit_and_a_blend_those_of_its_members(served):
    _, models, costs = served
    fitted = [model.config.name for model in models.models.values()]
    assert "blend" in fitted
    assert sorted(costs["model"].to_pylist()) == sorted(name for name in fitted if name != "blend")
    assert {row["model"] for row in costs.to_pylist() if row["target_domain"] == "film"} >= {"als", "als_joint"}
    assert set(costs["stage"].to_pylist()) == {"final fit"}


def test_scoring_notes_the_models_that_serve_and_relating_the_one_that_relates(served, planted):
    _, models, _ = served
    ledger = Ledger()
    everyone = pa.concat_arrays([planted.user_keys, pa.array(["stranger"])])
    lists = pa.Table.from_batches(ListMaker(models, planted, FIVE, ledger=ledger).batches(everyone))
    related = pa.Table.from_batches(score_related_items(models, planted, k=5, ledger=ledger))
    # Everybody with history has much of it, or none on one side.
    serving = {
        (models.model_for(domain, segment)[1].config.name, domain)
        for domain in planted.domains
        for segment in ("warm", "cold", "new")
    }
    assert ("blend", "film") in serving
    costs = noted(ledger.table())
    assert {(name, domain) for name, domain, stage in costs if stage == "score"} == serving
    assert {(name, domain) for name, domain, stage in costs if stage == "explain"} == {
        (row["strategy"], row["target_domain"]) for row in lists.select(["strategy", "target_domain"]).to_pylist()
    }
    assert {key for key in costs if key[2] == "relate"} == {
        ("als_joint", domain, "relate") for domain in planted.domains
    }
    assert {key for key in costs if key[2] == "apply"} == {
        (what, domain, "apply") for what in ("rules", "exploration") for domain in planted.domains
    }
    assert ledger.table()["seconds"].to_numpy().min() > 0
    # Lists are what they are without anybody counting.
    assert lists.equals(pa.Table.from_batches(score_people(models, planted, everyone, FIVE)))
    assert related.equals(pa.Table.from_batches(score_related_items(models, planted, k=5)))


def test_costs_change_no_version_and_no_factor(served, planted):
    selection, models, _ = served
    manifest, arrays = models.to_arrays()
    other_manifest, other_arrays = fit_models(planted, selection, Ledger(peak_megabytes=lambda: 1e9)).to_arrays()
    assert other_manifest == manifest
    assert other_arrays.keys() == arrays.keys()
    assert all(np.array_equal(other_arrays[name], values) for name, values in arrays.items())
