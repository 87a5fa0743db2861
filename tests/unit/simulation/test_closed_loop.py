"""What a simulated world is told of a day's contacts, and what it refuses to be mixed with."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.cli import call
from orchestration.marketing.ledger import DecisionLedger
from orchestration.settings import Settings
from orchestration.simulate import SimulatedDay, contacts_of, summary
from simulation.landing_world import CONTACT_COLUMNS, NOTE_FILE
from tests.unit.marketing.handed_over import FIRST_DAY, contact, contacts, plan_row


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in which ann (treatment, in a list) and bob (held out, in the ledger only) were chosen for a day."""
    settings = Settings(home=tmp_path, landing=tmp_path / "landing")
    held_out = contact("plan-1", "bob", arm="control", item_key="knowledge:a:b")
    chosen = contacts(contact("plan-1", "ann"), held_out)
    DecisionLedger(settings.decisions_dir).commit("plan-1", plan_row("plan-1") | {"handed_dates": [FIRST_DAY]}, chosen)
    row = {"exposure_id": "x", "campaign_id": "spring", "user_id": "f-ann", "arm": "treatment"}
    folder = settings.exports_dir / str(FIRST_DAY) / "spring--email"
    folder.mkdir(parents=True)
    listed = pa.Table.from_pylist([row], CONTACT_COLUMNS)
    pq.write_table(listed, folder / "list.parquet")
    settings.restricted_dir.mkdir()
    with duckdb.connect(str(settings.restricted_dir / "accounts.duckdb")) as connection:
        connection.execute(
            "create table account as select * from (values ('bob', 'film', 'f-bob-2'), ('bob', 'film', 'f-bob-1'), "
            "('bob', 'knowledge', 'k-bob'), ('ann', 'film', 'f-ann')) as account(user_key, platform, user_id)"
        )
    return settings


def test_the_world_is_told_both_arms_each_person_once(settings: Settings) -> None:
    told = contacts_of(settings, FIRST_DAY).to_pylist()
    assert [(row["user_id"], row["arm"], row["item_id"]) for row in told] == [
        ("f-ann", "treatment", None),
        ("f-bob-1", "control", "a:b"),
    ]
    assert (told[1]["not_before"], told[1]["campaign_id"]) == (datetime(2026, 3, 2), "spring")


def test_a_day_without_a_plan_has_no_contacts(settings: Settings) -> None:
    assert contacts_of(settings, date(2026, 3, 3)).num_rows == 0


def test_a_simulated_world_is_not_mixed_with_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "--people", "5", "--days", "2", "--home", str(tmp_path)]
    assert call(arguments) == 0
    assert (tmp_path / "landing" / NOTE_FILE).exists()
    assert call(arguments) == 2
    assert "is not empty; name a new folder with --landing or --home" in capsys.readouterr().err
    (tmp_path / "decisions").mkdir()
    assert call([*arguments, "--landing", str(tmp_path / "other"), "--close-loop"]) == 2
    assert "has a history of its own; name a new one with --home" in capsys.readouterr().err


def test_the_days_are_added_up(tmp_path: Path) -> None:
    def day(number: int, **other: Any) -> SimulatedDay:
        values = dict.fromkeys(SimulatedDay.__dataclass_fields__, 0) | {"value_source": "prior"}
        return SimulatedDay(**values | {"date": date(2025, 1, number)} | other)

    days = [
        day(1, contacts=30, cost=1.5, true_value=6.0, sleepers=3),
        day(2, contacts=10, cost=0.5, true_value=-2.0, sleepers=1),
    ]
    found = summary(days, (2.5, -1.0, 6.0))
    assert (found["contacts"], found["cost"], found["true_value"]) == (40, 2.0, 4.0)
    assert (found["true_return_on_cost"], found["sleepers_contacted_share"]) == (2.0, 0.1)
    assert found["estimated_conversions"] == 2.5
    assert summary([], (None, None, None))["true_return_on_cost"] is None
