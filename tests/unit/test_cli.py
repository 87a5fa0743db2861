"""What the command line answers, and with which exit status."""

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from orchestration.cli import call
from tests.sample import publish_sample

COMMANDS = ["demo", "run", "land", "check", "ui", "query", "recommend", "similar", "publications"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    publish_sample(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def accounts(home: Path) -> Path:
    file = home / "restricted" / "accounts.duckdb"
    file.parent.mkdir()
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table account as select 'ann' as user_key, 'film' as platform, '77' as user_id")
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert call([command, "--help"]) == 0
    assert f"zhiying {command}" in capsys.readouterr().out.split("Example", 1)[1]


@pytest.mark.parametrize(
    "command", [[Path(sys.executable).parent / "zhiying"], [sys.executable, "-m", "orchestration.cli"]]
)
def test_the_command_is_installed_and_a_module(command: list[str | Path]) -> None:
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


def test_a_query_prints_its_rows(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["query", "select item_key, title from core.dim_item where item_id = '3'", "--home", str(home)]) == 0
    out = capsys.readouterr().out
    assert "knowledge:3" in out
    assert "Three [live]" in out
    assert "2 rows" in out


def test_a_query_can_be_answered_as_json_and_as_csv(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select item_key, title from core.dim_item where item_id = '1'"
    assert call(["query", sql, "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"item_key": "film:1", "title": "One"}]
    assert call(["query", sql, "--home", str(home), "--csv"]) == 0
    assert list(csv.reader(capsys.readouterr().out.splitlines())) == [["item_key", "title"], ["film:1", "One"]]


def test_a_long_answer_says_how_much_of_it_is_not_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["query", "select * from range(100)", "--home", str(home)]) == 0
    assert "100 rows, 60 of them not shown" in capsys.readouterr().out


@pytest.mark.parametrize(
    "sql",
    [
        "delete from core.dim_item",
        "create table x as select 1",
        "selec 1",
        "from no_such_table",
        "copy core.dim_item to '/tmp/stolen.csv'",
        "from read_csv('/etc/passwd')",
    ],
)
def test_a_query_that_is_wrong_or_would_do_more_than_read_is_refused_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], sql: str
) -> None:
    assert call(["query", sql, "--home", str(home)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("zhiying: DuckDB: ")
    assert captured.err.count("\n") == 1


def test_without_a_publication_reading_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["query", "select 1"], ["recommend", "ann"], ["similar", "One"]):
        assert call([*arguments, "--home", str(tmp_path)]) == 2
        assert "run `zhiying demo` or `zhiying run` first" in capsys.readouterr().err


def test_recommend_shows_both_sides_or_the_one_asked_for(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["recommend", "ann", "-n", "2", "--home", str(home), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(row["target_domain"], row["rank"]) for row in shown] == [
        ("film", 1),
        ("film", 2),
        ("knowledge", 1),
        ("knowledge", 2),
    ]
    assert call(["recommend", "ann", "--domain", "knowledge", "--home", str(home), "--json"]) == 0
    assert {row["target_domain"] for row in json.loads(capsys.readouterr().out)} == {"knowledge"}


def test_recommend_takes_an_account_where_the_restricted_file_may_be_read(
    home: Path, accounts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["recommend", "film:77", "--home", str(home), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6
    assert call(["recommend", "film:78", "--home", str(home)]) == 2
    assert "No account '78' on the film platform" in capsys.readouterr().err
    accounts.unlink()
    assert call(["recommend", "film:77", "--home", str(home)]) == 2
    assert "only a user_key can be asked for" in capsys.readouterr().err


@pytest.mark.parametrize("item", ["film:1", "1", "One", "one"])
def test_similar_takes_a_key_an_id_or_a_part_of_a_title(
    home: Path, capsys: pytest.CaptureFixture[str], item: str
) -> None:
    assert call(["similar", item, "--home", str(home), "--json"]) == 0
    assert [row["title"] for row in json.loads(capsys.readouterr().out)] == ["Two"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend", "nobody"], "No list for 'nobody'"),
        (["recommend", "ann", "--domain", "books"], "'books' is neither film nor knowledge"),
        (["recommend", "radio:1"], "'radio' is not a platform"),
        (["similar", "no such title"], "No item 'no such title'"),
        (["similar", "film:2"], "Nothing is known to be similar"),
        (["publications", "rollback", "x"], "No publication 'x'"),
        (["frobnicate"], "No such command"),
        (["recommend"], "Missing argument"),
        (["run", "--as-of", "yesterday"], "not an ISO 8601 time"),
        (["run", "--landing", "/no/such/folder"], "/no/such/folder does not exist"),
        (["check", "/no/such/folder"], "/no/such/folder"),
        (["land", "netflix", "/tmp"], "'netflix' is not a known format"),
        (["land", "movielens", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_a_call_at_fault_ends_with_one_line_and_status_2(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("ZHIYING_HOME", str(home))
    assert call(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_setting_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZHIYING_HOMME", "x")
    assert call(["publications"]) == 2
    assert "ZHIYING_HOMME is not a setting" in capsys.readouterr().err


def test_the_demo_is_not_laid_into_other_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "landing" / "film").mkdir(parents=True)
    assert call(["demo", "--home", str(tmp_path)]) == 2
    assert "holds other data than the demo's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("selection", "message"), [("group:nope", "names no asset"), ("nonsense(((", "is no selection of assets")]
)
def test_a_selection_that_selects_nothing_is_the_calls_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], selection: str, message: str
) -> None:
    (tmp_path / "landing").mkdir()
    assert call(["run", "--home", str(tmp_path), "--select", selection]) == 2
    assert message in capfd.readouterr().err


def test_what_is_shown_cannot_be_taken_for_formatting(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["query", "select '[/b]' as \"[red]\"", "--home", str(home)]) == 0
    assert "[/b]" in capsys.readouterr().out


def test_a_port_in_use_is_the_calls_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert call(["ui", "--home", str(tmp_path), "--port", str(port)]) == 2
    assert f"Port {port} cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("sql", ["", ";", "select 1; select 2"])
def test_a_query_is_one_statement(home: Path, capsys: pytest.CaptureFixture[str], sql: str) -> None:
    assert call(["query", sql, "--home", str(home)]) == 2
    assert "One SQL statement is wanted" in capsys.readouterr().err


def test_publications_are_listed_and_gone_back_to(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish_sample(home, "20260102T000000000000Z-bbbbbbbb")
    listed = ["publications", "--home", str(home), "--json"]
    assert call(listed) == 0
    before = [(row["id"][-8:], row["is_current"]) for row in json.loads(capsys.readouterr().out)]
    assert before == [("bbbbbbbb", True), ("aaaaaaaa", False)]
    assert call(["publications", "rollback", "20260101T000000000000Z-aaaaaaaa", "--home", str(home)]) == 0
    assert "Readers now see 20260101T000000000000Z-aaaaaaaa" in capsys.readouterr().out
    # the same with the option before the sub-command
    assert call(["publications", "--home", str(home), "rollback", "20260101T000000000000Z-aaaaaaaa", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_current"]
    assert call(listed) == 0
    after = [(row["id"][-8:], row["is_current"]) for row in json.loads(capsys.readouterr().out)]
    assert after == [("bbbbbbbb", False), ("aaaaaaaa", True)]
    assert call(["publications", "--home", str(home)]) == 0
    assert "aaaaaaaa" in capsys.readouterr().out


def test_a_home_that_cannot_be_written_is_the_calls_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "landing").mkdir()
    arguments = ["run", "--landing", str(tmp_path / "landing"), "--home", str(tmp_path / "file" / "home")]
    assert call(arguments) == 2
    assert "cannot be written" in capsys.readouterr().err
