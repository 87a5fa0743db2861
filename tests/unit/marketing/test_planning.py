"""What a plan does with the people, campaigns and limits of a small warehouse."""

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models_ml.campaigns.allocation import Allocation, AllocationConfig, allocate
from models_ml.campaigns.allocation_problem import Candidates, Limits, Problem
from models_ml.campaigns.holdout import held_out
from models_ml.campaigns.qini import RESPONSE_ONLY, QiniComparison, QiniScore
from models_ml.campaigns.reliability import reliability
from models_ml.campaigns.sample_ratio import sample_ratio
from models_ml.campaigns.valuation import ContactFeatures, Valuation, value_contacts
from orchestration.marketing import planning
from orchestration.marketing.campaign_briefs import read_briefs
from orchestration.marketing.campaign_limits import CampaignLimitError
from orchestration.marketing.contact_candidates import CandidateReader, further_columns
from orchestration.marketing.ledger import Commitment
from orchestration.marketing.planning import contact_key, make_plan, write_plan
from orchestration.resources.artifacts import Artifact, ArtifactStore
from orchestration.settings import Settings
from tests.unit.marketing.small_world import AS_OF, FIRST, SmallWorld


@pytest.fixture
def world() -> SmallWorld:
    return SmallWorld()


def settings_of(folder: Path, **options: Any) -> Settings:
    return Settings(home=folder, landing=folder, **options)


def others(days: Iterable[date]) -> dict[date, Commitment]:
    return {day: Commitment("another plan", "other data") for day in days}


def planned(
    world: SmallWorld, folder: Path, *, version: str = "v1", committed: Iterable[date] = (), **options: Any
) -> Artifact:
    store = ArtifactStore(root=str(folder / "models"))
    settings = settings_of(folder, **options)
    plan, _ = make_plan(world.connection, store, settings, data_version=version, committed=others(committed))
    return plan


def rows(plan: Artifact, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plan.table(table).to_pylist()
    return found


def campaign(plan: Artifact, key: str) -> dict[str, Any]:
    return next(row for row in rows(plan, "campaign") if row["campaign_key"] == key)


def codes(plan: Artifact, key: str = "spring") -> dict[str, str]:
    return {row["user_key"]: row["code"] for row in rows(plan, "eligibility") if row["campaign_key"] == key}


def reasons(plan: Artifact, key: str = "spring") -> Counter[str]:
    return Counter(row["reason"] for row in rows(plan, "eligibility") if row["campaign_key"] == key)


def test_everyone_who_may_be_contacted_is_and_on_the_first_day(world: SmallWorld, tmp_path: Path) -> None:
    world.people(3)
    world.campaign("spring")
    contacts = rows(planned(world, tmp_path), "contact")
    assert {row["user_key"] for row in contacts} == {"u000", "u001", "u002"}
    for row in contacts:
        assert (row["contact_date"], row["status"], row["arm"]) == (FIRST, "handed_over", "treatment")
        identity = f"spring|{row['user_key']}|2026-03-02|email"
        assert row["contact_key"] == hashlib.md5(identity.encode()).hexdigest()
        assert (row["platform"], row["channel"], row["currency"]) == ("film", "email", "USD")
        assert row["segment_keys"] == ["lifecycle:joined:active"]
        assert row["decided_at"] == AS_OF


class TestEligibility:
    @pytest.mark.parametrize("reason", ["erased", "no_consent", "unsubscribed"])
    def test_without_permission_nobody_is_contacted(self, world: SmallWorld, tmp_path: Path, reason: str) -> None:
        world.person("ann")
        world.person("bob", reason=reason)
        world.campaign("spring")
        plan = planned(world, tmp_path)
        assert codes(plan) == {"ann": "eligible", "bob": reason}
        assert [row["user_key"] for row in rows(plan, "contact")] == ["ann"]

    def test_one_account_that_may_be_contacted_is_enough(self, world: SmallWorld, tmp_path: Path) -> None:
        world.person("ann", reason="no_consent")
        world.insert(
            "intermediate.int_account__contactable",
            account_key="second", user_key="ann", platform="film", time_zone="UTC", is_contactable=True,
        )  # fmt: skip
        world.campaign("spring")
        assert codes(planned(world, tmp_path)) == {"ann": "eligible"}

    @pytest.mark.parametrize("segment_key", ["value:film:high", "taste:joined:crime+drama"])
    def test_members_of_the_segment_without_an_account_there_have_none(
        self, world: SmallWorld, tmp_path: Path, segment_key: str
    ) -> None:
        world.person("ann", segments=[segment_key])
        world.person("bob", segments=[segment_key], platforms=["knowledge"])
        world.person("cat")
        world.campaign("spring", segment=segment_key)
        assert codes(planned(world, tmp_path)) == {"ann": "eligible", "bob": "no_account"}

    def test_who_was_contacted_and_left_the_segment_is_outside_it(self, world: SmallWorld, tmp_path: Path) -> None:
        world.person("ann", segments=["value:film:high"])
        world.person("bob")
        world.campaign("spring", segment="value:film:high")
        world.exposure("spring", "bob", at=AS_OF - timedelta(days=30))
        assert codes(planned(world, tmp_path)) == {"ann": "eligible", "bob": "outside_segment"}

    def test_buyers_converters_and_dismissers_are_left_alone_by_that_campaign(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(4)
        world.item("knowledge:c1")
        world.item("knowledge:c2")
        world.campaign("spring", item_ids=["c1"])
        world.campaign("autumn", item_ids=["c2"], channel="push")
        world.event("u000", "knowledge:c1")
        world.response("spring", "u001", "conversion")
        world.response("spring", "u002", "dismiss")
        plan = planned(world, tmp_path)
        assert codes(plan) == {
            "u000": "already_converted",
            "u001": "already_converted",
            "u002": "dismissed",
            "u003": "eligible",
        }
        assert set(codes(plan, "autumn").values()) == {"eligible"}

    @pytest.mark.parametrize(
        ("response_type", "here", "by_the_other"),
        [
            ("unsubscribe", "unsubscribed", "unsubscribed"),
            ("dismiss", "dismissed", "eligible"),
            ("conversion", "already_converted", "eligible"),
            ("click", "eligible", "eligible"),
        ],
    )
    def test_an_answer_forbids_what_it_does_while_its_exposure_has_not_arrived(
        self, world: SmallWorld, tmp_path: Path, response_type: str, here: str, by_the_other: str
    ) -> None:
        world.people(2)
        world.campaign("spring")
        world.campaign("autumn", channel="push")
        world.campaign("back", channel="banner", source_platform="knowledge", target_platform="film")
        hand(world, "earlier", "spring", "u000", date(2026, 2, 10))
        key = contact_key("spring", "u000", date(2026, 2, 10), "email")
        world.waiting_response(key, response_type, at=datetime(2026, 2, 11))
        plan = planned(world, tmp_path)
        assert codes(plan) == {"u000": here, "u001": "eligible"}
        assert codes(plan, "autumn") == {"u000": by_the_other, "u001": "eligible"}
        assert codes(plan, "back") == {"u000": "eligible", "u001": "eligible"}

    def test_consent_after_an_unsubscription_takes_it_back_and_consent_before_does_not(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = world.people(2)
        world.campaign("spring")
        for user, since in zip(users, (date(2026, 2, 20), date(2026, 1, 20)), strict=True):
            hand(world, "earlier", "spring", user, date(2026, 2, 10))
            key = contact_key("spring", user, date(2026, 2, 10), "email")
            world.waiting_response(key, "unsubscribe", at=datetime(2026, 2, 11))
            world.connection.execute(
                "update intermediate.int_account__contactable set since = ? where user_key = ?", [since, user]
            )
        assert codes(planned(world, tmp_path)) == {"u000": "eligible", "u001": "unsubscribed"}

    def test_what_happens_after_as_of_is_not_known(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(2)
        world.item("knowledge:c1")
        world.campaign("spring", item_ids=["c1"])
        world.event("u000", "knowledge:c1", at=AS_OF + timedelta(hours=1))
        world.response("spring", "u001", "dismiss", at=AS_OF + timedelta(hours=1))
        assert set(codes(planned(world, tmp_path)).values()) == {"eligible"}

    @pytest.mark.parametrize(("response_type", "code"), [("unsubscribe", "unsubscribed"), ("dismiss", "eligible")])
    def test_who_unsubscribes_after_as_of_is_left_alone_all_the_same(
        self, world: SmallWorld, tmp_path: Path, response_type: str, code: str
    ) -> None:
        world.people(2)
        world.campaign("spring")
        hand(world, "earlier", "spring", "u000", date(2026, 2, 10))
        key = contact_key("spring", "u000", date(2026, 2, 10), "email")
        world.waiting_response(key, response_type, at=AS_OF + timedelta(hours=1))
        assert codes(planned(world, tmp_path)) == {"u000": code, "u001": "eligible"}

    def test_a_purchase_after_the_first_contact_converts_for_a_campaign_without_items(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(2)
        world.campaign("spring")
        for user in ("u000", "u001"):
            world.exposure("spring", user, at=AS_OF - timedelta(days=20))
        world.event("u000", "knowledge:c1", at=AS_OF - timedelta(days=10))
        world.event("u001", "knowledge:c1", at=AS_OF - timedelta(days=30))
        assert codes(planned(world, tmp_path)) == {"u000": "already_converted", "u001": "eligible"}

    def test_who_had_all_items_of_a_campaign_is_offered_none(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(2)
        for item in ("knowledge:c1", "knowledge:c2"):
            world.item(item)
            world.event("u000", item, "complete")
        world.event("u001", "knowledge:c1", "progress")
        world.campaign("spring", item_ids=["c1", "c2"])
        plan = planned(world, tmp_path)
        assert codes(plan) == {"u000": "item_not_available", "u001": "eligible"}
        assert [row["item_key"] for row in rows(plan, "contact")] == ["knowledge:c2"]

    def test_without_a_free_day_a_campaign_is_not_active(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(1)
        world.campaign("spring", ends_at=datetime(2026, 3, 2, 23, 59))
        plan = planned(world, tmp_path, committed={FIRST})
        assert codes(plan) == {"u000": "campaign_not_active"}
        assert not rows(plan, "contact")

    def test_the_law_goes_before_the_campaign(self, world: SmallWorld, tmp_path: Path) -> None:
        world.person("ann", reason="no_consent")
        world.campaign("spring")
        world.response("spring", "ann", "dismiss")
        assert codes(planned(world, tmp_path)) == {"ann": "no_consent"}


class TestHoldouts:
    def test_held_out_people_are_chosen_by_the_same_rule_and_never_contacted(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = world.people(300)
        world.campaign("spring", holdout_share=0.2)
        world.limit("global_holdout", 0.05)
        plan = planned(world, tmp_path)
        of_all = dict(zip(users, held_out(users, "global", 0.05), strict=True))
        of_campaign = dict(zip(users, held_out(users, "campaign/spring", 0.2), strict=True))
        contacts = rows(plan, "contact")
        assert len(contacts) == 300
        for row in contacts:
            is_out = of_all[row["user_key"]] or of_campaign[row["user_key"]]
            assert row["arm"] == ("control" if is_out else "treatment")
            assert row["cost"] == (0 if is_out else 0.01)
            assert row["propensity"] == pytest.approx(0.95 * 0.8)
        found = codes(plan)
        for user in users:
            expected = "global_holdout" if of_all[user] else "campaign_holdout" if of_campaign[user] else "eligible"
            assert found[user] == expected
        assert campaign(plan, "spring")["held_out_people"] == sum(code != "eligible" for code in found.values())

    def test_a_held_out_persons_contact_takes_a_place_in_the_caps_and_the_day(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(100)
        # Money for twenty contacts: some of those chosen are held out, and nobody takes their place.
        world.campaign(
            "spring", holdout_share=0.5, budget=20, cost_per_exposure=1, value_per_conversion=10_000,
            ends_at=datetime(2026, 3, 2, 23),
        )  # fmt: skip
        arms = Counter(row["arm"] for row in rows(planned(world, tmp_path), "contact"))
        assert arms["treatment"] + arms["control"] == 20
        assert arms["control"] > 0

    def test_arms_of_a_campaign_are_chosen_alike_after_another_one_has_contacted_all_but_the_held_out(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = np.array(world.people(1000))
        world.limit("global_holdout", 0.05)
        world.campaign("before", channel="push", holdout_share=0.1, ends_at=datetime(2026, 3, 1, 23))
        # Money for a tenth of the people on the only day.
        world.campaign(
            "after", holdout_share=0.1, budget=100, cost_per_exposure=1, value_per_conversion=10_000,
            ends_at=datetime(2026, 3, 2, 23),
        )  # fmt: skip
        out = held_out(users, "global", 0.05) | held_out(users, "campaign/before", 0.1)
        for day in (date(2026, 2, 24), date(2026, 2, 27)):
            world.insert_contacts(
                [
                    handed("earlier", "before", user, day, channel="push", arm="control" if ghost else "treatment")
                    for user, ghost in zip(users.tolist(), out, strict=True)
                ]
            )
        arms = Counter(row["arm"] for row in rows(planned(world, tmp_path), "contact"))
        assert arms.total() == 100
        ratio = sample_ratio([arms["control"], arms["treatment"]], [1 - 0.95 * 0.9, 0.95 * 0.9])
        assert ratio.p_value[0] > 0.001, arms

    def test_a_long_campaign_key_can_be_held_out(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(50)
        key = "spring" * 20
        world.campaign(key, holdout_share=0.5)
        assert campaign(planned(world, tmp_path), key)["held_out_people"] > 0


class TestProblems:
    @pytest.mark.parametrize(
        ("brief", "state", "words"),
        [
            ({"budget": 0}, "refused", "no budget"),
            ({"budget": None}, "refused", "no budget"),
            ({"budget": 0.005}, "refused", "less than the 0.01 that one contact costs"),
            ({"cost_per_exposure": -1}, "refused", "cost_per_exposure is -1"),
            ({"holdout_share": 1.0}, "refused", "holdout_share is 1"),
            ({"holdout_share": -0.1}, "refused", "holdout_share is -0.1"),
            ({"starts_at": datetime(2026, 5, 1), "ends_at": datetime(2026, 4, 1)}, "refused", "before it starts"),
            ({"item_ids": ["nowhere"]}, "refused", "None of its items is in the catalogue of the knowledge platform"),
            (
                {"source_item_ids": ["m1"]},
                "refused",
                "Its items are all of the film platform; name in item_ids what of",
            ),
            (
                {"item_ids": ["c1"], "source_item_ids": ["nope", "c1"]},
                "refused",
                "None of its items of the film platform is in the catalogue",
            ),
            ({"item_ids": ["c1"], "source_item_ids": ["nope", "m1"]}, "planned", None),
            ({"segment": "value:film:hihg"}, "refused", "did you mean value:film:high?"),
            ({"segment": "people who like cats"}, "refused", "marketing.segment"),
            ({"currency": None}, "refused", "no currency"),
            ({"currency": "EUR"}, "refused", "Its money is in EUR, but the plan is in USD"),
            ({"value_per_conversion": None}, "refused", "no value_per_conversion"),
            ({"frequency_cap": 0}, "refused", "frequency_cap is 0"),
            ({"is_inferred": True, "kind": None}, "refused", "known from exposures or events only"),
            ({"status": "draft"}, "not_approved", None),
            ({"status": "paused"}, "not_approved", None),
            ({"status": "ended"}, "ended", None),
            ({"ends_at": datetime(2026, 2, 20)}, "ended", None),
            ({"starts_at": datetime(2026, 4, 1)}, "waiting", None),
            ({}, "planned", None),
        ],
    )
    def test_a_brief_says_what_is_wrong_with_it_and_stops_no_other(
        self, world: SmallWorld, tmp_path: Path, brief: dict[str, Any], state: str, words: str | None
    ) -> None:
        world.person("ann", segments=["value:film:high"])
        world.item("knowledge:c1")
        world.item("film:m1")
        world.campaign("good", channel="push")
        world.campaign("also good", channel="banner")
        world.campaign("spring", **brief)
        plan = planned(world, tmp_path)
        row = campaign(plan, "spring")
        assert row["state"] == state
        if words is None:
            assert row["problem"] is None
        else:
            assert words in row["problem"]
        reached = {row["campaign_key"] for row in rows(plan, "contact")}
        assert reached == {"good", "also good"} | ({"spring"} if state == "planned" else set())

    def test_a_campaign_whose_segment_is_gone_after_it_has_contacted_people_says_what_to_do(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.person("ann", segments=["taste:joined:crime+drama"])
        world.campaign("spring", segment="taste:joined:crime")
        hand(world, "earlier", "spring", "ann", date(2026, 2, 1))
        row = campaign(planned(world, tmp_path), "spring")
        assert row["state"] == "refused"
        assert row["problem"] == (
            "Its segment 'taste:joined:crime' is not a segment_key; did you mean taste:joined:crime+drama? All are in "
            "marketing.segment. Segments of taste may be gone when they are made anew. Leave it empty for everyone on the "
            "source platform. Whom it has contacted stays in their arm, whichever segment its row is given."
        )

    def test_the_currency_is_that_of_most_campaigns_and_else_the_first(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(1)
        world.campaign("a", currency="USD")
        world.campaign("b", currency="EUR")
        plan = planned(world, tmp_path)
        assert rows(plan, "plan")[0]["currency"] == "EUR"
        assert campaign(plan, "a")["state"] == "refused"
        assert campaign(plan, "b")["state"] == "planned"

    def test_a_new_campaign_in_another_currency_never_stops_one_that_runs(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(1)
        world.campaign("runs", currency="USD")
        hand(world, "earlier", "runs", "u000", date(2026, 2, 1))
        for name in ("new", "newer"):
            world.campaign(name, currency="EUR", channel=name)
        plan = planned(world, tmp_path)
        assert rows(plan, "plan")[0]["currency"] == "USD"
        assert campaign(plan, "runs")["state"] == "planned"
        assert "give budget, cost and value in USD" in campaign(plan, "new")["problem"]

    def test_of_currencies_of_as_many_running_campaigns_it_is_that_of_the_latest_contact(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(1)
        for name, currency, day in (("euros", "EUR", 1), ("dollars", "USD", 2)):
            world.campaign(name, currency=currency)
            hand(world, f"of {day}", name, "u000", date(2026, 2, day))
        assert rows(planned(world, tmp_path), "plan")[0]["currency"] == "USD"
        for name in ("new", "newer"):
            world.campaign(name, currency="EUR", channel=name)
        assert rows(planned(world, tmp_path), "plan")[0]["currency"] == "USD"

    def test_items_say_what_a_conversion_is_worth_where_the_brief_does_not(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(1)
        for item, price in (("c1", 10), ("c2", 40), ("c3", 90)):
            world.item(f"knowledge:{item}", price=price, currency="USD")
        world.campaign("spring", item_ids=["c1", "c2", "c3"], value_per_conversion=None, cost_per_exposure=0)
        (contact,) = rows(planned(world, tmp_path), "contact")
        assert contact["expected_value"] == pytest.approx(contact["uplift"] * 40)

    def test_campaigns_that_want_the_same_people_in_one_channel_are_named(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.person("ann", segments=["value:film:high"])
        world.person("bob", segments=["value:film:low"])
        world.campaign("all")
        world.campaign("high", segment="value:film:high")
        world.campaign("low", segment="value:film:low")
        world.campaign("push", channel="push")
        plan = planned(world, tmp_path)
        found = {row["campaign_key"]: row["competes_with"] for row in rows(plan, "campaign")}
        assert found == {"all": ["high", "low"], "high": ["all"], "low": ["all"], "push": []}

    def test_with_nothing_to_plan_there_is_an_empty_plan(self, world: SmallWorld, tmp_path: Path) -> None:
        plan = planned(world, tmp_path)
        (row,) = rows(plan, "plan")
        assert (row["campaigns"], row["contacts"], row["currency"], row["handed_until"]) == (0, 0, None, FIRST)
        write_plan(world.connection, plan)

    @pytest.mark.parametrize(
        ("kind", "about", "words"),
        [
            ("total_budget", {"channel": "email"}, "leave the channel empty"),
            ("stock", {}, "needs an item_key"),
            ("stock", {"item_key": "knowledge:gone"}, "no item 'knowledge:gone' was ever known"),
            ("minimum_reach", {}, "needs a segment_key"),
            ("minimum_reach", {"segment_key": "value:joined:gone"}, "no segment 'value:joined:gone' was ever known"),
            ("contact_cap", {"window_days": 0}, "at least 1 day"),
            ("speed", {}, "not a kind of limit"),
            ("global_holdout", {"amount": 1.0}, "less than 1"),
        ],
    )
    def test_a_limit_that_cannot_be_kept_stops_the_plan(
        self, world: SmallWorld, tmp_path: Path, kind: str, about: dict[str, Any], words: str
    ) -> None:
        world.limit(kind, about.pop("amount", 5), **about)
        with pytest.raises(CampaignLimitError, match=words):
            planned(world, tmp_path)

    @pytest.mark.parametrize("kind", ["stock", "minimum_reach"])
    def test_a_key_that_is_misspelt_is_told_with_what_was_meant(
        self, world: SmallWorld, tmp_path: Path, kind: str
    ) -> None:
        world.person("ann", segments=["value:joined:lapsed"])
        world.item("knowledge:c1")
        world.limit(kind, 5, item_key="knowledge:c11", segment_key="value:joined:lapsd", limit_id="slip")
        meant = "knowledge:c1" if kind == "stock" else "value:joined:lapsed"
        with pytest.raises(CampaignLimitError, match=rf"row 'slip'.* did you mean {meant}\?.*campaign_limits.csv"):
            planned(world, tmp_path)

    @pytest.mark.parametrize(
        ("table", "kind", "key"),
        [
            ("snapshots.snapshot_contents", "stock", "knowledge:gone"),
            ("snapshots.snapshot_films", "stock", "film:gone"),
            ("marketing.observed_segment", "minimum_reach", "taste:joined:gone"),
        ],
    )
    def test_a_limit_of_what_has_left_stops_nothing_and_holds_again_once_it_is_back(
        self, world: SmallWorld, tmp_path: Path, table: str, kind: str, key: str
    ) -> None:
        world.people(3)
        world.campaign("spring", frequency_cap=1)
        column = "item_key" if kind == "stock" else "segment_key"
        world.insert(table, **{column: key})
        world.limit(kind, 1, **{column: key})
        plan = planned(world, tmp_path)
        assert len(rows(plan, "contact")) == 3
        assert not [row for row in rows(plan, "limit") if row["limit_kind"] == kind]
        if kind == "stock":
            world.item(key)
        else:
            world.person("ann", segments=[key])
        plan = planned(world, tmp_path, version="v2")
        assert [row[column] for row in rows(plan, "limit") if row["limit_kind"] == kind] == [key]

    @pytest.mark.parametrize(
        ("table", "kind", "key"),
        [
            ("snapshots.snapshot_contents", "stock", "knowledge:gone"),
            ("snapshots.snapshot_films", "stock", "film:gone"),
            ("marketing.observed_segment", "minimum_reach", "taste:joined:gone"),
        ],
    )
    def test_a_slip_is_told_as_one_before_all_that_tells_of_the_past_has_been_made(
        self, world: SmallWorld, tmp_path: Path, table: str, kind: str, key: str
    ) -> None:
        world.connection.execute(f"drop table {table}")
        world.limit(kind, 5, item_key=key, segment_key=key)
        with pytest.raises(CampaignLimitError, match="was ever known"):
            planned(world, tmp_path)

    def test_an_item_that_was_only_ever_offered_was_known_too(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(1)
        world.campaign("spring")
        hand(world, "earlier", "spring", "u000", date(2026, 2, 10), item_key="knowledge:gone")
        world.limit("stock", 5, item_key="knowledge:gone")
        assert not [row for row in rows(planned(world, tmp_path), "limit") if row["limit_kind"] == "stock"]


class TestLimits:
    def test_what_was_spent_is_gone_whoever_delivered_it(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(20)
        world.campaign("spring", budget=10, cost_per_exposure=1, value_per_conversion=10_000)
        world.exposure("spring", "u000", at=AS_OF - timedelta(days=20))
        world.exposure("spring", "u001", at=AS_OF - timedelta(days=20))
        hand(world, "earlier", "spring", "u002", date(2026, 2, 10), cost=1.0)
        # The delivery of a contact that was handed over is the same contact; a held-out person's one costs nothing.
        key = contact_key("spring", "u002", date(2026, 2, 10), "email")
        world.exposure("spring", "u002", exposure_key=hashlib.md5(key.encode()).hexdigest())
        hand(world, "earlier", "spring", "u003", date(2026, 2, 10), arm="control", cost=0.0)
        plan = planned(world, tmp_path, plan_days=60)
        row = campaign(plan, "spring")
        assert (row["spent"], row["budget_left"]) == (3, 7)
        assert len(rows(plan, "contact")) <= 7

    def test_a_budget_lasts_until_the_last_day_of_the_campaign(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(100)
        # 100 for the ten days from 2 to 11 March: 10 a day, 12 with the slack of a fifth.
        ends = datetime(2026, 3, 11, 23)
        world.campaign("spring", budget=100, cost_per_exposure=1, value_per_conversion=10_000, ends_at=ends)
        plan = planned(world, tmp_path)
        a_day = Counter(row["contact_date"] for row in rows(plan, "contact"))
        assert [a_day[FIRST + timedelta(days=day)] for day in range(7)] == [12] * 7
        assert {row["reason"] for row in rows(plan, "eligibility")} == {"chosen", "day_budget"}
        prices = [row for row in rows(plan, "limit") if row["limit_kind"] == "day_budget"]
        assert all(row["allowed"] == pytest.approx(12) and row["used"] == 12 for row in prices)
        assert all(row["shadow_price"] > 0 for row in prices)

    def test_a_contact_dearer_than_a_days_share_can_be_paid(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(5)
        world.campaign("spring", budget=10, cost_per_exposure=5, value_per_conversion=100_000)
        contacts = rows(planned(world, tmp_path), "contact")
        assert [row["contact_date"] for row in contacts].count(FIRST) == 1
        assert len(contacts) == 2

    def test_a_total_budget_holds_for_all_campaigns_together(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(10)
        for name, channel in (("spring", "email"), ("autumn", "push")):
            world.campaign(name, channel=channel, cost_per_exposure=1, value_per_conversion=10_000)
        world.exposure("spring", "u000", at=AS_OF - timedelta(days=20))
        world.exposure("spring", "u000", at=AS_OF - timedelta(days=200))
        world.limit("total_budget", 6, window_days=30)
        plan = planned(world, tmp_path)
        assert len(rows(plan, "contact")) == 5
        assert "total_budget" in {row["limit_kind"] for row in rows(plan, "limit")}

    def test_a_total_budget_with_a_window_is_spent_evenly_and_whole_as_plans_roll_on(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(60)
        for name, channel in (("spring", "email"), ("autumn", "push")):
            world.campaign(
                name, channel=channel, cost_per_exposure=0.1, value_per_conversion=10_000, budget=1000, frequency_cap=9
            )
        world.limit("total_budget", 14, window_days=7)
        plan = planned(world, tmp_path)
        of_days = [row for row in rows(plan, "limit") if row["limit_kind"] == "total_budget"]
        assert [row["contact_date"] for row in of_days] == [FIRST + timedelta(days=day) for day in range(7)]
        assert all(row["used"] <= row["allowed"] + 1e-9 <= 1.2 * 2 + 2e-9 for row in of_days)
        assert sum(row["used"] for row in of_days) == pytest.approx(14)
        assert min(row["shadow_price"] for row in of_days if row["allowed"] > 0) > 0

    def test_a_total_budget_without_a_window_is_spent_for_good(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(10)
        world.campaign("spring", cost_per_exposure=1, value_per_conversion=10_000)
        for days in (20, 200, 300):
            world.exposure("spring", "u000", at=AS_OF - timedelta(days=days))
        world.limit("total_budget", 5)
        assert len(rows(planned(world, tmp_path), "contact")) == 2

    def test_contacts_are_one_a_week_unless_the_brief_says_more(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(1)
        world.campaign("usual")
        world.campaign("often", channel="push", frequency_cap=2, frequency_window_days=3)
        found: dict[str, list[int]] = {"usual": [], "often": []}
        for row in rows(planned(world, tmp_path), "contact"):
            found[row["campaign_key"]].append((row["contact_date"] - FIRST).days)
        assert len(found["usual"]) == 1
        often = sorted(found["often"])
        assert len(often) == 5
        assert all(later - earlier >= 3 for earlier, later in zip(often, often[2:], strict=False))

    def test_a_channel_reaches_a_person_once_a_day(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(1)
        world.campaign("one")
        world.campaign("two")
        world.campaign("three", channel="push")
        days = Counter((row["channel"], row["contact_date"]) for row in rows(planned(world, tmp_path), "contact"))
        assert max(days.values()) == 1
        assert days["email", FIRST] == days["push", FIRST] == 1

    def test_caps_count_contacts_of_before_by_whatever_campaign_in_the_persons_own_days(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.person("ann", time_zone="Asia/Tokyo")
        world.person("bob")
        world.campaign("spring")
        world.campaign("over", status="ended")
        world.limit("contact_cap", 1, window_days=3)
        # At 16:00 UTC on 27 February it is the 28th in Tokyo: with a window of three days ann is free from 3 March.
        for user in ("ann", "bob"):
            world.exposure("over", user, at=datetime(2026, 2, 27, 16))
        found = {row["user_key"]: row["contact_date"] for row in rows(planned(world, tmp_path), "contact")}
        assert found == {"ann": date(2026, 3, 3), "bob": FIRST}

    @pytest.mark.parametrize("spelling", ["email", " Email", "EMAIL"])
    def test_a_cap_of_one_channel_leaves_the_others_free(
        self, world: SmallWorld, tmp_path: Path, spelling: str
    ) -> None:
        world.people(1)
        world.campaign("spring")
        world.campaign("autumn", channel="push")
        world.exposure("spring", "u000", at=AS_OF - timedelta(days=8))
        world.limit("contact_cap", 1, window_days=30, channel=spelling)
        plan = planned(world, tmp_path)
        assert {row["campaign_key"] for row in rows(plan, "contact")} == {"autumn"}
        assert reasons(plan) == {"person_cap": 1}

    def test_every_cap_has_the_price_of_the_contacts_that_it_alone_forbids(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(6)
        world.campaign("spring", frequency_cap=1, frequency_window_days=30)
        world.campaign("autumn", channel="push", frequency_cap=9)
        world.limit("contact_cap", 1, window_days=30, channel="push", limit_id="a_push_a_month")
        world.limit("contact_cap", 9, window_days=30, limit_id="nine_a_month")
        plan = planned(world, tmp_path)
        value = {row["campaign_key"]: row["expected_value"] - row["cost"] for row in rows(plan, "contact")}
        caps = {row["limit_key"]: row for row in rows(plan, "limit") if row["window_days"] is not None}
        assert {key: (row["campaign_key"], row["channel"], row["window_days"]) for key, row in caps.items()} == {
            "frequency_cap/spring": ("spring", "email", 30),
            "frequency_cap/autumn": ("autumn", "push", 7),
            "once_a_day/email": (None, "email", 1),
            "once_a_day/push": (None, "push", 1),
            "contact_cap/a_push_a_month": (None, "push", 30),
            "contact_cap/nine_a_month": (None, None, 30),
        }
        assert {key: (row["allowed"], row["used"], row["bound_people"]) for key, row in caps.items()} == {
            "frequency_cap/spring": (1, 6, 6),
            "frequency_cap/autumn": (9, 6, 0),
            "once_a_day/email": (1, 6, 0),
            "once_a_day/push": (1, 6, 0),
            "contact_cap/a_push_a_month": (1, 6, 6),
            "contact_cap/nine_a_month": (9, 12, 0),
        }
        for key, campaign_key in (("frequency_cap/spring", "spring"), ("contact_cap/a_push_a_month", "autumn")):
            # A second contact on the second day, which is worth a little less by the wait.
            assert caps[key]["shadow_price"] == pytest.approx(value[campaign_key], rel=0.02)
            assert caps[key]["total_price"] == pytest.approx(6 * caps[key]["shadow_price"])

    def test_a_holdout_costs_what_its_people_would_have_brought_if_they_were_contacted(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = world.people(60)
        world.campaign("spring", holdout_share=0.25, frequency_cap=1, frequency_window_days=30)
        world.campaign("autumn", channel="push", frequency_cap=1, frequency_window_days=30)
        world.limit("global_holdout", 0.2)
        plan = planned(world, tmp_path)
        held = {row["limit_key"]: row for row in rows(plan, "limit") if row["limit_kind"].endswith("holdout")}
        of_all = held_out(users, "global", 0.2)
        of_spring = held_out(users, "campaign/spring", 0.25) & ~of_all
        ghosts = [row for row in rows(plan, "contact") if row["arm"] == "control"]
        value = {row["campaign_key"]: row["expected_value"] for row in ghosts}
        assert sorted(held) == ["campaign_holdout/spring", "global_holdout"]
        one, everyone = held["campaign_holdout/spring"], held["global_holdout"]
        assert (one["allowed"], one["used"], one["bound_people"]) == (0.25, of_spring.sum(), of_spring.sum())
        assert (everyone["allowed"], everyone["used"], everyone["bound_people"]) == (0.2, of_all.sum(), of_all.sum())
        # Who is held out of all would have had a contact of both; each costs 0.01.
        assert one["shadow_price"] == pytest.approx(value["spring"] - 0.01, rel=0.01)
        assert everyone["shadow_price"] == pytest.approx(value["spring"] + value["autumn"] - 0.02, rel=0.01)
        assert everyone["total_price"] == pytest.approx(everyone["shadow_price"] * of_all.sum())

    def test_a_holdout_costs_what_the_same_plan_would_bring_more_without_it(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        """Money for every other one: what is set aside for the held-out is spent on nobody else."""
        world.people(60)
        terms = {"budget": 30, "cost_per_exposure": 1, "value_per_conversion": 10_000, "frequency_cap": 1}
        world.campaign("spring", holdout_share=0.5, frequency_window_days=30, **terms)
        plan = planned(world, tmp_path)
        (held,) = (row for row in rows(plan, "limit") if row["limit_kind"] == "campaign_holdout")
        world.connection.execute("update core.dim_campaign set holdout_share = 0")
        without = planned(world, tmp_path, version="v2")
        brought = [
            sum(row["expected_value"] - row["cost"] for row in rows(one, "contact") if row["arm"] == "treatment")
            for one in (plan, without)
        ]
        assert 0 < held["bound_people"] < 30
        assert held["total_price"] == pytest.approx(brought[1] - brought[0], rel=0.01)

    def test_stock_runs_out_and_the_next_best_item_is_offered(self, world: SmallWorld, tmp_path: Path) -> None:
        users = world.people(6)
        for item in ("knowledge:c1", "knowledge:c2"):
            world.item(item)
        for user in users:
            world.score(user, "knowledge:c1", 2)
            world.score(user, "knowledge:c2", 1)
        world.campaign("spring", item_ids=["c1", "c2"])
        world.exposure("spring", "u005", item_key="knowledge:c1", at=AS_OF - timedelta(days=20))
        world.limit("stock", 3, item_key="knowledge:c1")
        world.limit("stock", 3, item_key="knowledge:c1", window_days=7)  # of them nothing is gone in these days
        plan = planned(world, tmp_path)
        offered = Counter(row["item_key"] for row in rows(plan, "contact"))
        assert offered == {"knowledge:c1": 2, "knowledge:c2": 4}
        (stock,) = (row for row in rows(plan, "limit") if row["limit_kind"] == "stock")
        assert (stock["allowed"], stock["used"]) == (2, 2)
        assert stock["shadow_price"] > 0

    def test_a_minimum_reach_goes_before_value(self, world: SmallWorld, tmp_path: Path) -> None:
        for number in range(8):
            world.person(f"u{number}", segments=["lifecycle:joined:active"])
            world.score(f"u{number}", "knowledge:c1", 5)
        for number in range(3):
            world.person(f"lapsed{number}", segments=["lifecycle:joined:active", "value:joined:lapsed"])
        world.item("knowledge:c1")
        world.campaign(
            "spring", item_ids=["c1"], budget=4, cost_per_exposure=1, value_per_conversion=10_000,
            ends_at=datetime(2026, 3, 2, 23),
        )  # fmt: skip
        assert not {row["user_key"] for row in rows(planned(world, tmp_path), "contact")} & {"lapsed0", "lapsed1"}
        world.limit("minimum_reach", 2, segment_key="value:joined:lapsed")
        world.limit("minimum_reach", 1, segment_key="value:joined:lapsed")  # the tighter one holds
        reached = [row["user_key"] for row in rows(planned(world, tmp_path, version="v2"), "contact")]
        assert len(reached) == 4
        assert sum(user.startswith("lapsed") for user in reached) == 2

    def test_a_minimum_that_cannot_be_reached_has_no_price(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(3)
        world.person("gone", segments=["value:joined:lapsed"], reason="no_consent")
        world.campaign("spring")
        world.limit("minimum_reach", 2, segment_key="value:joined:lapsed")
        world.limit("minimum_reach", 2, segment_key="lifecycle:joined:active")
        reach = {row["segment_key"]: row for row in rows(planned(world, tmp_path), "limit") if row["segment_key"]}
        missed, kept = reach["value:joined:lapsed"], reach["lifecycle:joined:active"]
        assert (missed["allowed"], missed["used"], missed["shadow_price"]) == (2, 0, None)
        assert (kept["allowed"], kept["shadow_price"]) == (2, 0)

    def test_one_contact_counts_for_every_minimum_reach_of_the_person(self, world: SmallWorld, tmp_path: Path) -> None:
        lapsed, new = "value:joined:lapsed", "lifecycle:film:new"
        world.people(8)
        world.person("both", segments=[lapsed, new])
        for number in range(3):
            world.person(f"lapsed{number}", segments=[lapsed])
            world.person(f"new{number}", segments=[new])
        world.campaign(
            "spring", budget=3, cost_per_exposure=1, value_per_conversion=10_000, ends_at=datetime(2026, 3, 2, 23)
        )
        world.limit("minimum_reach", 2, segment_key=lapsed)
        world.limit("minimum_reach", 2, segment_key=new)
        plan = planned(world, tmp_path)
        reached = {row["user_key"] for row in rows(plan, "contact")}
        assert len(reached) == 3
        assert "both" in reached
        asked = {row["segment_key"]: row for row in rows(plan, "limit") if row["limit_kind"] == "minimum_reach"}
        assert {key: (row["allowed"], row["used"]) for key, row in asked.items()} == {lapsed: (2, 2), new: (2, 2)}
        # The next plan has nobody left to ask for, whichever of the two segments it asks in.
        world.insert_contacts(rows(plan, "contact"))
        world.now(AS_OF + timedelta(days=1))
        plan = planned(world, tmp_path, version="v2")
        asked = {row["segment_key"]: row for row in rows(plan, "limit") if row["limit_kind"] == "minimum_reach"}
        assert {key: row["used"] for key, row in asked.items()} == {lapsed: 2, new: 2}

    def test_who_was_contacted_in_one_segment_is_still_asked_for_in_another(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        lapsed, new = "value:joined:lapsed", "lifecycle:film:new"
        world.people(4)
        world.person("both", segments=[lapsed, new])
        world.campaign(
            "spring", budget=2, cost_per_exposure=1, value_per_conversion=10_000, ends_at=datetime(2026, 3, 2, 23)
        )
        hand(world, "earlier", "spring", "both", date(2026, 2, 1), segment_keys=[lapsed], cost=1.0)
        for segment in (lapsed, new):
            world.limit("minimum_reach", 1, segment_key=segment)
        plan = planned(world, tmp_path)
        assert [row["user_key"] for row in rows(plan, "contact")] == ["both"]

    @pytest.mark.parametrize(("holdout", "worth"), [(0.0, 1), (0.5, 1), (0.5, 0)])
    def test_a_minimum_reach_is_handed_over_by_daily_plans_counts_the_contacted_only_and_is_not_begun_anew(
        self, world: SmallWorld, tmp_path: Path, holdout: float, worth: float
    ) -> None:
        users = world.people(60, segments=["lifecycle:joined:active", "value:joined:lapsed"])
        # No contact is worth its cost, or worth anything, so that only the minimum makes one.
        world.campaign(
            "spring", holdout_share=holdout, budget=1e6, cost_per_exposure=2 * worth, value_per_conversion=worth
        )
        world.limit("minimum_reach", 12, segment_key="value:joined:lapsed")
        reached: list[list[str]] = []
        for day in range(12):
            world.now(AS_OF + timedelta(days=day))
            plan = planned(world, tmp_path, version=str(day))
            contacts = [row for row in rows(plan, "contact") if row["status"] == "handed_over"]
            world.insert_contacts(contacts)
            reached.append([row["user_key"] for row in contacts if row["arm"] == "treatment"])
            (limit,) = (row for row in rows(plan, "limit") if row["limit_kind"] == "minimum_reach")
            assert limit["allowed"] == 12
            assert limit["used"] == sum(map(len, reached))
        assert 12 <= len(reached[0]) <= 16, [len(one) for one in reached]
        assert not any(reached[1:])
        out = held_out(users, "campaign/spring", holdout)
        ghosts = world.connection.execute(
            "select count(*) from marketing.past_contact where arm = 'control'"
        ).fetchall()
        # The held-out are chosen by the same rule, so that about as many of them were asked for.
        assert ghosts[0][0] == pytest.approx(len(reached[0]) * out.mean() / (1 - out.mean()), abs=6)

    @pytest.mark.parametrize(
        ("left", "held_out_first", "solved", "reached"), [(400, 10, 2, 401), (400, 6, 1, 397), (40, 2, 2, 41)]
    )
    def test_a_problem_is_solved_again_only_for_a_hundredth_of_a_minimum_reach_or_more(
        self, monkeypatch: pytest.MonkeyPatch, left: int, held_out_first: int, solved: int, reached: int
    ) -> None:
        # No contact is worth anything; of those that cost least to make, which are chosen first, some are not delivered.
        everyone = np.arange(1000)
        delivered = everyone >= held_out_first
        nothing = np.zeros(len(everyone), np.int64)
        problem = Problem(
            people=len(everyone),
            days=1,
            channels=1,
            candidates=Candidates(
                person=everyone, campaign=nothing, item=nothing, day=nothing, channel=nothing,
                value=-1 - everyone / 1000, cost=np.ones(len(everyone)),
            ),
            limits=Limits(budget=np.array([np.inf])),
        )  # fmt: skip
        asked: list[int] = []

        def counted(problem: Problem, config: AllocationConfig) -> Allocation:
            assert problem.limits.minimum_reach is not None
            asked.extend(problem.limits.minimum_reach.tolist())
            return allocate(problem, config)

        monkeypatch.setattr(planning, "allocate", counted)
        planner: Any = SimpleNamespace(
            _left_to_reach=lambda: np.array([left]),
            reach_keys=["value:joined:lapsed"],
            members=np.ones((len(everyone), 1), bool),
        )
        _, found = planning._Planner._allocate(planner, problem, AllocationConfig(), everyone, delivered)
        assert (len(asked), delivered[found.chosen].sum()) == (solved, reached), asked

    def test_a_minimum_reach_with_a_window_is_asked_for_again_once_that_is_over(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(6, segments=["lifecycle:joined:active", "value:joined:lapsed"])
        world.campaign("spring", cost_per_exposure=2, value_per_conversion=1)
        world.limit("minimum_reach", 3, segment_key="value:joined:lapsed", window_days=10)
        for number, day in enumerate((date(2026, 2, 1), date(2026, 2, 20), date(2026, 2, 21))):
            hand(world, str(day), "spring", f"u00{number}", day, segment_keys=["value:joined:lapsed"])
        contacts = rows(planned(world, tmp_path), "contact")
        assert len(contacts) == 2
        assert "u002" not in {row["user_key"] for row in contacts}

    def test_contacts_that_are_not_worth_their_cost_are_not_made(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(3)
        world.campaign("spring", cost_per_exposure=2, value_per_conversion=1)
        plan = planned(world, tmp_path)
        assert not rows(plan, "contact")
        assert reasons(plan) == {"not_worth_it": 3}


def hand(world: SmallWorld, plan_id: str, campaign_key: str, user: str, day: date, **more: Any) -> None:
    """Puts a contact into the ledger's table."""
    world.insert_contacts([handed(plan_id, campaign_key, user, day, **more)])


def handed(plan_id: str, campaign_key: str, user: str, day: date, **more: Any) -> dict[str, Any]:
    """A contact of the ledger."""
    start = datetime.combine(day, datetime.min.time())
    row = {
        "contact_key": contact_key(campaign_key, user, day, "email"),
        "plan_id": plan_id,
        "campaign_key": campaign_key,
        "user_key": user,
        "platform": "film",
        "channel": "email",
        "contact_date": day,
        "not_before": start,
        "not_after": start + timedelta(days=1),
        "arm": "treatment",
        "status": "handed_over",
        "propensity": 0.9,
        "cost": 0.01,
        "currency": "USD",
        "is_explored": False,
        "segment_keys": [],
        "decided_at": start - timedelta(days=1),
    }
    return row | more


class TestItems:
    def test_the_best_of_the_persons_list_is_shown_and_the_most_popular_where_the_list_names_none(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(3)
        for item in ("c1", "c2", "c3"):
            world.item(f"knowledge:{item}")
        world.campaign("spring", item_ids=["c1", "c2", "c3"])
        world.score("u000", "knowledge:c1", 1)
        world.score("u000", "knowledge:c3", 2)
        # Had by others, c2 is the most popular; u002 looked at it, which does not make it theirs.
        for user in ("x", "y"):
            world.person(user, platforms=["knowledge"])
            world.event(user, "knowledge:c2")
        world.event("u002", "knowledge:c2", "view")
        shown = {row["user_key"]: row["item_key"] for row in rows(planned(world, tmp_path), "contact")}
        assert shown == {"u000": "knowledge:c3", "u001": "knowledge:c2", "u002": "knowledge:c2"}

    def test_whoever_had_the_popular_items_is_shown_the_next(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(1)
        for number in range(6):
            world.item(f"knowledge:c{number}")
        for number in range(5):
            world.event("u000", f"knowledge:c{number}", "rating")
        world.campaign("spring", item_ids=[f"c{number}" for number in range(6)])
        (row,) = rows(planned(world, tmp_path), "contact")
        assert row["item_key"] == "knowledge:c5"

    def test_nobody_is_offered_an_item_again_while_the_campaign_has_another(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(4)
        for number in range(3):
            world.item(f"knowledge:c{number}")
            for other in range(3 - number):
                world.event(f"u00{3 - other}", f"knowledge:c{number}", "view")
        world.campaign("spring", item_ids=["c0", "c1", "c2"], frequency_cap=9, frequency_window_days=9)
        for user in ("u000", "u001"):
            world.score(user, "knowledge:c0", 9)
        world.score("u000", "knowledge:c1", 1)
        # Who was offered everything is offered what they were offered least often.
        seen = {"u000": ["c0"], "u001": ["c0"], "u002": ["c0", "c1"], "u003": ["c0", "c0", "c1", "c2", "c2"]}
        for user, items in seen.items():
            for days, item in enumerate(items):
                world.exposure("spring", user, item_key=f"knowledge:{item}", at=AS_OF - timedelta(days=20 + days))
        shown = {row["user_key"]: row["item_key"] for row in rows(planned(world, tmp_path), "contact")}
        assert shown == {
            "u000": "knowledge:c1",
            "u001": "knowledge:c1",
            "u002": "knowledge:c2",
            "u003": "knowledge:c1",
        }

    def test_whom_a_list_names_the_item_to_is_worth_more_than_whom_it_does_not(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(3)
        world.item("knowledge:c1")
        world.campaign("spring", item_ids=["c1"])
        world.score("u001", "knowledge:c1", -3)
        world.score("u002", "knowledge:c1", 4)
        found = sorted(rows(planned(world, tmp_path), "contact"), key=lambda row: row["p_conversion"])
        assert [row["user_key"] for row in found] == ["u000", "u001", "u002"]
        # Of three, none, one and two are below; each is counted by half for itself.
        assert [row["score_share"] for row in found] == pytest.approx([1 / 6, 3 / 6, 5 / 6])

    def test_who_may_not_be_profiled_is_shown_what_is_popular_and_valued_as_anybody(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        """Ann's list names c1 first, as a stranger's would, and c2 is the most popular of the campaign.

        That is c2 still: what is seen after now, or by people who may not be profiled, is not looked at.
        """
        world.people(3)
        for user in ("ann", "ben"):
            world.person(user, may_be_personalised=False)
            world.event(user, "knowledge:c1", "view")
        for number in range(2):
            world.event(f"u00{number}", "knowledge:c1", "view", at=AS_OF + timedelta(days=1))
        for item in ("c1", "c2"):
            world.item(f"knowledge:{item}")
        world.event("u000", "knowledge:c2", "view")
        world.campaign("spring", item_ids=["c1", "c2"])
        world.score("ann", "knowledge:c1", 9)
        for number in range(3):
            world.score(f"u00{number}", "knowledge:c1", number)
        found = {row["user_key"]: row for row in rows(planned(world, tmp_path), "contact")}
        assert (found["ann"]["item_key"], found["ann"]["score_share"]) == ("knowledge:c2", None)
        others = [found[f"u00{number}"] for number in range(3)]
        assert [row["item_key"] for row in others] == ["knowledge:c1"] * 3
        assert [row["score_share"] for row in others] == pytest.approx([1 / 6, 3 / 6, 5 / 6])
        assert others[0]["p_conversion"] < found["ann"]["p_conversion"] < others[2]["p_conversion"]


class TestDays:
    def test_only_the_first_days_are_handed_over(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(2)
        world.campaign("spring", frequency_cap=7)
        plan = planned(world, tmp_path, handover_days=2)
        status = {(row["contact_date"] - FIRST).days: row["status"] for row in rows(plan, "contact")}
        assert status == {0: "handed_over", 1: "handed_over"} | dict.fromkeys(range(2, 7), "planned")
        (row,) = rows(plan, "plan")
        assert (row["first_date"], row["last_date"]) == (FIRST, FIRST + timedelta(days=6))
        assert row["handed_until"] == FIRST + timedelta(days=1)
        assert (row["contacts"], row["contacts_handed_over"]) == (14, 4)
        assert plan.document["handed_dates"] == ["2026-03-02", "2026-03-03"]

    def test_a_committed_day_is_never_planned_again(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(2)
        world.campaign("spring", frequency_cap=7)
        plan = planned(world, tmp_path, committed={FIRST}, handover_days=2)
        status = {(row["contact_date"] - FIRST).days: row["status"] for row in rows(plan, "contact")}
        assert status == {1: "handed_over"} | dict.fromkeys(range(2, 7), "planned")
        assert plan.document["handed_dates"] == ["2026-03-03"]

    def test_a_plan_for_a_moment_of_the_users_choice_hands_nothing_over(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(2)
        world.campaign("spring")
        plan = planned(world, tmp_path, as_of=AS_OF)
        assert {row["status"] for row in rows(plan, "contact")} == {"planned"}
        assert rows(plan, "plan")[0]["handed_until"] is None

    def test_a_day_is_the_persons_own_and_what_is_left_of_it(self, world: SmallWorld, tmp_path: Path) -> None:
        zones = {"ann": "America/New_York", "bob": "Asia/Tokyo", "cat": "Pacific/Kiritimati"}
        for user, zone in zones.items():
            world.person(user, time_zone=zone)
        world.campaign("spring")
        spans = {
            row["user_key"]: (row["not_before"], row["not_after"]) for row in rows(planned(world, tmp_path), "contact")
        }
        # UTC-5, UTC+9 and UTC+14: on 1 March at noon in UTC the 2nd has begun on Kiritimati, two hours ago.
        assert spans == {
            "ann": (datetime(2026, 3, 2, 5), datetime(2026, 3, 3, 5)),
            "bob": (datetime(2026, 3, 1, 15), datetime(2026, 3, 2, 15)),
            "cat": (AS_OF, datetime(2026, 3, 2, 10)),
        }

    def test_the_day_on_which_clocks_change_is_shorter(self, tmp_path: Path) -> None:
        world = SmallWorld(as_of=datetime(2026, 3, 7, 12))
        world.person("ann", time_zone="America/New_York")
        world.campaign("spring")
        (row,) = rows(planned(world, tmp_path), "contact")
        assert row["not_after"] - row["not_before"] == timedelta(hours=23)

    def test_the_first_day_follows_the_day_of_as_of_where_days_are_counted(self, tmp_path: Path) -> None:
        world = SmallWorld(as_of=datetime(2026, 3, 1, 20), time_zone="Asia/Shanghai")
        world.people(1)
        world.campaign("spring")
        assert rows(planned(world, tmp_path), "plan")[0]["first_date"] == date(2026, 3, 3)

    def test_campaigns_keep_to_their_first_and_last_day(self, world: SmallWorld, tmp_path: Path) -> None:
        world.people(1)
        world.campaign(
            "spring", frequency_cap=7, starts_at=datetime(2026, 3, 4), ends_at=datetime(2026, 3, 5, 23, 59, 59)
        )
        days = sorted(row["contact_date"].day for row in rows(planned(world, tmp_path), "contact"))
        assert days == [4, 5]


class TestMakingAgain:
    def build(self) -> SmallWorld:
        world = SmallWorld()
        for user in world.people(80):
            world.score(user, "knowledge:c1", int(user[1:]) % 7)
        world.item("knowledge:c1")
        world.campaign("spring", item_ids=["c1"], holdout_share=0.2, budget=5, cost_per_exposure=0.1)
        world.campaign("autumn", channel="push", budget=5, cost_per_exposure=0.1)
        world.limit("global_holdout", 0.05)
        world.limit("exploration_share", 0.3)
        return world

    def test_the_same_data_give_the_same_plan_found_again(self, tmp_path: Path) -> None:
        world = self.build()
        store = ArtifactStore(root=str(tmp_path))
        settings = settings_of(tmp_path)
        plan, is_new = make_plan(world.connection, store, settings, data_version="v1", committed={})
        # The ledger grew in between: the plan of these data stays what it is.
        world.connection.register("handed", plan.table("contact"))
        world.connection.execute(
            "insert into marketing.past_contact by name select * from handed where status = 'handed_over'"
        )
        own = {FIRST: Commitment(plan.address, plan.document["made_from"])}
        again, is_new_again = make_plan(world.connection, store, settings, data_version="v1", committed=own)
        assert (is_new, is_new_again) == (True, False)
        assert again.address == plan.address

    def test_a_plan_that_others_were_quicker_than_is_made_anew_and_hands_over_the_rest(self, tmp_path: Path) -> None:
        world = self.build()
        store = ArtifactStore(root=str(tmp_path))
        settings = settings_of(tmp_path, handover_days=2)
        plan, _ = make_plan(world.connection, store, settings, data_version="v1", committed={})
        rest, is_new = make_plan(world.connection, store, settings, data_version="v1", committed=others([FIRST]))
        assert is_new
        next_day = FIRST + timedelta(days=1)
        assert rest.document["handed_dates"] == [str(next_day)]
        statuses = {(row["contact_date"], row["status"]) for row in rows(rest, "contact")}
        assert {day for day, status in statuses if status == "handed_over"} == {next_day}
        # Once that is handed over too, the same data give the same plan.
        committed = others([FIRST]) | {next_day: Commitment(rest.address, rest.document["made_from"])}
        again, is_new = make_plan(world.connection, store, settings, data_version="v1", committed=committed)
        assert not is_new
        assert again.address == rest.address != plan.address

    def test_a_plan_that_was_thrown_away_comes_out_as_it_did(self, tmp_path: Path) -> None:
        world = self.build()
        plan = planned(world, tmp_path / "first")
        world.connection.register("handed", plan.table("contact"))
        world.connection.execute(
            "insert into marketing.past_contact by name select * from handed where status = 'handed_over'"
        )
        store = ArtifactStore(root=str(tmp_path / "second" / "models"))
        own = {FIRST: Commitment(plan.address, plan.document["made_from"])}
        again, _ = make_plan(
            world.connection, store, settings_of(tmp_path / "second"), data_version="v1", committed=own
        )
        for table in planning.TABLES:
            assert again.table(table).equals(plan.table(table)), table

    def test_two_worlds_alike_have_plans_alike(self, tmp_path: Path) -> None:
        plans = [planned(self.build(), tmp_path / name) for name in ("first", "second")]
        for table in planning.TABLES:
            assert plans[0].table(table).equals(plans[1].table(table)), table

    @pytest.mark.parametrize("change", [{"plan_days": 5}, {"handover_days": 2}, {"seed": 1}, {"as_of": AS_OF}])
    def test_other_settings_give_another_plan(self, tmp_path: Path, change: dict[str, Any]) -> None:
        world = self.build()
        assert planned(world, tmp_path).address != planned(world, tmp_path, **change).address

    def test_no_temporary_table_is_left(self, tmp_path: Path) -> None:
        world = self.build()
        planned(world, tmp_path)
        found = world.connection.execute("select table_name from duckdb_tables() where temporary").fetchall()
        assert found == []

    def test_what_is_written_is_what_was_planned(self, tmp_path: Path) -> None:
        world = self.build()
        plan = planned(world, tmp_path)
        assert write_plan(world.connection, plan) == plan.table("contact").num_rows
        for table in planning.TABLES:
            written = world.connection.execute(f"from marketing.decided_{table}").to_arrow_table()
            assert written.num_rows == plan.table(table).num_rows


class TestArmsOfOthers:
    """Another system delivered to people of a campaign, in arms of its own, before a plan did."""

    def test_people_stay_in_the_arm_that_they_were_delivered_in(self, world: SmallWorld, tmp_path: Path) -> None:
        users = world.people(200)
        world.campaign("spring", holdout_share=0.3)
        world.campaign("other", channel="push", holdout_share=0.3)
        for number, user in enumerate(users[:120]):
            arm = "control" if number % 2 else "treatment"
            world.exposure("spring", user, arm=arm, at=AS_OF - timedelta(days=20))
            # A later row of the other arm changes nothing.
            world.exposure("spring", user, arm="treatment", at=AS_OF - timedelta(days=15))
        plan = planned(world, tmp_path)
        found = codes(plan)
        assert {found[user] for user in users[:120:2]} == {"eligible"}
        assert {found[user] for user in users[1:120:2]} == {"campaign_holdout"}
        assert {found[user] for user in users[120:]} == {"eligible", "campaign_holdout"}
        arms = {row["user_key"]: row["arm"] for row in rows(plan, "contact") if row["campaign_key"] == "spring"}
        assert {arms[user] for user in users[:120:2]} == {"treatment"}
        assert {arms[user] for user in users[1:120:2]} == {"control"}
        others = codes(plan, "other")
        assert {others[user] for user in users[:120:2]} == {others[user] for user in users[1:120:2]}

    def test_who_was_contacted_before_the_global_holdout_is_in_neither_arm(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = world.people(200)
        world.campaign("spring")
        world.limit("global_holdout", 0.4)
        for user in users[:100]:
            world.exposure("spring", user, at=AS_OF - timedelta(days=20))
        plan = planned(world, tmp_path)
        found = codes(plan)
        contacted = {row["user_key"]: row["arm"] for row in rows(plan, "contact")}
        out = {user for user in users if found[user] == "global_holdout"}
        assert out & set(users[:100])
        assert not out & set(users[:100]) & contacted.keys()
        assert {contacted[user] for user in out & set(users[100:])} == {"control"}

    def test_who_was_shown_a_contact_before_their_account_was_parted_from_another_has_had_it(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = world.people(40)
        world.campaign("spring", holdout_share=0.5, item_ids=["c1", "c2"], frequency_window_days=7)
        for item in ("knowledge:c1", "knowledge:c2"):
            world.item(item)
        # The accounts of each pair were one person's, whose contact is of the first of them now and was shown to the second.
        for number, (first, second) in enumerate(zip(users[::2], users[1::2], strict=True)):
            day = date(2026, 2, 25) if number < 10 else date(2026, 2, 10)
            row = handed("before", "spring", first, day, item_key="knowledge:c1", propensity=0.6)
            world.insert_contacts([row])
            world.exposure(
                "spring", second, exposure_key=hashlib.md5(row["contact_key"].encode()).hexdigest(),
                item_key="knowledge:c1", at=row["not_before"] + timedelta(hours=9),
            )  # fmt: skip
        plan = planned(world, tmp_path)
        assert set(codes(plan).values()) == {"eligible"}
        assert {row["propensity"] for row in rows(plan, "eligibility")} == {0.6}
        contacts = rows(plan, "contact")
        assert {row["user_key"] for row in contacts} == set(users)
        assert {row["item_key"] for row in contacts} == {"knowledge:c2"}
        # A week after the contact at the earliest.
        assert min(row["contact_date"] for row in contacts if row["user_key"] in users[:20]) == date(2026, 3, 4)
        # One contact of two people is paid for, takes of the stock and is followed once.
        assert campaign(plan, "spring")["spent"] == pytest.approx(20 * 0.01)
        with CandidateReader(world.connection, "now", read_briefs(world.connection, FIRST, 7).planned, []) as reader:
            assert (reader.given(), reader.followed_contacts()) == ({"knowledge:c1": 20}, {"spring": 10})

    def test_an_arm_is_kept_from_plan_to_plan_whoever_drew_it_first(self, world: SmallWorld, tmp_path: Path) -> None:
        users = world.people(60)
        world.campaign("spring", holdout_share=0.3, frequency_window_days=1)
        for user in users[:30]:
            world.exposure("spring", user, arm="control", at=AS_OF - timedelta(days=40))
        for day, arm in ((date(2026, 2, 1), "control"), (date(2026, 2, 2), "treatment")):
            for user in users[:45]:
                hand(world, f"of {day}", "spring", user, day, arm=arm)
        for user in users[45:]:
            hand(world, "of others", "spring", user, date(2026, 2, 3))
            world.exposure("spring", user, arm="control", at=AS_OF - timedelta(days=1))
        found = codes(planned(world, tmp_path))
        assert {found[user] for user in users[:45]} == {"campaign_holdout"}
        assert {found[user] for user in users[45:]} == {"eligible"}

    def test_a_propensity_is_that_of_the_draw_and_there_is_none_where_nobody_drew(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = world.people(30)
        world.limit("global_holdout", 0.05)
        for name, channel in (("unheld", "email"), ("held", "push"), ("uneven", "banner")):
            world.campaign(name, channel=channel, holdout_share=0.1)
        for user in users[:10]:
            # Without any holdout; with one of a fifth; and with one of which not all is told. Items are in what is delivered.
            world.exposure("unheld", user, at=AS_OF - timedelta(days=20), propensity=0.1)
            world.exposure("held", user, at=AS_OF - timedelta(days=20), propensity=0.1)
            world.exposure("uneven", user, at=AS_OF - timedelta(days=20))
        for user, propensity in ((users[10], 0.2), (users[11], None)):
            world.exposure("held", user, arm="control", at=AS_OF - timedelta(days=20), propensity=0.2)
            world.exposure("uneven", user, arm="control", at=AS_OF - timedelta(days=20), propensity=propensity)
        # A plan drew when shares were others; a later contact changes nothing.
        hand(world, "first", "unheld", users[12], date(2026, 2, 1), propensity=0.5)
        hand(world, "second", "unheld", users[12], date(2026, 2, 10), propensity=0.6)
        plan = planned(world, tmp_path)
        for name, settled, expected in (
            ("unheld", users[:10], None),
            ("held", users[:12], pytest.approx(0.8)),
            ("uneven", users[:12], None),
            ("unheld", users[12:13], 0.5),
            ("unheld", users[13:], pytest.approx(0.95 * 0.9)),
        ):
            for table in ("contact", "eligibility"):
                found = [row for row in rows(plan, table) if row["campaign_key"] == name and row["user_key"] in settled]
                assert found
                for row in found:
                    if row.get("p_conversion") is not None:
                        assert row["propensity"] == expected, (name, table)

    def test_people_whose_arm_nobody_drew_are_not_learnt_from_as_if_it_had_been(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        users = world.people(30)
        world.campaign("spring", holdout_share=0.3)
        for user in users[:10]:
            world.exposure("spring", user, at=AS_OF - timedelta(days=20))
        world.insert_contacts(planned(world, tmp_path).table("contact").to_pylist())
        world.now(AS_OF + timedelta(days=20))
        briefs = read_briefs(world.connection, FIRST + timedelta(days=20), 7).planned
        with CandidateReader(world.connection, "later", briefs, []) as reader:
            history = reader.history()
        assert history is not None
        by_others = history.features.person < 10
        assert by_others.any()
        assert np.isnan(history.propensity[by_others]).all()
        np.testing.assert_allclose(history.propensity[~by_others], 0.7)


def test_models_learn_from_visits_of_a_campaigns_target_platform_and_from_dismissals(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.people(2)
    world.campaign("spring")
    world.campaign("back", source_platform="knowledge", target_platform="film", channel="push")
    world.event("u000", "knowledge:c1", "view")
    world.response("before", "u001", "dismiss")
    seen = []

    def valued(features: ContactFeatures, *others: Any) -> Valuation:
        seen.append(features)
        return value_contacts(features, *others)

    monkeypatch.setattr(planning, "value_contacts", valued)
    planned(world, tmp_path)
    (features,) = seen
    # In the order of campaign (back to film, spring to knowledge) and person.
    assert features.person.tolist() == [0, 1, 0, 1]
    expected = further_columns(np.array([0.0, 0.0, 1.0, 0.0]), np.array([0, 1, 0, 1]))
    np.testing.assert_allclose(features.further, expected)


def test_a_plan_says_what_its_values_rest_on_and_why_not_on_anything_better(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.people(2)
    world.campaign("spring")
    (row,) = rows(planned(world, tmp_path), "plan")
    assert (row["value_source"], row["click_source"]) == ("prior", "prior")
    assert row["value_reason"] == "no contact has been followed yet"
    assert row["qini"] is None
    assert rows(planned(world, tmp_path), "reliability") == []
    score, rival = (QiniScore(value, value - 0.2, value + 0.2, 0.0, np.array([value])) for value in (0.1, 0.25))
    refused = QiniScore(None, None, None, None, np.zeros(0), "3 control rows with an answer, 10 are needed")
    compared = QiniComparison(
        {"interaction": score, "t_learner": refused, RESPONSE_ONLY: rival},
        {},
        {"interaction": (-0.15, -0.4, 0.1), "t_learner": None, RESPONSE_ONLY: (0.0, 0.0, 0.0)},
        {},
    )
    judged = reliability(np.repeat([0.1, 0.4], 10), np.arange(20) % 10 < 4)

    def valued(*arguments: Any) -> Valuation:
        found = value_contacts(*arguments)
        return dataclasses.replace(
            found, qini=compared, learner="interaction", source=source, reason="Qini too small", reliability=judged
        )

    assert rows(planned(world, tmp_path), "uplift") == []
    monkeypatch.setattr(planning, "value_contacts", valued)
    source = "response model"
    plan = planned(world, tmp_path, version="v2")
    bins = [(row["reliability_key"], row["contacts"], row["observed"]) for row in rows(plan, "reliability")]
    assert bins == [("present/conversion/1", 10, 0.4), ("present/conversion/2", 10, 0.4)]
    (row,) = rows(plan, "plan")
    assert [row[name] for name in ("qini", "qini_low", "qini_high", "qini_of_response")] == [0.1, -0.1, 0.1 + 0.2, 0.25]
    assert row["value_reason"] == "Qini too small"
    learners = {one["learner"]: one for one in rows(planned(world, tmp_path, version="v2"), "uplift")}
    assert {name: (one["is_best"], one["is_used"]) for name, one in learners.items()} == {
        "interaction": (True, False),
        "t_learner": (False, False),
        RESPONSE_ONLY: (False, False),
    }
    assert (learners["interaction"]["qini"], learners["interaction"]["ahead_of_response_low"]) == (0.1, -0.4)
    assert learners["t_learner"]["reason"] == "3 control rows with an answer, 10 are needed"
    assert learners[RESPONSE_ONLY]["ahead_of_response"] is None
    source = "uplift model"
    learners = {one["learner"]: one for one in rows(planned(world, tmp_path, version="v3"), "uplift")}
    assert [name for name, one in learners.items() if one["is_used"]] == ["interaction"]


class TestExploration:
    def test_an_explored_person_has_one_campaign_drawn_by_known_chances(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(400)
        world.campaign("rich", value_per_conversion=100)
        world.campaign("poor", value_per_conversion=50, channel="push")
        world.limit("exploration_share", 0.5)
        contacts = rows(planned(world, tmp_path, plan_days=1), "contact")
        explored = [row for row in contacts if row["is_explored"]]
        assert len(explored) == len({row["user_key"] for row in explored})
        assert 150 < len(explored) < 250
        # Both rest on one answer, so that their factors are exponential; 0.2 f - 0.01 against 0.1 g - 0.01.
        rich = math.exp(-0.05) - math.exp(-0.15) / 3
        nothing = (1 - math.exp(-0.05)) * (1 - math.exp(-0.1))
        chance = {"rich": rich, "poor": 1 - rich - nothing}
        for row in explored:
            assert row["draw_propensity"] == pytest.approx(0.5 * chance[row["campaign_key"]], abs=0.05)
        for row in contacts:
            if not row["is_explored"]:
                assert row["draw_propensity"] == 0.5
        share = sum(row["campaign_key"] == "poor" for row in explored) / len(explored)
        assert share == pytest.approx(chance["poor"], abs=0.1)

    def test_a_campaign_that_does_not_seem_to_pay_is_tried_by_few_until_it_is_known(
        self, world: SmallWorld, tmp_path: Path
    ) -> None:
        world.people(400)
        # A contact is taken to bring 0.002 x 4 and costs 0.01.
        world.campaign("doubtful", value_per_conversion=4, frequency_cap=1)
        world.limit("exploration_share", 0.5)
        contacts = rows(planned(world, tmp_path / "first", plan_days=1), "contact")
        # It pays where an exponential factor is above 1.25.
        assert 0 < len(contacts) < 400 * 0.5 * math.exp(-1.25) * 1.5
        assert all(row["is_explored"] for row in contacts)
        for row in contacts:
            assert row["expected_value"] < row["cost"] or row["arm"] == "control"
            assert row["draw_propensity"] == pytest.approx(0.5 * math.exp(-1.25), abs=0.04)
        hand(world, "earlier", "doubtful", "gone", date(2026, 1, 1))
        world.connection.execute(
            "insert into marketing.past_contact by name "
            "select past.* replace (past.contact_key || number as contact_key) "
            "from marketing.past_contact as past cross join range(20_000) as numbers (number)"
        )
        later = rows(planned(world, tmp_path / "later", plan_days=1), "contact")
        assert len(later) < len(contacts) / 2
