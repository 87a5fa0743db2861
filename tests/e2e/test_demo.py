"""A life of the demo: made, run again, a campaign, a new day, late and corrected and broken files, a killed run, a full refresh.

The tests stand in the order of the story, and each step is made once, by the fixture that is named after it.
"""

import base64
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster import AssetKey
from scipy.sparse import csr_matrix

from models_ml.content import FEATURE_KINDS, ItemContent, normalised_rows
from models_ml.content_model import ContentModelConfig, fit_content_model
from orchestration.cli import call
from orchestration.instance import open_instance
from orchestration.recommendations.charts import evaluation_png
from orchestration.recommendations.steps import read_interactions
from orchestration.resources.warehouse import connect
from orchestration.runs import run
from orchestration.settings import Settings
from simulation.clock import NEXT_DAYS
from simulation.demo import write_demo_day
from tests.e2e.conftest import Home

READER = """
import sys, time, duckdb
publication = "select publication_id, json_extract(table_rows, '$.\\"core.fct_interaction\\"')::bigint from meta.publication"
people = "select (select count(distinct user_key) from recommendations.user_item), (select count(*) from core.dim_user)"
answers = 0
while True:
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        said, promised = connection.execute(publication).fetchone()
        time.sleep(0.02)
        found = connection.execute("select count(*) from core.fct_interaction").fetchone()[0]
        listed, known = connection.execute(people).fetchone()
        again = connection.execute(publication).fetchone()[0]
    assert (found, listed, again) == (promised, known, said), (found, promised, listed, known, again, said)
    answers += 1
    print(answers, said, flush=True)
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def reader(demo: tuple[Home, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A process that reads the publication in a loop, from the demo to the end of the story."""
    home, _ = demo
    log = tmp_path_factory.mktemp("reader") / "answers"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(home.path / "published" / "current.duckdb")],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        yield log
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def unchanged(demo: tuple[Home, dict[str, Any]], reader: Path) -> tuple[Home, dict[str, Any], str]:
    """The same command a second time; with the publication there was before."""
    home, _ = demo
    before = home.publication
    status, said = home.zhiying("run")
    assert status == 0, said
    return home, said, before


# The day after the first new one: what is handed over then is answered with the second new one.
LIST_DAY = NEXT_DAYS[0] + timedelta(days=1)
CORRECTED = "film/events/dt=2013-08-26/part-0.parquet"
LATE = "film/events/dt=2013-08-31/late.csv"
BROKEN = "knowledge/events/dt=2013-08-30/part-1.parquet"


@pytest.fixture(scope="module")
def approved(unchanged: tuple[Home, dict[str, Any], str]) -> dict[str, Any]:
    """The landing row of a campaign that somebody makes of the best proposal, to begin on the day after the new one."""
    home = unchanged[0]
    status, proposals = home.zhiying("campaign", "propose", "-n", "1")
    assert status == 0
    best: Any = proposals[0]
    options = ("--starts", str(LIST_DAY), "--budget", "50", "--holdout", "0.2")
    status, said = home.zhiying("campaign", "approve", best["proposal_id"], *options)
    assert status == 0
    row: dict[str, Any] = said["row"]
    return row


@pytest.fixture(scope="module")
def of_both_sides(unchanged: tuple[Home, dict[str, Any], str], approved: dict[str, Any]) -> list[dict[str, Any]]:
    """The landing rows of campaigns made of the best shelf and the best challenge, with little money beside the first one's."""
    home = unchanged[0]
    status, proposals = home.zhiying("campaign", "propose", "-n", "50")
    assert status == 0
    rows = []
    for kind in ("special_programme", "interactive"):
        best: Any = next(one for one in proposals if one["kind"] == kind)
        options = ("--starts", str(LIST_DAY), "--budget", "5", "--holdout", "0.2")
        status, said = home.zhiying("campaign", "approve", best["proposal_id"], *options)
        assert status == 0
        rows.append(said["row"])
    return rows


@pytest.fixture(scope="module")
def new_day(
    unchanged: tuple[Home, dict[str, Any], str], approved: dict[str, Any], of_both_sides: list[dict[str, Any]]
) -> dict[str, Any]:
    """A run after a new day, a late file, a corrected file and a broken file have arrived.

    From here on one model is tried instead of all: the story goes on with what data do, not with which model is best.
    """
    home = unchanged[0]
    home.environment["ZHIYING_CANDIDATES"] = "als_joint"
    before = {
        "interactions": home.one("select count(*) from core.fct_interaction"),
        "people": home.one("select count(*) from core.dim_user"),
        "publication": home.publication,
    }
    files = write_demo_day(home.landing, NEXT_DAYS[0])
    with duckdb.connect() as connection:
        path = home.landing / CORRECTED
        rows = connection.execute(f"select * from read_parquet('{path}') order by event_id").fetchall()
        gone, changed = rows[0][0], rows[1][0]
        connection.execute(
            f"create table corrected as select * replace (case when event_id = ? then 1.5 else value end as value) "
            f"from read_parquet('{path}') where event_id <> ?",
            [changed, gone],
        )
        connection.execute(f"copy corrected to '{path}' (format parquet)")
        arrived = connection.execute(
            f"select count(*) from read_parquet({[str(home.landing / f) for f in files if '/events/' in f]}, "
            "union_by_name = true)"
        ).fetchall()[0][0]
        late_user, late_film = connection.execute(
            f"select user_id, film_id from read_parquet('{path}') limit 1"
        ).fetchall()[0]
    late = home.landing / LATE
    late.parent.mkdir(parents=True, exist_ok=True)
    late.write_text(
        f"event_id,user_id,film_id,event_type,occurred_at,value\nlate-1,{late_user},{late_film},rating,2013-06-15T12:00:00Z,4\n"
    )
    broken = home.landing / BROKEN
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_bytes((home.landing / CORRECTED).read_bytes()[:500])
    status, said = home.zhiying("run")
    return {
        "home": home,
        "status": status,
        "said": said,
        "before": before,
        "arrived": arrived,
        "gone": gone,
        "changed": changed,
    }


@pytest.fixture(scope="module")
def refreshed(new_day: dict[str, Any]) -> tuple[Home, dict[str, str], dict[str, str]]:
    """A full refresh; with the content of the tables before and after."""
    home: Home = new_day["home"]
    before = home.content
    status, said = home.zhiying("run", "--full-refresh")
    assert status == 0, said
    return home, before, home.content


def list_of(home: Home, campaign: dict[str, Any]) -> list[dict[str, str]]:
    """Rows of a campaign's list, in the file that a channel is given."""
    folder = home.path / "exports" / str(LIST_DAY) / f"{campaign['campaign_id']}--{campaign['channel']}"
    with (folder / "list.csv").open() as file:
        return list(csv.DictReader(file))


def bring_answers_back(home: Home, handed: list[dict[str, str]]) -> None:
    """Plays the channel: shows all contacts but the last, of which the first is clicked and the second unsubscribes."""
    shown = [{**row, "shown_at": f"{LIST_DAY}T10:00:00Z"} for row in handed[:-1]]
    answers = [
        {"response_id": f"try-{number}", "exposure_id": row["exposure_id"], "response_type": kind, "occurred_at": at}
        for number, (row, kind, at) in enumerate(
            zip(shown, ("click", "unsubscribe"), (f"{LIST_DAY}T10:05:00Z", f"{LIST_DAY}T11:00:00Z"), strict=False)
        )
    ]
    for table, rows in (("exposures", shown), ("responses", answers)):
        path = home.landing / "marketing" / table / f"{LIST_DAY}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


@pytest.fixture(scope="module")
def killed(refreshed: tuple[Home, dict[str, str], dict[str, str]], approved: dict[str, Any]) -> tuple[Home, str, str]:
    """A run that is killed in the middle; with the publication before it, and that after the kill."""
    home = refreshed[0]
    write_demo_day(home.landing, NEXT_DAYS[1])
    bring_answers_back(home, list_of(home, approved))
    before = home.publication
    process = subprocess.Popen(
        [Path(sys.executable).parent / "zhiying", "run", "--home", str(home.path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | home.environment,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "reading the landing folder" in line:
            break
    time.sleep(4)  # into the first dbt pass
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return home, before, home.publication


@pytest.fixture(scope="module")
def resumed(killed: tuple[Home, str, str]) -> tuple[Home, int, dict[str, Any]]:
    """The run after the killed one."""
    home = killed[0]
    status, said = home.zhiying("run")
    return home, status, said


@pytest.fixture(scope="module")
def flooded(resumed: tuple[Home, int, dict[str, Any]]) -> tuple[Home, int, dict[str, Any], str]:
    """A run after a file with 10,000 bad rows has arrived; with the publication before it."""
    home = resumed[0]
    before = home.publication
    rows = [f"flood-{n},u{n},f{n},rating,2013-08-30T00:00:00Z,0" for n in range(10_000)]
    flood = home.landing / "film/events/dt=2013-09-02/flood.csv"
    flood.parent.mkdir(parents=True, exist_ok=True)
    flood.write_text("\n".join(["event_id,user_id,film_id,event_type,occurred_at,value", *rows]) + "\n")
    status, said = home.zhiying("run")
    return home, status, said, before


def test_the_demo_publishes_real_films_and_simulated_contents(demo: tuple[Home, dict[str, Any]]) -> None:
    home, said = demo
    assert said["succeeded"]
    assert home.one("select count(*) from core.dim_content") == 600
    assert home.one("select count(*) from core.dim_film") == 2264
    assert home.one("select count(*) from core.dim_user where is_linked") == 1684


def test_every_delivered_row_is_accounted_for(demo: tuple[Home, dict[str, Any]]) -> None:
    home, _ = demo
    assert (
        home.one(
            "select count(*) from quality.load_audit where rows_read <> rows_loaded + rows_quarantined + rows_duplicate"
        )
        == 0
    )
    assert home.one("select count(*) from quality.load_audit") == len(
        [path for path in home.landing.rglob("*") if path.is_file() and not path.name.startswith("_")]
    )
    quarantined = home.one("select sum(rows_quarantined) from quality.load_audit")
    assert home.one("select count(*) from quality.quarantine where row_number is not null") == quarantined > 0
    refused = home.one("select count(*) from quality.load_audit where status = 'refused'")
    assert home.one("select count(*) from quality.quarantine where row_number is null") == refused > 0
    assert home.one("select sum(rows_duplicate) from quality.load_audit") > 0


def test_everyone_has_a_dense_list_on_both_sides(demo: tuple[Home, dict[str, Any]]) -> None:
    home, _ = demo
    people = home.one("select count(*) from core.dim_user")
    lists = home.ask(
        "select target_domain, count(distinct user_key), min(rank), max(rank), count(*) from recommendations.user_item "
        "group by all order by all"
    )
    assert lists == [("film", people, 1, 50, people * 50), ("knowledge", people, 1, 50, people * 50)]


def test_nothing_consumed_is_recommended(demo: tuple[Home, dict[str, Any]]) -> None:
    home, _ = demo
    again = home.one(
        """
        with consumed as (
            select user_key, item_key from core.fct_rating
            union
            select user_key, item_key from core.fct_purchase where not is_refunded
            union
            select user_key, item_key from core.fct_interaction where event_type = 'complete'
        )
        select count(*) from recommendations.user_item semi join consumed using (user_key, item_key)
        """
    )
    assert again == 0


def test_nothing_personal_is_published(demo: tuple[Home, dict[str, Any]]) -> None:
    """The text of every published table is searched for account ids that the restricted file holds, and for addresses."""
    home, _ = demo
    with duckdb.connect(str(home.path / "restricted" / "accounts.duckdb"), read_only=True) as connection:
        accounts = connection.execute(
            "select list(distinct user_id) from account where platform = 'knowledge' using sample 200 (reservoir, 7)"
        ).fetchall()[0][0]
    assert all(account.startswith("sim-") for account in accounts)
    found = [
        f"{schema}.{table}"
        for schema, table in home.ask("select schema_name, table_name from duckdb_tables() where not internal")
        if home.one(
            f"select count(*) from {schema}.{table} as row where regexp_matches(row::varchar, ?)",
            r"@example\.com|\b(" + "|".join(accounts) + r")\b",
        )
    ]
    assert found == []
    columns = {name for (name,) in home.ask("select distinct column_name from duckdb_columns() where not internal")}
    assert columns & {"user_id", "email", "phone", "account_key", "knowledge_user_id", "film_user_id"} == set()


def test_the_restricted_file_is_closed_to_others(demo: tuple[Home, dict[str, Any]]) -> None:
    home, _ = demo
    for name in ("accounts.duckdb", "secret"):
        assert (home.path / "restricted" / name).stat().st_mode & 0o777 == 0o600
    assert (home.path / "warehouse" / "build.duckdb").stat().st_mode & 0o777 == 0o600


def test_the_publication_says_what_it_is_made_of(demo: tuple[Home, dict[str, Any]]) -> None:
    home, _ = demo
    versions, rows = home.ask("select model_versions, table_rows from meta.publication")[0]
    assert "als_joint" in json.loads(versions)
    counted = {name: home.one(f"select count(*) from {name}") for name in json.loads(rows)}
    assert counted == json.loads(rows)


def test_checks_of_the_run_are_published(demo: tuple[Home, dict[str, Any]]) -> None:
    home, said = demo
    assert home.one("select count(*) from quality.check_result") > 150
    assert (
        home.ask("select distinct status from quality.check_result where severity = 'error' and status <> 'passed'")
        == []
    )
    assert said["checks"]["blocking_failed"] == []


def test_the_report_of_the_run_holds_the_picture_of_the_evaluation_and_the_champions(
    demo: tuple[Home, dict[str, Any]],
) -> None:
    home, said = demo
    report = Path(said["report"])
    assert report.parent == home.path / "reports"
    page = report.read_text()
    pictures = [base64.b64decode(one) for one in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    with duckdb.connect(str(home.path / "published" / "current.duckdb"), read_only=True) as connection:
        evaluation = connection.execute("from recommendations.evaluation").to_arrow_table()
    assert evaluation_png(evaluation) in pictures
    champions = home.ask(
        "select distinct target_domain, segment, model from recommendations.evaluation "
        "where is_champion and segment in ('warm', 'cold', 'new')"
    )
    assert len(champions) == 6
    for domain, segment, model in champions:
        assert re.search(rf"<td>{domain}</td><td>{segment}</td><td[^>]*>[\d,]+</td><td>{model}</td>", page)


def test_what_each_model_took_is_shown_beside_the_models_and_the_lists(demo: tuple[Home, dict[str, Any]]) -> None:
    home, _ = demo
    stages = {}
    with open_instance(Settings(home=home.path, landing=home.landing)) as instance:
        for name in ("models", "scored_user_item", "scored_item_item"):
            event = instance.get_latest_materialization_event(AssetKey(["recommendations", name]))
            assert event is not None
            assert event.asset_materialization is not None
            table = event.asset_materialization.metadata["costs"].value
            cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in str(table).splitlines()[2:]]
            stages[name] = {stage for _, _, stage, _, _ in cells}
            assert all(float(megabytes.replace(",", "")) > 50 for *_, megabytes in cells)
    assert stages == {
        "models": {"search", "fit", "evaluate", "final fit"},
        "scored_user_item": {"score", "explain", "apply"},
        "scored_item_item": {"relate"},
    }


def test_a_persons_profile_in_the_content_model_is_their_published_interest(
    demo: tuple[Home, dict[str, Any]],
) -> None:
    """A feature of an item is idf(topic) x a factor of the item. With 1 / topics of the item in its place, as in
    `features.user_interest`, which is no matter of the person, the profile is the interest, both scaled to length 1."""
    home, _ = demo
    with connect(home.path / "warehouse" / "build.duckdb", read_only=True) as connection:
        history = read_interactions(connection)
        topics_of = dict(
            connection.execute("select item_key, count(*) from core.bridge_item_topic group by all").fetchall()
        )
        interests = connection.execute(
            "select user_key, topic, weight from features.user_interest inner join core.dim_topic using (topic_key)"
        ).to_arrow_table()
    model = fit_content_model(history, ContentModelConfig())
    is_topic = model.content.kinds == FEATURE_KINDS.index("topic")
    names = [name for name, kept in zip(model.content.names, is_topic, strict=True) if kept]
    features = model.content.features[:, is_topic].tocsr()
    items, lengths = features.shape[0], np.diff(features.indptr)
    spread = np.bincount(features.indices, minlength=len(names))
    without_idf = features.data / (np.log((1 + items) / (1 + spread)) + 1)[features.indices]
    factor = np.maximum.reduceat(without_idf, features.indptr[:-1][lengths > 0])
    assert without_idf == pytest.approx(np.repeat(factor, lengths[lengths > 0]), rel=1e-4)

    share = np.array([1 / topics_of.get(key, 1) for key in history.item_keys.to_pylist()], np.float32)
    shares = csr_matrix((np.repeat(share, lengths), features.indices, features.indptr), shape=features.shape)
    by_share = replace(model, content=ItemContent(shares, tuple(names), model.content.kinds[is_topic]))
    # A topic of one item alone leads nowhere and is no feature.
    known = interests.filter(pc.is_in(interests["topic"], pa.array(names)))
    people = history.positions_of_users(known["user_key"].combine_chunks())
    columns = pc.index_in(known["topic"], pa.array(names)).to_numpy()
    interest = csr_matrix((known["weight"].to_numpy(), (people, columns)), shape=(history.shape[0], len(names)))
    assert interest.nnz > 50_000
    difference = by_share.profile(history) - normalised_rows(interest)
    assert abs(difference).max() < 1e-5


def test_the_mirror_holds_the_same_rows(demo: tuple[Home, dict[str, Any]]) -> None:
    home, _ = demo
    mirror = home.path / "published" / "parquet" / "recommendations" / "user_item.parquet"
    assert (
        home.one(f"select count(*) from (from recommendations.user_item except all from read_parquet('{mirror}'))") == 0
    )


def test_a_second_run_changes_nothing_and_says_so(unchanged: tuple[Home, dict[str, Any], str]) -> None:
    home, said, before = unchanged
    assert said["nothing_new"]
    assert home.publication == before
    assert said["seconds"] < 30


def test_the_summary_of_a_run_can_be_read_by_a_person(
    unchanged: tuple[Home, dict[str, Any], str], capfd: pytest.CaptureFixture[str]
) -> None:
    home, _, publication = unchanged
    assert call(["run", "--home", str(home.path)]) == 0
    shown = capfd.readouterr().out
    assert "Nothing new" in shown
    assert publication in shown
    assert "3,524, of whom 1,684 are on both platforms" in shown
    assert "4 files refused" in shown
    command = next(line for line in shown.splitlines() if "zhiying recommend" in line).split("   ")[0]
    assert call([*command.split()[1:], "-n", "1"]) == 0
    assert "knowledge" in capfd.readouterr().out


def test_a_new_day_is_published(new_day: dict[str, Any]) -> None:
    assert new_day["status"] == 0, new_day["said"]
    home: Home = new_day["home"]
    assert home.publication != new_day["before"]["publication"]
    expected = (
        new_day["before"]["interactions"] + new_day["arrived"] + 1 - 1
    )  # the late event came, the corrected one went
    assert home.one("select count(*) from core.fct_interaction") == expected


def test_an_approved_proposal_is_handed_over_by_the_next_run(new_day: dict[str, Any], approved: dict[str, Any]) -> None:
    home: Home = new_day["home"]
    handed = list_of(home, approved)
    assert len(handed) > 10
    assert {row["item_id"] for row in handed} <= set(approved["item_ids"])
    arms = dict(
        home.ask(
            "select arm, count(*) from marketing.contact where campaign_key = ? and contact_date = ? group by arm",
            approved["campaign_id"],
            LIST_DAY,
        )
    )
    assert arms["treatment"] == len(handed)
    assert arms["control"] > 0
    assert len(handed) * approved["cost_per_exposure"] <= 50


def test_a_shelf_and_a_challenge_are_handed_over_with_items_of_both_platforms(
    new_day: dict[str, Any], of_both_sides: list[dict[str, Any]]
) -> None:
    home: Home = new_day["home"]
    for row in of_both_sides:
        start = f"{row['source_platform']}:"
        offered = {item for item in row["item_ids"] if not item.startswith(start)}
        beside = {item.removeprefix(start) for item in row["item_ids"] if item.startswith(start)}
        assert min(len(offered), len(beside)) >= 4
        handed = list_of(home, row)
        assert handed
        assert {contact["item_id"] for contact in handed} <= offered
        folder = home.path / "exports" / str(LIST_DAY) / f"{row['campaign_id']}--{row['channel']}"
        with (folder / "shelf.csv").open() as file:
            shelf = list(csv.DictReader(file))
        named = {
            platform: {one["item_id"] for one in shelf if one["platform"] == platform}
            for platform in ("film", "knowledge")
        }
        assert named == {row["source_platform"]: beside, row["target_platform"]: offered}
        assert all(one["title"] for one in shelf)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert ("challenge" in manifest) == (row["kind"] == "interactive")


def test_a_late_event_is_counted_on_its_own_day(new_day: dict[str, Any]) -> None:
    home: Home = new_day["home"]
    found = home.ask("select event_date::varchar, value from core.fct_interaction where event_key = md5('film:late-1')")
    assert found == [("2013-06-15", 4.0)]


def test_a_corrected_file_replaces_what_it_had_delivered(new_day: dict[str, Any]) -> None:
    home: Home = new_day["home"]
    key = "select value from core.fct_interaction where event_key = md5('film:' || ?)"
    assert home.ask(key, new_day["gone"]) == []
    assert home.ask(key, new_day["changed"]) == [(1.5,)]


def test_a_broken_file_is_quarantined_and_the_others_load(new_day: dict[str, Any]) -> None:
    home: Home = new_day["home"]
    assert home.ask("select status, rows_loaded from quality.load_audit where file = ?", BROKEN) == [("refused", 0)]
    assert "Parquet" in home.one("select reason from quality.quarantine where file = ?", BROKEN)


def test_a_late_account_completes_its_inferred_person(
    new_day: dict[str, Any], demo: tuple[Home, dict[str, Any]]
) -> None:
    """Twelve accounts are known from events only until their rows arrive with the new day."""
    home: Home = new_day["home"]
    assert home.one("select count(*) from core.dim_user where is_inferred") == 0


def test_history_has_one_open_version_a_person_and_no_overlap(new_day: dict[str, Any]) -> None:
    home: Home = new_day["home"]
    people = home.one("select count(*) from core.dim_user")
    assert home.one("select count(*) from core.dim_user_history where valid_to is null") == people
    overlapping = home.one(
        """
        select count(*) from core.dim_user_history as one inner join core.dim_user_history as other
            on one.user_key = other.user_key and one.user_version_key <> other.user_version_key
            and one.valid_from < coalesce(other.valid_to, 'infinity') and other.valid_from < coalesce(one.valid_to, 'infinity')
        """
    )
    assert overlapping == 0


def test_a_rollback_holds_until_something_new_arrives(new_day: dict[str, Any]) -> None:
    home: Home = new_day["home"]
    newest, earlier = home.publication, new_day["before"]["publication"]
    assert home.zhiying("publications", "rollback", earlier)[0] == 0
    status, said = home.zhiying("run")
    assert (status, said["nothing_new"], home.publication) == (0, True, earlier)
    assert home.zhiying("publications", "rollback", newest)[0] == 0
    assert home.publication == newest


def test_a_full_refresh_gives_equal_tables(refreshed: tuple[Home, dict[str, str], dict[str, str]]) -> None:
    _, before, after = refreshed
    assert {name for name in before if before[name] != after[name]} == set()


def test_a_killed_run_leaves_the_publication_as_it_was(killed: tuple[Home, str, str]) -> None:
    home, before, after = killed
    assert after == before
    assert home.one("select count(*) from core.dim_user") > 0


def test_the_run_after_a_killed_one_goes_on_where_it_ended(resumed: tuple[Home, int, dict[str, Any]]) -> None:
    home, status, said = resumed
    assert status == 0, said
    assert not said["nothing_new"]
    last = home.one("select max(event_date)::varchar from core.fct_interaction")
    assert last == NEXT_DAYS[1].isoformat()


def test_the_result_of_a_campaign_holds_what_the_channel_brought_back_and_claims_nothing_yet(
    resumed: tuple[Home, int, dict[str, Any]], approved: dict[str, Any]
) -> None:
    home = resumed[0]
    handed = list_of(home, approved)
    status, said = home.zhiying("campaign", "show", approved["campaign_id"])
    assert status == 0
    result = said["result"]
    assert result["people_treatment"] == len(handed)
    assert (result["exposures"], result["clicks"], result["unsubscribes"]) == (len(handed) - 1, 1, 1)
    assert result["people_control"] > 0
    assert result["verdict"].startswith("No proof yet")


def test_too_many_bad_rows_stop_the_run_before_publishing(flooded: tuple[Home, int, dict[str, Any], str]) -> None:
    home, status, said, before = flooded
    assert status == 1
    assert home.publication == before
    [check] = said["checks"]["blocking_failed"]
    assert check["name"] == "quarantine_within_limit"
    assert "film/events 10,014 of" in check["description"] or "film/events 10," in check["description"]


def test_a_job_over_a_part_does_not_publish_what_a_check_has_stopped(
    flooded: tuple[Home, int, dict[str, Any], str],
) -> None:
    home, _, _, before = flooded
    settings = Settings(home=home.path, landing=home.landing, candidates=("als_joint",))
    outcome = run(settings, job="recommendations")
    assert not outcome.succeeded
    assert "run everything" in outcome.errors[-1]
    assert home.publication == before


def test_a_reader_never_saw_an_error_nor_half_a_publication(
    flooded: tuple[Home, int, dict[str, Any], str], reader: Path
) -> None:
    lines = reader.read_text().splitlines()
    assert lines
    assert [line for line in lines if not line.split()[0].isdigit()] == []
    assert len({line.split()[1] for line in lines}) >= 3
