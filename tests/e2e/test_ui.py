"""The web UI over the demo's home, in a real browser."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.conftest import Home

pytestmark = pytest.mark.browser

STATIONS = ("landing", "raw", "staging", "core", "features", "recommendations", "quality", "publication")


def chromium() -> str:
    """Path of the browser; skips without one, unless REQUIRE_BROWSER says that there must be one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("REQUIRE_BROWSER is set, but there is no chromium on the search path")
    pytest.skip("no chromium on this machine: the tests of the web UI need one")


@pytest.fixture(scope="module")
def browser_path() -> str:
    return chromium()


@pytest.fixture(scope="module")
def address(browser_path: str, demo: tuple[Home, dict[str, Any]]) -> Iterator[str]:
    """Where `zhiying ui` serves."""
    home, _ = demo
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [Path(sys.executable).parent / "zhiying", "ui", "--home", str(home.path), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_served(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
            assert not _is_served(url), "the web server outlives the command"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def page(browser_path: str, tmp_path: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=browser_path,
            viewport={"width": 1800, "height": 900},
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page
        context.close()


def _wait_until_served(url: str, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(
                f"zhiying ui ended with {process.returncode}: {process.stdout.read() if process.stdout else ''}"
            )
        if _is_served(url):
            return
        time.sleep(0.5)
    pytest.fail(f"{url} was not served within {seconds:.0f} s")


def _is_served(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=2):
            return True
    except OSError:
        return False


def test_the_graph_shows_the_stations(address: str, page: Page) -> None:
    page.goto(f"{address}/asset-groups", wait_until="domcontentloaded")
    expect(page.get_by_text("Global asset lineage")).to_be_visible(timeout=60_000)
    for station in STATIONS:
        expect(page.get_by_text(station, exact=True).first).to_be_visible(timeout=60_000)
    # Nothing of Dagster's own (an invitation to a newsletter) stands in the way.
    expect(page.get_by_text("Join the Dagster community")).to_have_count(0)


def test_the_run_of_the_command_line_shows_green(address: str, page: Page) -> None:
    page.goto(f"{address}/runs", wait_until="domcontentloaded")
    expect(page.get_by_text("everything", exact=True).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=60_000)


def test_an_asset_shows_its_contract_and_its_checks(address: str, page: Page) -> None:
    page.goto(f"{address}/assets/recommendations/user_item", wait_until="domcontentloaded")
    expect(page.get_by_text(re.compile("One row per person")).first).to_be_visible(timeout=60_000)
    page.goto(f"{address}/assets/recommendations/user_item?view=checks", wait_until="domcontentloaded")
    expect(page.get_by_text(re.compile("rank")).first).to_be_visible(timeout=60_000)


def test_it_serves_on_loopback_only(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=False)
    if listening.returncode != 0:
        pytest.skip("ss is not installed")
    bound = [line.split()[3] for line in listening.stdout.splitlines() if line.split()[3].endswith(f":{port}")]
    assert bound == [f"127.0.0.1:{port}"]
