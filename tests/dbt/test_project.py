"""The promises of the dbt project that hold for every model, read from its manifest."""

import re

import pytest

PROMISED = {
    "core.dim_user": "user_key is_linked on_knowledge on_film signup_date birth_decade gender country region city device "
    "marketing_consent is_inferred valid_from",
    "core.dim_user_history": "user_version_key user_key valid_from valid_to",
    "core.dim_item": "item_key domain item_id title kind language price currency published_date is_inferred",
    "core.dim_content": "item_key title kind summary topics authors language level duration_minutes price currency "
    "published_at updated_at",
    "core.dim_film": "item_key title kind original_title synopsis genres countries language release_year runtime_minutes "
    "price currency imdb_id updated_at",
    "core.dim_person": "person_key person_name",
    "core.dim_topic": "topic_key topic",
    "core.dim_date": "date_key",
    "core.dim_campaign": "campaign_key name kind objective source_platform target_platform channel starts_at ends_at budget "
    "currency cost_per_exposure value_per_conversion frequency_cap frequency_window_days holdout_share item_ids segment "
    "status updated_at",
    "core.bridge_item_person": "item_key person_key role billing_order",
    "core.bridge_item_topic": "item_key topic_key weight",
    "core.fct_interaction": "event_key user_key item_key domain event_type event_date occurred_at value value_normalised "
    "amount currency device region campaign_key",
    "core.fct_purchase": "event_key user_key item_key domain event_date amount currency is_refunded",
    "core.fct_rating": "user_key item_key domain rating rated_at",
    "core.fct_exposure": "exposure_key campaign_key user_key item_key arm propensity shown_at",
    "core.fct_response": "response_key exposure_key response_type value amount occurred_at",
    "features.user_interest": "user_key topic_key weight last_seen_at",
    "features.user_activity": "user_key recency_days frequency_90d monetary_90d lifecycle",
    "recommendations.user_item": "user_key target_domain rank item_key item_id title score strategy reason_code reason "
    "model_version scored_at",
    "recommendations.item_item": "item_key target_domain rank related_item_key related_title score strategy model_version",
    "recommendations.evaluation": "model target_domain segment metric cutoff value ci_low ci_high users split is_champion "
    "model_version evaluated_at",
    "recommendations.comparison": "model baseline target_domain segment metric cutoff split difference ci_low ci_high p_value "
    "p_holm users evaluated_at",
    "marketing.segment": "segment_key family name platform definition people",
    "marketing.segment_membership": "segment_key user_key entered_at exited_at is_current",
    "quality.load_audit": "source table_name file rows_read rows_loaded rows_quarantined rows_duplicate loaded_at",
    "quality.quarantine": "source table_name file row_number column_name reason raw",
    "quality.check_result": "check_name table_name status severity observed expected",
    "meta.publication": "publication_id published_at as_of data_version code_version model_versions table_rows",
}
KEY_TESTS = {"unique_key", "dense_ranks"}
# A row may be about no campaign, no item, and a reason may name none.
NULLABLE_REFERENCES = {
    ("fct_interaction", "campaign_key"),
    ("fct_purchase", "campaign_key"),
    ("fct_exposure", "item_key"),
    ("attribution", "item_key"),
    ("contact", "item_key"),
    ("eligibility", "item_key"),
    ("limit_price", "campaign_key"),
    ("limit_price", "item_key"),
    ("limit_price", "segment_key"),
    ("user_item", "reason_item_key"),
    ("user_item", "reason_item_key_2"),
    ("user_item", "reason_item_key_3"),
}


@pytest.fixture(scope="module")
def manifest(dbt):
    parsed = dbt("parse", "--show-all-deprecations")
    assert parsed.succeeded, parsed.output
    assert "eprecat" not in parsed.output, parsed.output
    return dbt.manifest()


@pytest.fixture(scope="module")
def models(manifest):
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


@pytest.fixture(scope="module")
def tests_of(manifest):
    found: dict[str, list] = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test" and node.get("attached_node"):
            found.setdefault(node["attached_node"], []).append(node)
    return found


def test_every_promised_table_is_published_with_its_columns(manifest):
    published = {
        f"{node['schema']}.{node.get('alias') or node['identifier']}": set(node["columns"])
        for node in [*manifest["nodes"].values(), *manifest["sources"].values()]
        if node["config"].get("meta", {}).get("published")
    }
    missing = {
        table: set(columns.split()) - published.get(table, set())
        for table, columns in PROMISED.items()
        if set(columns.split()) - published.get(table, set())
    }
    assert missing == {}


def test_every_published_table_says_how_its_rows_are_sorted(manifest):
    for node in [*manifest["nodes"].values(), *manifest["sources"].values()]:
        meta = node["config"].get("meta", {})
        if meta.get("published"):
            assert meta["order_by"], node["name"]
            assert set(meta["order_by"]) <= set(node["columns"]), node["name"]


def test_no_published_table_has_a_column_for_a_user_id_an_email_or_a_phone(models):
    for node in models:
        if node["config"]["meta"].get("published"):
            assert not {"user_id", "email", "phone", "session_id"} & set(node["columns"]), node["name"]


def test_every_model_keeps_its_contract(models):
    assert [node["name"] for node in models if not node["config"]["contract"]["enforced"]] == []


def test_the_grain_is_the_first_sentence_of_every_description(models):
    assert [node["name"] for node in models if not re.match(r"One row per \w", node["description"])] == []


def test_every_column_is_described_and_typed(models, manifest):
    nodes = [
        *models,
        *(s for s in manifest["sources"].values() if s["source_name"] in ("recommendations", "quality", "meta")),
    ]
    gaps = [
        f"{node['name']}.{column['name']}"
        for node in nodes
        for column in node["columns"].values()
        if not column["description"].strip() or not column["data_type"]
    ]
    assert gaps == []


def test_every_table_has_a_key_test(models, tests_of):
    keyless = {
        node["name"]
        for node in models
        if node["config"]["materialized"] != "view"
        and not any(test["test_metadata"]["name"] in KEY_TESTS for test in tests_of.get(node["unique_id"], []))
    }
    # A refused row may be refused for several reasons, a refused file has no row number.
    assert keyless == {"quarantine"}


def test_every_reference_has_a_relationship_and_a_resolved_share(models, tests_of):
    for node in models:
        tests = tests_of.get(node["unique_id"], [])
        related = {t["column_name"] for t in tests if t["test_metadata"]["name"] == "relationships"}
        resolved = {
            t["test_metadata"]["kwargs"]["column"] for t in tests if t["test_metadata"]["name"] == "resolved_share"
        }
        nullable = {column for name, column in NULLABLE_REFERENCES if name == node["name"]}
        assert related - nullable == resolved, node["name"]


def test_every_model_names_its_station_and_its_owner(models):
    for node in models:
        station = node["fqn"][1]
        assert node["schema"] == station, node["name"]
        assert node["config"]["meta"]["dagster"]["group"] == station, node["name"]
        assert node["config"]["meta"]["owner"], node["name"]
        assert node["config"]["group"] == station, node["name"]


def test_each_model_has_one_description_file_of_its_own(models):
    for node in models:
        described = node["patch_path"].split("://")[1]
        assert described == node["original_file_path"].replace(".sql", ".yml"), node["name"]


def test_tests_of_the_second_pass_do_not_run_in_the_first(dbt):
    listed = dbt("--quiet", "ls", "--resource-type", "test", "--exclude", "tag:after_models")
    assert listed.succeeded, listed.output
    assert "user_item_" not in listed.output.replace("user_item_preference", "")
    assert "nothing_consumed_is_recommended" not in listed.output
    assert "campaign_result_" not in listed.output
    assert "unique_key_segment_" not in listed.output
    assert "lifecycle_agrees_with_user_activity" not in listed.output
    # All segments but those of taste come from the features, in the first pass.
    assert "unique_key_defined_stay" in listed.output
