"""The page that a run leaves behind."""

import base64
import html
import re
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetMaterialization, DagsterInstance, MetadataValue

from orchestration.marketing import charts
from orchestration.run_report import render_report, write_report

SUMMARY: dict[str, Any] = {
    "succeeded": True,
    "nothing_new": False,
    "is_new": True,
    "interrupted": False,
    "seconds": 61.25,
    "step_seconds": {"raw": 1.5, "recommendations__models": 40.0},
    "log": "/data/home/reports/run-20260131T000000Z.log",
    "errors": [],
    "checks": {"evaluated": 1234, "blocking_failed": [], "warned": []},
    "publication": {
        "id": "20260131T000000Z-aaaa",
        "file": "/data/home/published/current.duckdb",
        "as_of": "2026-01-31 00:00:00",
        "rows": {"core.dim_user": 3524, "core.dim_film": 2264},
        "champions": [
            {
                "target_domain": "film",
                "segment": "cold",
                "users": 1170,
                "model": "blend_cold",
                "value": 0.20549,
                "ci_low": 0.17,
                "ci_high": 0.24,
                "popularity": 0.19,
            }
        ],
        "refused_campaigns": [],
    },
}
CHECK = {"name": "no_gap", "asset": "core/dim_user", "is_blocking": True, "description": "3 rows <b>"}


def rows(page: str) -> list[list[str]]:
    """The cells of every row of every table."""
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]


def test_a_page_names_the_champion_of_each_segment_beside_popularity() -> None:
    found = rows(render_report(SUMMARY, None))
    assert ["film", "cold", "1,170", "blend_cold", "0.2055", "0.1700 to 0.2400", "0.1900"] in found
    assert ["core.dim_user", "3,524"] in found
    assert ["recommendations__models", "40.0"] in found


def test_a_page_says_what_is_wrong_with_a_refused_campaign() -> None:
    assert "Refused campaigns" not in render_report(SUMMARY, None)
    refused = [{"campaign_key": "spring <1>", "problem": "It has no budget; give one above 0."}]
    page = render_report(SUMMARY | {"publication": SUMMARY["publication"] | {"refused_campaigns": refused}}, None)
    assert ["spring &lt;1&gt;", "It has no budget; give one above 0."] in rows(page)


def test_a_part_of_the_graph_run_before_anything_is_published_says_so() -> None:
    page = render_report({**SUMMARY, "is_new": False, "publication": None}, None)
    assert "nothing is published yet" in page
    assert "the same publication" not in page


def test_a_page_holds_its_picture_and_needs_no_other_file() -> None:
    page = render_report(SUMMARY, b"png")
    assert f'src="data:image/png;base64,{base64.b64encode(b"png").decode()}"' in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "Nobody could be evaluated" in render_report(SUMMARY, None)


def test_a_page_says_what_failed_in_the_words_of_the_data_and_not_as_markup() -> None:
    checks = {"evaluated": 2, "blocking_failed": [CHECK], "warned": []}
    page = render_report({**SUMMARY, "succeeded": False, "errors": ["raw: <script>"], "checks": checks}, None)
    assert "<h1>Not published" in page
    assert "raw: &lt;script&gt;" in page
    assert ["failed", "no_gap", "core/dim_user", "3 rows &lt;b&gt;"] in rows(page)
    assert "2 evaluated, 1 did not pass" in page


def test_each_end_of_a_run_has_its_headline() -> None:
    assert "<h1>Published</h1>" in render_report(SUMMARY, None)
    assert "<h1>Done: readers see the same" in render_report({**SUMMARY, "is_new": False}, None)
    assert "<h1>Interrupted" in render_report({**SUMMARY, "succeeded": False, "interrupted": True}, None)


def test_a_run_that_has_never_published_has_a_page_too(tmp_path: Path) -> None:
    with DagsterInstance.ephemeral() as instance:
        file = write_report(tmp_path / "run.html", {**SUMMARY, "succeeded": False, "publication": None}, instance)
    assert "No publication yet" in file.read_text()
    assert "as last measured" not in file.read_text()


def test_a_page_holds_the_newest_pictures_of_campaigns_that_there_are(tmp_path: Path) -> None:
    def drawn(picture: bytes | None) -> MetadataValue[Any]:
        return charts.as_metadata("any", picture, "Nothing to draw yet.")

    with DagsterInstance.ephemeral() as instance:
        for table, metadata in (
            ("measured_result", {"lift": drawn(b"old lift")}),
            ("measured_result", {"lift": drawn(b"lift"), "reach": drawn(b"reach")}),
            ("measured_day", {"budget": drawn(b"budget")}),
            ("measured_reliability", {"reliability": drawn(None)}),
            ("measured_policy", {"policies": drawn(b"policies"), "qini": drawn(b"qini")}),
        ):
            instance.report_runless_asset_event(AssetMaterialization(["marketing", table], metadata=metadata))
        file = write_report(tmp_path / "run.html", {**SUMMARY, "publication": None}, instance)
    held = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)">', file.read_text())
    assert [(shows, base64.b64decode(picture)) for shows, picture in held] == [
        ("What each campaign caused", b"lift"),
        ("Budget spent to date", b"budget"),
        ("How far campaigns reach", b"reach"),
        ("Whom contact moves", b"qini"),
    ]


def test_a_page_whose_pictures_cannot_be_read_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        for table in ("measured_result", "measured_day"):
            instance.report_runless_asset_event(AssetMaterialization(["marketing", table]))
        (storage,) = tmp_path.rglob("index.db")
        for file in storage.parent.glob("index.db*"):
            file.write_bytes(b"no database" * 1000)
        page = write_report(tmp_path / "run.html", {**SUMMARY, "publication": None}, instance).read_text()
    assert "<h2>Campaigns, as last measured</h2><p>The pictures could not be read: " in page
    assert "recommendations__models" in page
    assert "The pictures could not be read: " in capsys.readouterr().out


def test_a_page_shows_proposed_campaigns_as_rows_to_copy() -> None:
    proposal = {
        "rank": 1,
        "proposal_id": "p-1a2b3c4d",
        "name": "Horror on film to folklore on knowledge",
        "kind": "joint_promotion",
        "channel": "email",
        "target_platform": "knowledge",
        "item_keys": ["knowledge:1", "knowledge:2"],
        "source_platform": "film",
        "source_item_keys": ["film:1"],
        "reach": 1200,
        "budget": 7.8,
        "currency": "USD",
        "expected_revenue": 20.4,
        "expected_revenue_low": 1.2,
        "expected_revenue_high": 45.0,
        "landing_row": '{"campaign_id": "zhiying-p-1a2b3c4d"}',
    }
    page = render_report(SUMMARY, None, [proposal])
    (row,) = [found for found in rows(page) if "p-1a2b3c4d" in found]
    assert row[-2:] == ["20", "1 to 45"]
    assert "2 knowledge, 1 film" in row
    (copied,) = re.findall(r"<pre>(.*?)</pre>", page)
    assert html.unescape(copied) == proposal["landing_row"]
    assert "Proposed campaigns" not in render_report(SUMMARY, None)
