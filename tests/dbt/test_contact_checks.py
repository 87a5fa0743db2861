"""The blocking checks on contacts that are handed over: each lets good ones pass and catches the fault that it is there for."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from hashlib import md5
from typing import Any

import duckdb
import pytest

from orchestration.marketing.campaign_briefs import FREQUENCY_CAP, FREQUENCY_WINDOW_DAYS, NO_CHANNEL
from tests.dbt.invocation import Dbt
from tests.dbt.raw_schema import RawSchema

NOW = datetime(2026, 3, 1, 12)
DAY = date(2026, 3, 2)
CHECKS = (
    "handed_over_contacts_agree_with_eligibility",
    "handed_over_contacts_are_permitted",
    "handed_over_contacts_keep_to_the_caps",
    "nobody_is_handed_over_after_an_answer",
    "nobody_is_handed_over_in_both_arms",
)
KNOWN = {
    "campaign_key": {"every_contact_of_the_plan_has_a_campaign", "campaigns_of_the_plan_are_known"},
    "item_key": {"items_of_the_plan_are_known"},
}
WARNING = "caps_name_a_channel_that_is_used"
LEFT = "limits_are_about_what_is_there"
MEASURED = "what_is_measured_is_known"

_TABLES = """
create schema raw; create schema seeds; create schema staging; create schema intermediate; create schema core;
create schema marketing;
create table raw.run as select timestamp '2026-03-01 12:00:00' as as_of;
create table seeds.campaign_limits
    (limit_id varchar, limit_kind varchar, channel varchar, amount double, window_days integer, is_active boolean,
    item_key varchar, segment_key varchar);
create table staging.stg_marketing__responses
    (response_key varchar, exposure_key varchar, response_type varchar, occurred_at timestamp);
create table intermediate.int_account__contactable
    (user_key varchar, platform varchar, is_contactable boolean, since timestamp);
create table core.dim_campaign
    (campaign_key varchar, channel varchar, frequency_cap integer, frequency_window_days integer);
create table core.dim_item as select 'film:1' as item_key;
create table core.fct_exposure
    (campaign_key varchar, user_key varchar, arm varchar, channel varchar, shown_at timestamp);
create table core.fct_response
    (response_key varchar, campaign_key varchar, user_key varchar, response_type varchar, occurred_at timestamp);
create table marketing.limit_price (limit_kind varchar, item_key varchar, segment_key varchar);
create table marketing.segment as select 'value:joined:loyal' as segment_key;
create table marketing.campaign_result as select 'spring' as campaign_key;
create table marketing.response_rate as select unnest(['all', 'value:joined:loyal']) as segment_key;
create table marketing.lift as select 'campaign' as scope, 'spring' as scope_value union all select 'kind', 'cross_ad';
create table marketing.decided_plan as select 'now' as plan_id;
create table marketing.campaign_plan (campaign_key varchar, state varchar);
create table marketing.eligibility (campaign_key varchar, user_key varchar, code varchar);
create table marketing.contact
    (contact_key varchar, plan_id varchar, campaign_key varchar, user_key varchar, item_key varchar, platform varchar,
    channel varchar, contact_date date, arm varchar, status varchar, decided_at timestamp);
insert into core.dim_campaign values ('spring', 'email', 2, 7), ('autumn', 'email', null, null), ('quiz', null, null, null);
insert into marketing.campaign_plan values ('spring', 'planned'), ('autumn', 'planned'), ('quiz', 'ended');
insert into seeds.campaign_limits (limit_id, limit_kind, channel, amount, window_days, is_active) values
    ('three a week', 'contact_cap', null, 3, 7, true), ('two mails a month', 'contact_cap', ' Email', 2, 30, true),
    ('none', 'contact_cap', null, 0, 30, false);
"""


class Contacts:
    """Ann was contacted for spring nine days ago and is again, ben is contacted for autumn, and cal is held out from spring."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(f"attach ':memory:' as build; use build; {_TABLES}")
        for user, campaign, code in (
            ("ann", "spring", "eligible"), ("ben", "autumn", "eligible"), ("cal", "spring", "campaign_holdout")
        ):  # fmt: skip
            arm = "treatment" if code == "eligible" else "control"
            self.insert("intermediate.int_account__contactable", user_key=user, platform="film", is_contactable=True)
            self.insert("marketing.eligibility", campaign_key=campaign, user_key=user, code=code)
            self.contact(user, campaign, arm=arm)
        self.contact("ann", "spring", days=-9)

    def insert(self, table: str, **values: Any) -> None:
        marks = ", ".join("?" * len(values))
        self.connection.execute(f"insert into {table} ({', '.join(values)}) values ({marks})", list(values.values()))

    def contact(self, user: str, campaign: str, *, days: int = 0, **other: Any) -> str:
        """A contact of the present plan, or of an earlier one so many days before; returns its key."""
        row = {
            "contact_key": f"{campaign}|{user}|{days}",
            "plan_id": f"before {-days}" if days else "now",
            "campaign_key": campaign,
            "user_key": user,
            "item_key": "film:1",
            "platform": "film",
            "channel": "email",
            "contact_date": DAY + timedelta(days=days),
            "arm": "treatment",
            "status": "handed_over",
            "decided_at": NOW + timedelta(days=days),
        } | other
        self.insert("marketing.contact", **row)
        return str(row["contact_key"])

    def answer(self, contact_key: str, response_type: str, at: datetime) -> str:
        """An answer whose exposure has not arrived; its key is that of the exposure."""
        key = md5(contact_key.encode(), usedforsecurity=False).hexdigest()
        about = {"response_key": key, "exposure_key": key, "response_type": response_type, "occurred_at": at}
        self.insert("staging.stg_marketing__responses", **about)
        return key


@pytest.fixture(scope="module")
def checks(dbt: Dbt, fresh_raw: Callable[[], RawSchema]) -> dict[str, str]:
    """The SQL of each check."""
    fresh_raw()
    names = {*CHECKS, *set().union(*KNOWN.values()), WARNING, LEFT, MEASURED}
    ran = dbt("compile", "--select", *names)
    assert ran.succeeded, ran.output
    folder = dbt.target / "compiled" / "zhiying"
    return {path.stem: path.read_text() for path in folder.rglob("*.sql") if path.stem in names}


@pytest.fixture
def made() -> Iterator[Contacts]:
    contacts = Contacts()
    yield contacts
    contacts.connection.close()


@pytest.fixture
def failed(checks: dict[str, str], made: Contacts) -> Callable[[], set[str]]:
    return lambda: {name for name in CHECKS if made.connection.execute(checks[name]).fetchall()}


def test_what_keeps_all_rules_passes(made: Contacts, failed: Callable[[], set[str]]) -> None:
    assert failed() == set()


def test_what_earlier_plans_did_under_other_rules_is_not_held_against_this_one(
    made: Contacts, failed: Callable[[], set[str]]
) -> None:
    for days in range(-8, -1):
        made.contact("dan", "quiz", days=days)
    made.insert("core.fct_response", campaign_key="quiz", user_key="dan", response_type="dismiss", occurred_at=NOW)
    # Ann's accounts were two people's, with another arm each.
    made.contact("ann", "spring", days=-40, arm="control")
    assert failed() == set()


@pytest.mark.parametrize(
    ("user", "code"), [("ann", "dismissed"), ("ann", "campaign_holdout"), ("cal", "eligible"), ("ben", None)]
)
def test_a_contact_of_somebody_who_is_not_eligible_is_caught(
    made: Contacts, failed: Callable[[], set[str]], user: str, code: str | None
) -> None:
    if code is None:
        made.connection.execute("delete from marketing.eligibility where user_key = ?", [user])
    else:
        made.connection.execute("update marketing.eligibility set code = ? where user_key = ?", [code, user])
    assert failed() == {"handed_over_contacts_agree_with_eligibility"}


@pytest.mark.parametrize(
    ("days", "campaign", "about", "caps"),
    [
        # By the campaign two in seven days; it counts by the channel that it has now, whatever it had then.
        ((-3, -6), "spring", {"channel": "push"}, {"frequency_cap", "two mails a month"}),
        ((-6, -7), "spring", {"channel": "push"}, {"two mails a month"}),
        ((-1, -6), "quiz", {"channel": "push"}, set()),
        ((-1, -2, -6), "quiz", {"channel": "push"}, {"three a week"}),
        ((-1, -2, -7), "quiz", {"channel": "push"}, set()),
        ((-20,), "quiz", {}, {"two mails a month"}),
        ((-20,), "quiz", {"arm": "control"}, {"two mails a month"}),
        ((-30,), "quiz", {}, set()),
    ],
)
def test_a_contact_beyond_a_cap_is_caught(
    made: Contacts,
    checks: dict[str, str],
    days: tuple[int, ...],
    campaign: str,
    about: dict[str, str],
    caps: set[str],
) -> None:
    for day in days:
        made.contact("ann", campaign, days=day, **about)
    found = made.connection.execute(checks["handed_over_contacts_keep_to_the_caps"]).fetchall()
    assert {(row[0], row[1]) for row in found} == {(cap, "ann") for cap in caps}


def test_what_a_brief_leaves_open_is_held_against_contacts_as_the_plan_fills_it_in(
    made: Contacts, checks: dict[str, str]
) -> None:
    def caught() -> set[tuple[str, str]]:
        found = made.connection.execute(checks["handed_over_contacts_keep_to_the_caps"]).fetchall()
        return {(row[0], row[1]) for row in found}

    # Ben's campaign says nothing of caps: as many as may be in a window and one just before it, then one more in it.
    made.connection.execute("delete from seeds.campaign_limits")
    for day in range(1, FREQUENCY_CAP):
        made.contact("ben", "autumn", days=-day)
    made.contact("ben", "autumn", days=-FREQUENCY_WINDOW_DAYS)
    assert caught() == set()
    made.contact("ben", "autumn", days=1 - FREQUENCY_WINDOW_DAYS)
    assert ("frequency_cap", "ben") in caught()
    # A campaign without a channel counts by the name that stands for none.
    made.insert(
        "seeds.campaign_limits", limit_id="none", limit_kind="contact_cap", channel=NO_CHANNEL, amount=0, is_active=True
    )
    assert ("none", "dan") not in caught()
    made.connection.execute("update marketing.campaign_plan set state = 'planned'")
    made.contact("dan", "quiz")
    assert ("none", "dan") in caught()


def test_a_second_contact_by_a_channel_on_a_day_is_caught(made: Contacts, failed: Callable[[], set[str]]) -> None:
    made.connection.execute("update seeds.campaign_limits set is_active = false")
    made.insert("marketing.eligibility", campaign_key="autumn", user_key="ann", code="eligible")
    made.contact("ann", "autumn")
    assert failed() == {"handed_over_contacts_keep_to_the_caps"}


@pytest.mark.parametrize("response_type", ["dismiss", "conversion"])
@pytest.mark.parametrize("is_delivered", [True, False])
def test_a_contact_after_an_answer_is_caught(
    made: Contacts, failed: Callable[[], set[str]], response_type: str, is_delivered: bool
) -> None:
    for at, campaign, expected in (
        (NOW + timedelta(hours=1), "spring", set()),
        (NOW, "autumn", set()),
        (NOW, "spring", {"nobody_is_handed_over_after_an_answer"}),
    ):
        if is_delivered:
            about = {"campaign_key": campaign, "user_key": "ann", "response_type": response_type}
            made.insert("core.fct_response", **about, occurred_at=at)
        elif campaign == "spring":
            made.answer("spring|ann|-9", response_type, at)
        assert failed() == expected


@pytest.mark.parametrize(("since", "is_caught"), [(None, True), (NOW - timedelta(days=5), True), (NOW, False)])
def test_a_contact_after_an_unsubscription_whose_exposure_has_not_arrived_is_caught(
    made: Contacts, failed: Callable[[], set[str]], since: datetime | None, is_caught: bool
) -> None:
    made.connection.execute("update intermediate.int_account__contactable set since = ?", [since])
    made.answer("spring|ann|-9", "unsubscribe", NOW - timedelta(days=3))
    assert failed() == ({"handed_over_contacts_are_permitted"} if is_caught else set())


@pytest.mark.parametrize("response_type", ["dismiss", "unsubscribe"])
def test_an_answer_whose_exposure_turned_out_to_be_another_persons_forbids_nothing(
    made: Contacts, failed: Callable[[], set[str]], response_type: str
) -> None:
    key = made.answer("spring|ann|-9", response_type, NOW - timedelta(days=3))
    assert failed()
    # The account that was shown it and answered is dan's since a link was corrected.
    about = {"campaign_key": "spring", "user_key": "dan", "occurred_at": NOW - timedelta(days=3)}
    made.insert("core.fct_response", response_key=key, response_type=response_type, **about)
    assert failed() == set()


def test_a_person_in_both_arms_is_caught(made: Contacts, failed: Callable[[], set[str]]) -> None:
    made.connection.execute("update marketing.contact set arm = 'control' where contact_key = 'spring|ann|-9'")
    assert failed() == {"nobody_is_handed_over_in_both_arms"}
    # Delivered by somebody else before, the person is in that arm, whatever a plan did since.
    made.insert(
        "core.fct_exposure", campaign_key="spring", user_key="ann", arm="treatment", shown_at=NOW - timedelta(days=60)
    )
    assert failed() == set()


@pytest.mark.parametrize("column", ["campaign_key", "item_key"])
def test_only_what_the_present_plan_contacts_for_has_to_be_known_still(
    made: Contacts, checks: dict[str, str], column: str
) -> None:
    def failed() -> set[str]:
        names = set().union(*KNOWN.values())
        return {name for name in names if made.connection.execute(checks[name]).fetchall()}

    made.contact("dan", "spring", days=-2, **{column: "gone"})
    assert failed() == set()
    made.contact("dan", "spring", **{column: "gone"})
    assert failed() == KNOWN[column]


@pytest.mark.parametrize(("arm", "is_caught"), [("treatment", False), ("control", True)])
def test_who_was_shown_a_contact_before_their_account_was_parted_from_another_is_in_its_arm(
    made: Contacts, failed: Callable[[], set[str]], arm: str, is_caught: bool
) -> None:
    # Handed over for ann nine days ago; the account that it was shown to is dan's now.
    at = NOW - timedelta(days=8)
    made.insert("core.fct_exposure", campaign_key="spring", user_key="dan", arm="treatment", shown_at=at)
    code = "eligible" if arm == "treatment" else "campaign_holdout"
    made.insert("marketing.eligibility", campaign_key="spring", user_key="dan", code=code)
    made.insert("intermediate.int_account__contactable", user_key="dan", platform="film", is_contactable=True)
    made.contact("dan", "spring", arm=arm)
    assert failed() == ({"nobody_is_handed_over_in_both_arms"} if is_caught else set())


def test_a_cap_for_a_channel_that_nobody_uses_is_warned_of(checks: dict[str, str], made: Contacts) -> None:
    warned = checks[WARNING]
    assert made.connection.execute(warned).fetchall() == []
    made.connection.execute("update seeds.campaign_limits set channel = 'e-mail' where channel is not null")
    assert made.connection.execute(warned).fetchall() == [("two mails a month", "e-mail")]
    made.insert("core.fct_exposure", campaign_key="quiz", user_key="dan", channel="e-mail")
    assert made.connection.execute(warned).fetchall() == []


def test_a_limit_of_what_has_left_is_warned_of(made: Contacts, checks: dict[str, str]) -> None:
    for name, about, is_active in (
        ("there", {"item_key": "film:1"}, True),
        ("gone", {"item_key": "film:2"}, True),
        ("off", {"item_key": "film:3"}, False),
        ("cluster", {"segment_key": "taste:joined:gone"}, True),
        ("loyal", {"segment_key": "value:joined:loyal"}, True),
    ):
        kind = "stock" if "item_key" in about else "minimum_reach"
        made.insert("seeds.campaign_limits", limit_id=name, limit_kind=kind, amount=5, is_active=is_active, **about)
    made.insert("marketing.limit_price", limit_kind="stock", item_key="film:1")
    made.insert("marketing.limit_price", limit_kind="minimum_reach", segment_key="value:joined:loyal")
    found = made.connection.execute(checks[LEFT]).fetchall()
    assert {row[0] for row in found} == {"gone", "cluster"}


def test_a_rate_of_an_unknown_segment_and_a_lift_of_an_unknown_campaign_are_caught(
    made: Contacts, checks: dict[str, str]
) -> None:
    assert made.connection.execute(checks[MEASURED]).fetchall() == []
    made.insert("marketing.response_rate", segment_key="value:joined:gone")
    made.insert("marketing.lift", scope="campaign", scope_value="autumn")
    made.insert("marketing.lift", scope="segment", scope_value="value:joined:gone")
    found = made.connection.execute(checks[MEASURED]).fetchall()
    assert set(found) == {("value:joined:gone",), ("autumn",)}
