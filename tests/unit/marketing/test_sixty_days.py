"""Sixty days of plans in a row, in which people change their mind: what was handed over keeps every limit, counted in SQL.

The checks know nothing of the plan but the contacts that left the house; what was permitted is written down as it was on each day.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from models_ml.campaigns.holdout import held_out
from orchestration.marketing.ledger import Commitment
from orchestration.marketing.planning import make_plan
from orchestration.resources.artifacts import ArtifactStore
from orchestration.settings import Settings
from tests.unit.marketing.small_world import SmallWorld

DAYS = 60
START = datetime(2026, 3, 1, 22)
ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Pacific/Kiritimati")
SCARCE, PIECES = "knowledge:c1", 12


class SixtyDays:
    """A world of ninety people and four campaigns that is planned, contacted and answers, day after day."""

    def __init__(self, folder: Path) -> None:
        self.world = SmallWorld(as_of=START)
        self.random = np.random.default_rng(4)
        self.people = [f"u{number:03}" for number in range(90)]
        for number, user in enumerate(self.people):
            self.world.person(user, time_zone=ZONES[number % len(ZONES)])
            self.world.score(user, SCARCE, 2.0)
            self.world.score(user, "knowledge:c2", self.random.random())
        for item in ("knowledge:c1", "knowledge:c2", "knowledge:c3"):
            self.world.item(item)
        costly = {"cost_per_exposure": 0.1, "value_per_conversion": 100}
        self.world.campaign("courses", item_ids=["c1", "c2"], budget=9, holdout_share=0.2, **costly)
        self.world.campaign(
            "lessons", item_ids=["c3"], budget=50, holdout_share=0.1, frequency_cap=2, frequency_window_days=14,
            starts_at=datetime(2026, 3, 20), ends_at=datetime(2026, 4, 10, 23), **costly,
        )  # fmt: skip
        self.world.campaign("banner", channel="banner", budget=30, holdout_share=0.3, **costly)
        self.world.campaign("quiz", channel="quiz", budget=2, holdout_share=0, ends_at=datetime(2026, 3, 15), **costly)
        self.world.limit("global_holdout", 0.05)
        self.world.limit("exploration_share", 0.1)
        self.world.limit("contact_cap", 1, window_days=1)
        self.world.limit("contact_cap", 2, window_days=7)
        self.world.limit("stock", PIECES, item_key=SCARCE)
        self.world.connection.execute("create table permitted (decided_at timestamp, user_key varchar)")
        self.committed: dict[date, Commitment] = {}
        self._store = ArtifactStore(root=str(folder))
        self._settings = Settings(home=folder, landing=folder)

    def live(self) -> duckdb.DuckDBPyConnection:
        """Lives through all days; the ledger is `marketing.past_contact`."""
        # Every tenth day there is a second run for late deliveries, which finds its first day committed.
        runs = [(day, START + timedelta(days=day)) for day in range(DAYS)]
        runs += [(day + DAYS, now + timedelta(minutes=30)) for day, now in runs[::10]]
        for day, now in sorted(runs, key=lambda run: run[1]):
            self.world.now(now)
            self._change_minds()
            self.world.connection.execute(
                "insert into permitted select ?, user_key from intermediate.int_account__contactable "
                "where is_contactable and platform = 'film'",
                [now],
            )
            plan, _ = make_plan(
                self.world.connection, self._store, self._settings, data_version=str(day), committed=self.committed
            )
            contacts = plan.table("contact")
            commitment = Commitment(plan.address, plan.document["made_from"])
            self.committed |= {date.fromisoformat(one): commitment for one in plan.document["handed_dates"]}
            self.world.connection.register("planned", contacts)
            self.world.connection.execute(
                "insert into marketing.past_contact by name select * from planned where status = 'handed_over'"
            )
            self.world.connection.unregister("planned")
            handed = [row for row in contacts.to_pylist() if row["status"] == "handed_over"]
            self._answer(handed, now)
        return self.world.connection

    def _change_minds(self) -> None:
        for user in self.random.choice(self.people, 4, replace=False):
            chance = self.random.random()
            self.world.permission(user, None if chance < 0.6 else "no_consent" if chance < 0.9 else "unsubscribed")

    def _answer(self, handed: list[dict[str, object]], now: datetime) -> None:
        """Dismissals soon, purchases up to a week later, of both arms; some are known long after they happened."""
        for row in handed:
            chance, at = self.random.random(), now + timedelta(days=float(self.random.uniform(0.5, 7)))
            campaign, user = str(row["campaign_key"]), str(row["user_key"])
            if row["arm"] == "treatment" and chance < 0.05:
                self.world.response(campaign, user, "dismiss", at=now + timedelta(hours=30))
            elif chance > 0.95 and row["item_key"] is not None:
                self.world.event(user, str(row["item_key"]), at=at)
            elif chance > 0.9 and row["arm"] == "treatment":
                self.world.response(campaign, user, "conversion", at=at)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    days = SixtyDays(tmp_path_factory.mktemp("sixty"))
    connection = days.live()
    connection.execute("create view contact as from marketing.past_contact where arm = 'treatment'")
    yield connection
    connection.close()


def none(lived: duckdb.DuckDBPyConnection, broken: str) -> bool:
    """Whether a query for what breaks a rule finds nothing."""
    return lived.execute(broken).fetchall() == []


def test_there_is_something_to_look_at(lived: duckdb.DuckDBPyConnection) -> None:
    found = dict(lived.execute("select campaign_key, count(*) from contact group by all").fetchall())
    assert set(found) == {"courses", "lessons", "banner", "quiz"}
    assert min(found.values()) >= 15
    ((controls,),) = lived.execute("select count(*) from marketing.past_contact where arm = 'control'").fetchall()
    assert controls > 30


def test_no_campaign_costs_more_than_its_budget(lived: duckdb.DuckDBPyConnection) -> None:
    sums = "select campaign_key, sum(cost) as cost from contact group by campaign_key"
    budgets = f"from ({sums}) join core.dim_campaign using (campaign_key)"
    assert none(lived, f"select * {budgets} where cost > budget + 1e-9")
    # The limit was felt: one of the campaigns spent nearly all that it had.
    assert not none(lived, f"select * {budgets} where cost > 0.9 * budget")


def test_no_day_costs_more_than_a_fifth_above_an_even_share(lived: duckdb.DuckDBPyConnection) -> None:
    assert none(
        lived,
        """
        with days as (
            select campaign_key, contact_date, sum(cost) as cost from contact group by all
        )

        select days.*
        from days
        join core.dim_campaign as campaigns using (campaign_key)
        where days.cost > 1e-9 + greatest(campaigns.cost_per_exposure, 1.2 * (
            campaigns.budget - coalesce((
                select sum(before.cost) from days as before
                where before.campaign_key = days.campaign_key and before.contact_date < days.contact_date
            ), 0)
        ) / (cast(campaigns.ends_at as date) - days.contact_date + 1))
        """,
    )


@pytest.mark.parametrize(
    ("most", "days", "of"),
    [
        (1, 1, ""),
        (2, 7, ""),
        (1, 1, "channel"),
        (1, 7, "campaign_key in ('courses', 'banner', 'quiz')"),
        (2, 14, "campaign_key = 'lessons'"),
    ],
)
def test_nobody_is_contacted_more_often_than_caps_allow(
    lived: duckdb.DuckDBPyConnection, most: int, days: int, of: str
) -> None:
    # Contacts of the held out count too: they stand for what would have happened.
    where = f"where {of}" if "campaign_key" in of else ""
    same = "and others.channel = contacts.channel" if of == "channel" else ""
    same += " and others.campaign_key = contacts.campaign_key" if where else ""
    counted = f"""
        with contacts as (select * from marketing.past_contact {where})

        select contacts.user_key, contacts.contact_date, count(*) as made
        from contacts
        join contacts as others
            on contacts.user_key = others.user_key {same}
            and others.contact_date between contacts.contact_date - {days - 1} and contacts.contact_date
        group by contacts.user_key, contacts.contact_date, contacts.contact_key
    """
    assert none(lived, f"select * from ({counted}) where made > {most}")


def test_everybody_had_permitted_it_when_it_was_decided(lived: duckdb.DuckDBPyConnection) -> None:
    assert none(lived, "select * from contact anti join permitted using (decided_at, user_key)")
    ((days_without,),) = lived.execute(
        f"select {DAYS + DAYS // 10} * 90 - count(*) from (select distinct decided_at, user_key from permitted)"
    ).fetchall()
    assert days_without > 100


def test_held_out_people_are_in_no_list_and_all_others_in_no_control(lived: duckdb.DuckDBPyConnection) -> None:
    shares = {"courses": 0.2, "lessons": 0.1, "banner": 0.3, "quiz": 0.0}
    for campaign, share in shares.items():
        arms = dict(
            lived.execute(
                "select user_key, string_agg(distinct arm) from marketing.past_contact where campaign_key = ? group by 1",
                [campaign],
            ).fetchall()
        )
        users = list(arms)
        out = held_out(users, f"campaign/{campaign}", share) | held_out(users, "global", 0.05)
        assert [arms[user] for user in users] == ["control" if one else "treatment" for one in out]


def test_nobody_hears_of_what_they_dismissed_or_bought_by_then(lived: duckdb.DuckDBPyConnection) -> None:
    assert none(
        lived,
        """
        select contact.* from contact
        join core.fct_response as responses using (campaign_key, user_key)
        where responses.response_type in ('dismiss', 'conversion') and responses.occurred_at <= contact.decided_at
        """,
    )
    assert none(
        lived,
        """
        select contact.* from contact
        join core.dim_campaign as campaigns using (campaign_key)
        join core.fct_purchase as purchases using (user_key)
        where list_contains(campaigns.item_ids, split_part(purchases.item_key, ':', 2))
            and purchases.occurred_at <= contact.decided_at
        """,
    )
    for answer in ("dismiss", "conversion"):
        assert not none(lived, f"select * from core.fct_response where response_type = '{answer}'")
    assert not none(lived, "select * from core.fct_purchase")


def test_a_scarce_item_is_offered_as_often_as_there_are_pieces(lived: duckdb.DuckDBPyConnection) -> None:
    ((offered,),) = lived.execute("select count(*) from contact where item_key = ?", [SCARCE]).fetchall()
    assert offered == PIECES


def test_days_are_the_persons_own_within_the_campaign_and_decided_once(lived: duckdb.DuckDBPyConnection) -> None:
    assert none(
        lived,
        """
        select contacts.*
        from marketing.past_contact as contacts
        join intermediate.int_account__contactable as accounts using (user_key, platform)
        where contact_date != cast(timezone(accounts.time_zone, timezone('UTC', not_before)) as date)
            or contact_date != cast(
                timezone(accounts.time_zone, timezone('UTC', not_after - interval 1 microsecond)) as date
            )
            or not_before < decided_at
        """,
    )
    assert none(
        lived,
        """
        select * from contact join core.dim_campaign using (campaign_key)
        where contact_date < cast(starts_at as date) or contact_date > cast(ends_at as date)
        """,
    )
    assert none(lived, "select contact_date from contact group by 1 having count(distinct plan_id) > 1")
    assert none(lived, "select contact_key from marketing.past_contact group by 1 having count(*) > 1")
