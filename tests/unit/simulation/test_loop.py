"""A closed loop over a product that takes no time: what is lived, told, kept and gone on with after a kill."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import orchestration.simulate as simulated
from orchestration.cli import call
from orchestration.marketing.ledger import DecisionLedger
from orchestration.publication.store import PublicationStore
from orchestration.runs import RunOutcome
from orchestration.settings import Settings
from simulation.landing_world import CONTACT_COLUMNS, NOTE_FILE, date_of
from tests.unit.marketing.handed_over import contact, contacts, plan_row

PEOPLE, DAYS, SEED = 60, 3, 7
Files = dict[str, bytes]


@dataclass
class Product:
    """In place of a run: plans the day after the last that was delivered, hands it over once, and publishes what it measures.

    Whom it chooses depends on every byte of the landing zone, so that a plan on half a day would show.

    Attributes:
        runs: How many runs there were.
        killed_in: Number of the run that is killed once its lists are out and before it publishes, from 1; 0 for none.
        error: What the next run fails with.
    """

    runs: int = 0
    killed_in: int = 0
    error: str = ""

    def __call__(self, settings: Settings) -> RunOutcome:
        self.runs += 1
        if self.error:
            error, self.error = self.error, ""
            return RunOutcome(False, False, None, 0.0, log=Path("run.log"), errors=(error,))
        landed = {path: content for path, content in landing_files(settings.landing).items() if "/." not in path}
        day = sum(path.startswith("film/events/day=2025-") for path in landed)
        digest = hashlib.sha256(repr(sorted(landed.items())).encode()).digest()
        if date_of(day) not in DecisionLedger(settings.decisions_dir).committed_dates():
            self._hand_over(settings, day, digest)
        if self.runs == self.killed_in:
            return RunOutcome(False, False, None, 0.0, interrupted=True)
        self._publish(settings, landed, day)
        return RunOutcome(True, False, None, 0.0)

    def _hand_over(self, settings: Settings, day: int, digest: bytes) -> None:
        chosen = [n for n in range(PEOPLE) if digest[n % 32] % 3 == 0]
        both = [
            contact(
                f"plan-{day}",
                f"u{n}",
                date_of(day),
                campaign_key="sim-loop-1",
                item_key="knowledge:sim-i0000",
                arm="control" if n % 4 == 0 else "treatment",
            )
            for n in chosen
        ]
        document = plan_row(f"plan-{day}") | {"handed_dates": [date_of(day)]}
        DecisionLedger(settings.decisions_dir).commit(f"plan-{day}", document, contacts(*both))
        rows = [
            {name: row.get(name) for name in CONTACT_COLUMNS.names}
            | {
                "exposure_id": row["contact_key"],
                "campaign_id": "sim-loop-1",
                "user_id": f"sim-f{int(row['user_key'][1:]):07d}",
                "item_id": "sim-i0000",
            }
            for row in both
            if row["arm"] == "treatment"
        ]
        folder = settings.exports_dir / str(date_of(day)) / "sim-loop-1--email"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, CONTACT_COLUMNS), folder / "list.parquet")
        accounts = settings.restricted_dir / "accounts.duckdb"
        if not accounts.exists():
            accounts.parent.mkdir()
            with duckdb.connect(str(accounts)) as connection:
                connection.execute(
                    "create table account as select 'u' || n as user_key, 'film' as platform, "
                    "'sim-f' || lpad(n::varchar, 7, '0') as user_id from range(?) as person(n)",
                    [PEOPLE],
                )

    def _publish(self, settings: Settings, landed: Files, day: int) -> None:
        exposures = sum(len(content) for path, content in landed.items() if path.startswith("marketing/exposures"))
        file = PublicationStore(settings.published_dir).current_file
        file.unlink(missing_ok=True)
        file.parent.mkdir(exist_ok=True)
        with duckdb.connect(str(file)) as connection:
            connection.execute("create schema marketing")
            connection.execute(
                "create table marketing.plan as select ? as as_of, 'prior' as value_source", [date_of(day)]
            )
            connection.execute(
                """
                create table marketing.lift as
                select 'all' as scope, 'conversion' as measure, 'newcombe' as method, ? / 1e6 as difference,
                    -0.5::double as ci_low, 0.5::double as ci_high, 10 as people_treatment
                where ? > 0
                """,
                [exposures, day],
            )


def landing_files(landing: Path) -> Files:
    return {str(path.relative_to(landing)): path.read_bytes() for path in landing.rglob("*") if path.is_file()}


def close_loop(home: Path, *more: str) -> int:
    arguments = {"--people": PEOPLE, "--days": DAYS, "--seed": SEED, "--home": home}
    given = [str(part) for pair in arguments.items() for part in pair]
    return call(["simulate", "--close-loop", *given, *more])


@pytest.fixture
def product(monkeypatch: pytest.MonkeyPatch) -> Product:
    product = Product()
    monkeypatch.setattr("orchestration.runs.run", product)
    return product


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the loop went through at once."""
    home = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("orchestration.runs.run", Product())
        assert close_loop(home) == 0
    return home


def kill_at(part: str, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills the process half through the nth write of a file with this in its path, from 1."""
    original, writes = simulated._write_whole, 0

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    def counted(file: Path, content: bytes) -> None:
        nonlocal writes
        writes += part in str(file)
        if part in str(file) and writes == nth:
            monkeypatch.setattr(os, "replace", killed)
            content = content[: len(content) // 2]
        original(file, content)

    monkeypatch.setattr(simulated, "_write_whole", counted)


def test_every_day_is_run_answered_and_told(
    product: Product, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert close_loop(tmp_path) == 0
    assert product.runs == DAYS + 1, "the last run measures the last day"
    told = capfd.readouterr()
    lines = [line for line in told.err.splitlines() if " contacts, " in line]
    assert [line.split()[0] for line in lines] == [str(date_of(day)) for day in range(DAYS)]
    assert lines[0].endswith("measured so far nothing")
    assert lines[1].endswith("(-5.0 to 5.0)")
    assert "true incremental value, USD" in told.out
    assert "campaign list --home" in told.out
    shown = pq.read_table(tmp_path / "landing" / "marketing" / "exposures")
    assert f"{shown.num_rows}" in next(line for line in told.out.splitlines() if line.startswith("contacts"))


@pytest.mark.parametrize(
    ("part", "nth"),
    [
        ("simulation.json", 1),
        ("landing/identity", 1),
        ("landing/knowledge/events/day=2024", 1),
        ("simulation.json", 2),
        ("day=2025-01-01", 1),
        ("day=2025-01-02", 3),
        ("simulation.json", DAYS + 2),
    ],
)
def test_a_loop_that_is_killed_in_a_write_goes_on_to_the_same_landing_zone(
    whole: Path, product: Product, tmp_path: Path, part: str, nth: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        kill_at(part, nth, patched)
        assert close_loop(tmp_path) == 130
    assert landing_files(tmp_path) != landing_files(whole)
    assert close_loop(tmp_path) == 0
    assert landing_files(tmp_path / "landing") == landing_files(whole / "landing")
    assert (tmp_path / "simulation.json").read_text() == (whole / "simulation.json").read_text()


@pytest.mark.parametrize("run", range(1, DAYS + 2))
def test_a_loop_that_is_killed_in_a_run_goes_on_with_that_run(
    whole: Path, product: Product, tmp_path: Path, capfd: pytest.CaptureFixture[str], run: int
) -> None:
    product.killed_in = run
    assert close_loop(tmp_path) == 130
    capfd.readouterr()
    assert close_loop(tmp_path) == 0
    assert product.runs == DAYS + 2, "no day that was lived is run again"
    told = capfd.readouterr().err
    assert ("goes on after" in told) == (run > 1)
    assert told.count(" contacts, ") == DAYS + 1 - run, "days that were told are not told again"
    assert landing_files(tmp_path / "landing") == landing_files(whole / "landing")


def test_a_complete_home_says_so_and_stays_as_it_is(
    whole: Path, product: Product, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = shutil.copytree(whole, tmp_path / "home")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert close_loop(home) == 0
    assert capfd.readouterr().out.startswith(f"Complete: all 3 days were lived in {home} before; nothing was changed\n")
    assert close_loop(home, "--json") == 0
    again = json.loads(capfd.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
    assert product.runs == 0
    assert close_loop(tmp_path / "new", "--json") == 0
    assert json.loads(capfd.readouterr().out) == again
    assert again["summary"]["days"] == DAYS
    assert again["summary"]["contacts"] == sum(day["contacts"] for day in again["days"]) > 0


@pytest.mark.parametrize("other", [("--people", "61"), ("--days", "4"), ("--seed", "8"), ("--landing", "elsewhere")])
def test_a_home_with_a_loop_refuses_other_arguments_in_one_line(
    whole: Path, product: Product, tmp_path: Path, capfd: pytest.CaptureFixture[str], other: tuple[str, str]
) -> None:
    value = str(tmp_path / "elsewhere") if other[0] == "--landing" else other[1]
    before = landing_files(whole)
    assert close_loop(whole, other[0], value) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert f"holds the loop of --people 60 --days 3 --seed 7 --landing {whole / 'landing'}; call with these" in error
    assert landing_files(whole) == before
    assert product.runs == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_loop_goes_on_in_a_home_that_was_moved(product: Product, tmp_path: Path) -> None:
    product.killed_in = 2
    assert close_loop(tmp_path / "here") == 130
    (tmp_path / "here").rename(tmp_path / "there")
    assert close_loop(tmp_path / "there") == 0


def test_a_run_that_fails_stops_the_loop_with_its_first_error(
    product: Product, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    product.error = "no space left"
    assert close_loop(tmp_path) == 1
    assert "the run before 2025-01-01 failed: no space left (log: run.log)" in capfd.readouterr().err
    assert close_loop(tmp_path) == 0


def test_a_day_that_was_changed_is_not_gone_on_from(
    product: Product, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    product.killed_in = 3
    assert close_loop(tmp_path) == 130
    changed = tmp_path / "landing" / "film" / "events" / "day=2025-01-01" / "part-0.parquet"
    changed.write_bytes(b"other")
    capfd.readouterr()
    assert close_loop(tmp_path) == 1
    assert f"{changed} is not what this world delivers" in capfd.readouterr().err
    assert product.runs == 3


def test_without_closing_the_loop_the_history_alone_is_written(
    product: Product, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["simulate", "--people", "5", "--days", "2", "--home"]
    assert call([*arguments, str(tmp_path / "one"), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    files = landing_files(tmp_path / "one" / "landing")
    assert (said["files"], said["days"]) == (len(files) - 1, 2)
    assert f"seed {simulated.DEFAULT_SEED} for 5 people" in files[NOTE_FILE].decode()
    assert call([*arguments, str(tmp_path / "two")]) == 0
    assert capfd.readouterr().out.endswith(f" run --home {tmp_path / 'two'}\n")
    assert landing_files(tmp_path / "two" / "landing") == files
    assert product.runs == 0
