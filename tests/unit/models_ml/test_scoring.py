import numpy as np
import pyarrow as pa
import pytest

from models_ml import SCORED_SCHEMA, fit_models, score_people, select_models


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
    return pa.Table.from_batches(score_people(models, planted, everyone, k=10, block_people=37))


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
        ("stranger", "film"): ("fallback", None),
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
    assert all(row["reason_item_key"] in own[row["user_key"]] for row in because)
    assert all(row["strategy"] in ("als", "als_joint") for row in because)


def test_without_explanations_the_lists_are_the_same(scored, models, planted, everyone):
    plain = pa.Table.from_batches(score_people(models, planted, everyone, k=10, explain=False))
    for column in ("user_key", "item_key", "score", "strategy"):
        assert plain[column].to_pylist() == scored[column].to_pylist()
    assert plain["reason_item_key"].null_count == plain.num_rows
    assert "because_you_enjoyed" not in plain["reason_code"].to_pylist()
    assert "similar_taste" in plain["reason_code"].to_pylist()


def test_lists_do_not_depend_on_who_else_is_served(models, planted, scored):
    alone = pa.Table.from_batches(score_people(models, planted, pa.array(["u042"]), k=10))
    together = [row for row in scored.to_pylist() if row["user_key"] == "u042"]
    for mine, theirs in zip(alone.to_pylist(), together, strict=True):
        assert mine["item_key"] == theirs["item_key"]
        assert mine["score"] == pytest.approx(theirs["score"], rel=1e-5)


def test_nobody_to_serve_is_no_rows(models, planted):
    assert pa.Table.from_batches(score_people(models, planted, pa.array([], pa.string())), SCORED_SCHEMA).num_rows == 0


def test_chunked_keys_are_served_like_any(models, planted, scored, everyone):
    chunked = pa.chunked_array([everyone[:50], everyone[50:]])
    again = pa.Table.from_batches(score_people(models, planted, chunked, k=10, block_people=37))
    assert again.equals(scored)
