"""Which campaigns are proposed, and what is said of them."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.landing.check import check_landing
from orchestration.marketing.campaign_briefs import read_briefs
from orchestration.marketing.proposing import PROPOSAL_SCHEMA, propose, write_proposals
from orchestration.settings import Settings, parse_time
from tests.unit.marketing.small_world import FIRST, SmallWorld

SETTINGS = Settings(home=Path("home"), landing=Path("landing"))
PEOPLE = 400

# Half of the people like horror and have folklore on their lists, half like comedy and have food: 6 places of 10, and 6 of the 20
# items of the catalogue.
_WORLD = f"""
create table core.dim_topic (topic_key varchar, topic varchar, on_knowledge boolean, on_film boolean, item_count integer);
create table core.bridge_item_topic (item_key varchar, topic_key varchar, weight double);
create table features.user_interest (user_key varchar, topic_key varchar, weight double);
insert into core.dim_topic values
    ('horror', 'horror', false, true, 6), ('comedy', 'comedy', false, true, 6),
    ('folklore', 'folklore', true, false, 6), ('food', 'food', true, false, 6), ('other', 'other', true, false, 8);
insert into core.dim_item by name
select
    'knowledge:' || topic || n as item_key, 'knowledge' as domain, topic || n as item_id, topic || n as title,
    'USD' as currency, false as is_inferred, 10 as price
from (values ('folklore', 6), ('food', 6), ('other', 8)) as topics(topic, items), range(1, items + 1) as numbers(n);
insert into core.bridge_item_topic
select item_key, regexp_replace(item_id, '[0-9]+', ''), 1 from core.dim_item;
insert into core.dim_user by name
select format('u{{:03}}', n) as user_key, true as on_film, true as on_knowledge from range({PEOPLE}) as numbers(n);
insert into intermediate.int_account__contactable by name
select platform || user_key as account_key, user_key, platform, true as is_contactable
from core.dim_user, (values ('film'), ('knowledge')) as platforms(platform);
insert into features.user_interest
select user_key, if(substr(user_key, 2)::integer % 2 = 0, 'horror', 'comedy'), 0.6 from core.dim_user;
insert into recommendations.scored_user_item by name
select user_key, 'knowledge' as target_domain, n as rank, 'knowledge:' || topic_key || n as item_key, 1 as score
from (select user_key, if(topic_key = 'horror', 'folklore', 'food') as topic_key from features.user_interest),
    range(1, 7) as numbers(n)
union all
select user_key, 'knowledge', n, 'knowledge:other' || (n - 6), 1 from core.dim_user, range(7, 11) as numbers(n);
"""


def world(
    segment_key: str = "lifecycle:film:active", name: str = "Active on film", platform: str = "film"
) -> SmallWorld:
    """Everyone is in the segment."""
    made = SmallWorld()
    made.connection.execute(_WORLD)
    made.insert(
        "marketing.known_segment",
        segment_key=segment_key,
        family=segment_key.split(":")[0],
        name=name,
        platform=platform,
    )
    made.connection.execute(
        "insert into marketing.known_membership by name "
        f"select '{segment_key}' as segment_key, user_key, true as is_current from core.dim_user"
    )
    return made


def proposals(made: SmallWorld) -> dict[str, dict[str, Any]]:
    """By target theme."""
    return {row["target_topic"]: row for row in propose(made.connection, SETTINGS).to_pylist()}


def test_each_taste_is_brought_to_what_fills_its_lists() -> None:
    found = proposals(world())
    assert {(row["source_topic"], row["target_topic"]) for row in found.values()} == {
        ("horror", "folklore"),
        ("comedy", "food"),
    }
    # 6 of 10 places against 3 of 10 with everyone and in the catalogue.
    assert found["folklore"]["pull"] == pytest.approx(2.0)
    assert found["folklore"]["name"] == "Horror on film to folklore on knowledge, for people active on film"
    assert found["folklore"]["item_keys"] == [f"knowledge:folklore{n}" for n in range(1, 7)]


def test_people_of_a_taste_are_said_to_have_a_taste_for_its_topics() -> None:
    found = proposals(world("taste:joined:comedy+horror", "Comedy and Horror", "joined"))
    assert found["folklore"]["name"].endswith(", for people with a taste for Comedy and Horror")


def test_the_figures_of_a_first_campaign_follow_from_what_is_assumed() -> None:
    row = proposals(world())["folklore"]
    # 200 people, 180 of them not held out; 0.5 + 3 + 0.3 % of contacts end it: 180 + 173.16 contacts.
    assert (row["reach"], row["interested_people"], row["holdout_share"], row["contacts"]) == (200, 200, 0.1, 353)
    assert row["cost"] == pytest.approx(353 * 0.02)
    assert row["budget"] == pytest.approx(7.8)
    assert row["expected_clicks"] == pytest.approx(353 * 0.03)
    assert row["expected_conversions"] == pytest.approx(353 * 0.005)
    assert row["expected_incremental_conversions"] == pytest.approx(353 * 0.005 * 0.4)
    assert row["expected_revenue"] == pytest.approx(353 * 0.005 * 0.4 * 10)
    assert row["expected_return"] == pytest.approx(1.0)
    assert (row["starts_on"], row["ends_on"]) == (date(2026, 3, 4), date(2026, 3, 31))
    assert (row["kind"], row["channel"], row["currency"]) == ("joint_promotion", "email", "USD")


def test_an_interval_is_around_what_is_expected() -> None:
    row = proposals(world())["folklore"]
    for name in ("clicks", "conversions", "incremental_conversions", "revenue", "return"):
        assert row[f"expected_{name}_low"] <= row[f"expected_{name}"] <= row[f"expected_{name}_high"]
        assert row[f"expected_{name}_high"] > row[f"expected_{name}_low"]


def test_who_may_not_be_contacted_is_not_counted() -> None:
    made = world()
    made.connection.execute(
        "update intermediate.int_account__contactable set is_contactable = false where user_key < 'u100' and platform = 'film'"
    )
    assert proposals(made)["folklore"]["reach"] == 150


def test_lists_that_are_the_same_for_all_pull_nobody() -> None:
    made = world()
    made.connection.execute("delete from recommendations.scored_user_item")
    made.connection.execute(
        "insert into recommendations.scored_user_item by name "
        "select user_key, 'knowledge' as target_domain, n as rank, 'knowledge:folklore' || n as item_key "
        "from core.dim_user, range(1, 7) as numbers(n)"
    )
    assert proposals(made) == {}


def test_too_few_people_or_items_are_no_campaign() -> None:
    made = world()
    made.connection.execute("delete from marketing.known_membership where user_key >= 'u190'")
    assert proposals(made) == {}
    made = world()
    made.connection.execute(
        "delete from core.bridge_item_topic where item_key in ('knowledge:food4', 'knowledge:food5')"
    )
    assert set(proposals(made)) == {"food", "folklore"}
    made.connection.execute("delete from core.bridge_item_topic where item_key = 'knowledge:food6'")
    assert set(proposals(made)) == {"folklore"}


def running(**about: Any) -> SmallWorld:
    made = world()
    usual = {"segment": "lifecycle:film:active", "item_ids": ["folklore1", "folklore2", "other1"]}
    made.campaign("c", **(usual | about))
    return made


def test_a_shelf_that_runs_already_is_not_proposed_whatever_stands_beside_it() -> None:
    assert set(proposals(running(source_item_ids=["m1", "m2", "m3", "m4"]))) == {"food"}


def test_what_runs_already_is_not_proposed() -> None:
    assert set(proposals(running())) == {"food"}


@pytest.mark.parametrize(
    "about",
    [
        {"status": "ended"},
        {"ends_at": datetime(2026, 2, 1)},
        {"segment": "lifecycle:film:dormant"},
        {"item_ids": ["folklore1", "other1", "other2"]},
    ],
)
def test_another_campaign_is_in_nobodys_way(about: dict[str, Any]) -> None:
    assert set(proposals(running(**about))) == {"food", "folklore"}


def test_earlier_campaigns_say_what_a_contact_costs_and_how_many_are_held_out() -> None:
    row = proposals(running(status="ended", channel="email", cost_per_exposure=0.5, holdout_share=0.3))["food"]
    assert (row["cost_per_exposure"], row["holdout_share"]) == (0.5, 0.3)


def test_what_was_paid_is_worth_more_than_a_price_list() -> None:
    made = world()
    for number, amount in enumerate((2, 4, 6, 8, 10, 100, 100)):
        made.insert(
            "core.fct_purchase",
            event_key=f"e{number}",
            user_key="u001",
            item_key="knowledge:food1",
            currency="USD" if number < 5 or number == 6 else "EUR",
            amount=amount,
            is_refunded=number == 6,
        )
    found = proposals(made)
    # The purchase in another currency and the refunded one do not count.
    assert found["food"]["value_per_conversion"] == pytest.approx(6)
    assert "mean of 5 purchases" in " ".join(found["food"]["evidence"])
    assert found["folklore"]["value_per_conversion"] == pytest.approx(10)


def test_a_price_in_another_currency_is_no_worth() -> None:
    made = world()
    made.connection.execute("update core.dim_item set currency = 'EUR'")
    row = proposals(made)["food"]
    assert row["value_per_conversion"] == 1.0
    assert "an assumption" in " ".join(row["evidence"])


def test_measured_rates_and_lifts_replace_what_was_assumed() -> None:
    made = world()
    made.campaign("old", kind="joint_promotion", status="ended", holdout_share=0.1)
    made.connection.execute(
        """
        create table marketing.measured_rate as
        select 'joint_promotion' as kind, 'all' as segment_key, answer, 950 as exposures, answers,
            0.02 as prior_mean, 50.0 as prior_strength
        from (values ('click', 99), ('conversion', 49), ('dismiss', 0), ('unsubscribe', 0)) as rates(answer, answers);
        create table marketing.measured_lift as
        select 'campaign' as scope, 'old' as scope_value, 'conversion' as measure, 'newcombe' as method,
            0.05 as treatment, 0.04 as difference, 0.04 - 0.0098 as ci_low, 0.04 + 0.0098 as ci_high
        """
    )
    row = proposals(made)["food"]
    # 50 of 1000 convert with the prior's one of 50; 50 + 1 + 1 of 1000 end it.
    assert row["contacts"] == round(180 + 180 * (1 - 0.052))
    assert row["expected_conversions"] == pytest.approx(row["contacts"] * 0.05)
    # The campaign says 0.8 +- 0.1, with 0.01 between campaigns: variance 0.02 against 0.04 around 0.4.
    share = (0.4 / 0.04 + 0.8 / 0.02) / (1 / 0.04 + 1 / 0.02)
    assert row["expected_incremental_conversions"] == pytest.approx(row["expected_conversions"] * share, rel=1e-6)
    text = " ".join(row["evidence"])
    assert "49 conversions of 950 exposures" in text
    assert "1 measured campaign" in text


def with_films(made: SmallWorld, *, of_horror: int = 5) -> SmallWorld:
    """Films of horror on the film lists of everyone who likes it, the last first, and one of comedy that nobody has listed."""
    made.connection.execute(
        f"""
        insert into core.dim_item by name
        select 'film:' || topic || n as item_key, 'film' as domain, topic || n as item_id, topic || n as title, false as is_inferred
        from (values ('horror', {of_horror}), ('comedy', 1)) as topics(topic, items), range(1, items + 1) as numbers(n);
        insert into core.bridge_item_topic
        select item_key, regexp_replace(item_id, '[0-9]+', ''), 1 from core.dim_item where domain = 'film';
        insert into recommendations.scored_user_item by name
        select user_key, 'film' as target_domain, n as rank, 'film:horror' || ({of_horror} + 1 - n) as item_key, 1 as score
        from features.user_interest, range(1, {of_horror} + 1) as numbers(n) where topic_key = 'horror'
        """
    )
    return made


def test_people_who_have_gone_quiet_are_asked_back_by_a_challenge_that_begins_on_the_other_side() -> None:
    made = with_films(world("lifecycle:knowledge:at_risk", "At risk on knowledge", "knowledge"))
    row = proposals(made)["folklore"]
    assert (row["source_platform"], row["target_platform"], row["kind"]) == ("film", "knowledge", "interactive")
    assert row["source_item_keys"] == [f"film:horror{n}" for n in (5, 4, 3, 2, 1)]
    assert row["item_keys"] == [f"knowledge:folklore{n}" for n in range(1, 7)]
    assert json.loads(row["landing_row"])["item_ids"] == [
        *(f"film:horror{n}" for n in (5, 4, 3, 2, 1)),
        *(f"folklore{n}" for n in range(1, 7)),
    ]
    (challenge,) = (line for line in row["evidence"] if line.startswith("Challenge: "))
    assert "first one of 5 items of horror on film" in challenge
    assert "within 14 days" in challenge


def test_without_enough_to_begin_with_there_is_no_challenge() -> None:
    made = with_films(world("lifecycle:knowledge:at_risk", "At risk on knowledge", "knowledge"), of_horror=3)
    assert {(row["kind"], tuple(row["source_item_keys"])) for row in proposals(made).values()} == {
        ("joint_promotion", ())
    }


def test_one_theme_on_both_sides_is_a_shelf_of_both() -> None:
    made = with_films(world())
    # Folklore and horror are one theme now, of films and of contents.
    made.connection.execute(
        "update core.bridge_item_topic set topic_key = 'horror' where topic_key = 'folklore';"
        "update core.dim_topic set on_knowledge = true where topic_key = 'horror'"
    )
    row = next(
        row for row in proposals(made).values() if row["source_platform"] == "film" and row["target_topic"] == "horror"
    )
    assert (row["source_topic"], row["kind"]) == ("horror", "special_programme")
    assert row["source_item_keys"] == [f"film:horror{n}" for n in (5, 4, 3, 2, 1)]
    assert row["item_keys"] == [f"knowledge:folklore{n}" for n in range(1, 7)]
    assert any(line.startswith("Shelf: beside the 6 items on knowledge 5 items of horror") for line in row["evidence"])


def test_other_kinds_are_about_items_of_the_target_only() -> None:
    row = proposals(with_films(world()))["folklore"]
    assert (row["kind"], row["source_item_keys"]) == ("joint_promotion", [])


def test_the_same_warehouse_gives_the_same_proposals() -> None:
    made = world()
    assert propose(made.connection, SETTINGS).equals(propose(made.connection, SETTINGS))


def test_a_proposal_keeps_its_name_from_day_to_day() -> None:
    made = world()
    before = proposals(made)["food"]
    made.now(datetime(2026, 3, 5, 12))
    after = proposals(made)["food"]
    assert after["proposal_id"] == before["proposal_id"]
    assert after["starts_on"] == date(2026, 3, 8)


def test_a_row_that_is_copied_into_the_landing_zone_is_accepted(tmp_path: Path) -> None:
    row = proposals(world())["food"]
    assert json.loads(row["landing_row"])["item_ids"] == [f"food{n}" for n in range(1, 7)]
    folder = tmp_path / "marketing" / "campaigns"
    folder.mkdir(parents=True)
    (folder / "mine.ndjson").write_text(row["landing_row"] + "\n")
    report = check_landing(tmp_path)
    assert [(file.rows_loaded, file.rows_quarantined) for file in report.files] == [(1, 0)]
    assert not [file for file in report.files if getattr(file, "unknown_columns", ())]


@pytest.mark.parametrize("time_zone", ["Asia/Shanghai", "America/New_York", "UTC"])
def test_the_days_of_a_proposal_come_back_the_same_in_any_time_zone(time_zone: str) -> None:
    made = world()
    made.connection.execute("update raw.run set time_zone = ?", [time_zone])
    proposal = proposals(made)["food"]
    row = json.loads(proposal["landing_row"])
    # The last day is in summer in New York, the first one is not.
    made.campaign("mine", starts_at=parse_time(row["starts_at"]), ends_at=parse_time(row["ends_at"]))
    (brief,) = (one for one in read_briefs(made.connection, FIRST, 7).all if one.campaign_key == "mine")
    assert (brief.first_date, brief.last_date) == (proposal["starts_on"], proposal["ends_on"])


@pytest.mark.parametrize(("family", "is_said"), [("taste", True), ("lifecycle", False)])
def test_a_proposal_for_a_segment_that_may_be_gone_one_day_says_so(family: str, is_said: bool) -> None:
    (row, *_) = proposals(world(f"{family}:film:some", "Some", "film")).values()
    assert any("If it is gone one day" in line for line in row["evidence"]) == is_said


def test_an_empty_warehouse_has_no_proposal() -> None:
    made = SmallWorld()
    made.connection.execute(_WORLD.split("insert", 1)[0])
    empty = propose(made.connection, SETTINGS)
    assert empty.schema.equals(PROPOSAL_SCHEMA)
    assert write_proposals(made.connection, empty) == 0


def test_written_proposals_replace_those_of_before() -> None:
    made = world()
    found = propose(made.connection, SETTINGS)
    for _ in range(2):
        assert write_proposals(made.connection, found) == 2
    assert made.connection.execute("select rank from marketing.proposed_campaign order by rank").fetchall() == [
        (1,),
        (2,),
    ]
