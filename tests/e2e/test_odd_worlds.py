"""Landing folders that no recommender expects, through the whole graph: each ends in a publication with lists that are right.

Two worlds, each of several oddities. `lonely`: one person, one film, and a platform with a catalogue and no events at all.
`alike`: a film that everyone has, a person who has everything, and ratings that are all equal. Both catalogues are in Chinese.
"""

import csv
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import DBT_PROJECT_DIR
from tests.e2e.conftest import Home, Say

LIST_LENGTH = 5
PEOPLE, FILMS, CONTENTS, TASTES = 60, 13, 12, 3
TOPICS = ("历史", "心理学", "编程")
FILM_TITLES = ["人人都看：开场", *(f"{TOPICS[place % TASTES]}影像·第{place}部" for place in range(1, FILMS))]
CONTENT_TITLES = [f"{TOPICS[place % TASTES]}入门（第{place}讲）" for place in range(CONTENTS)]
GLUTTON = "u00"


def write(file: Path, rows: Sequence[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def films(titles: Sequence[str]) -> list[dict[str, object]]:
    return [
        {"film_id": f"f{place}", "title": title, "kind": "movie", "genres": TOPICS[place % TASTES], "language": "zh"}
        for place, title in enumerate(titles)
    ]


def contents(titles: Sequence[str]) -> list[dict[str, object]]:
    return [
        {
            "content_id": f"c{place}",
            "title": title,
            "kind": "course",
            "topics": TOPICS[place % TASTES],
            "language": "zh",
        }
        for place, title in enumerate(titles)
    ]


def ratings(item: str, of: dict[str, list[int]]) -> list[dict[str, object]]:
    """Everyone's ratings of items by number, all of 4 stars."""
    prefix = item[0]
    return [
        {
            "event_id": f"{prefix}-{user}-{number}",
            "user_id": user,
            f"{item}_id": f"{prefix}{number}",
            "event_type": "rating",
            "occurred_at": f"2026-01-{1 + place:02}",
            "value": 4,
        }
        for user, numbers in of.items()
        for place, number in enumerate(numbers)
    ]


def liked(items: int, first: Sequence[int]) -> dict[str, list[int]]:
    """Three of each person's four items of their taste, after what everyone has; the first person has everything."""
    found: dict[str, list[int]] = {}
    for person in range(PEOPLE):
        own = [number for number in range(items) if number not in first and number % TASTES == person % TASTES]
        left_out = own[(person // TASTES) % len(own)]
        found[f"u{person:02}"] = [*first, *(number for number in own if number != left_out)]
    return found | {GLUTTON: list(range(items))}


def of_home(tmp_path_factory: pytest.TempPathFactory, say: Say, name: str) -> Home:
    home = Home(tmp_path_factory.mktemp(name) / "home", say)
    home.environment = {
        "ZHIYING_SECRET": "that of the worlds that are odd",
        "ZHIYING_LIST_LENGTH": str(LIST_LENGTH),
        "ZHIYING_CANDIDATES": "als_joint,als_content,content,item_neighbours_joint,segment_popularity",
    }
    return home


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory, say: Say) -> tuple[Home, dict[str, Any]]:
    """One person who has rated the only film; the knowledge platform delivers two contents and no event."""
    home = of_home(tmp_path_factory, say, "lonely")
    write(home.landing / "film/films/films.csv", films(FILM_TITLES[:1]))
    write(home.landing / "film/events/ratings.csv", ratings("film", {"u00": [0]}))
    write(home.landing / "knowledge/contents/contents.csv", contents(CONTENT_TITLES[:2]))
    status, said = home.zhiying("run")
    assert status == 0, said
    return home, said


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory, say: Say) -> tuple[Home, dict[str, Any]]:
    """Sixty people of three tastes on both platforms."""
    home = of_home(tmp_path_factory, say, "alike")
    write(home.landing / "film/films/films.csv", films(FILM_TITLES))
    write(home.landing / "film/events/ratings.csv", ratings("film", liked(FILMS, first=[0])))
    write(home.landing / "knowledge/contents/contents.csv", contents(CONTENT_TITLES))
    write(home.landing / "knowledge/events/ratings.csv", ratings("content", liked(CONTENTS, first=[])))
    write(
        home.landing / "identity/account_links/links.csv",
        [
            {"knowledge_user_id": user, "film_user_id": user, "method": "sso", "linked_at": "2026-01-01"}
            for user in liked(FILMS, first=[0])
        ],
    )
    status, said = home.zhiying("run")
    assert status == 0, said
    return home, said


@pytest.fixture(params=["lonely", "alike"])
def world(request: pytest.FixtureRequest) -> tuple[Home, dict[str, Any]]:
    found: tuple[Home, dict[str, Any]] = request.getfixturevalue(request.param)
    return found


def test_the_run_publishes(world: tuple[Home, dict[str, Any]]) -> None:
    home, said = world
    assert said["is_new"]
    assert home.publication == said["publication"]["id"]
    assert said["checks"]["blocking_failed"] == []


def test_everyone_has_as_long_a_list_of_what_they_do_not_have_as_there_can_be(
    world: tuple[Home, dict[str, Any]],
) -> None:
    home, _ = world
    people = {key for (key,) in home.ask("select user_key from core.dim_user")}
    items = home.ask("select item_key, domain from core.dim_item")
    had = set(home.ask("select distinct user_key, item_key from core.fct_interaction"))
    lists: dict[tuple[str, str], list[str]] = {}
    for user, domain, item in home.ask(
        "select user_key, target_domain, item_key from recommendations.user_item order by user_key, target_domain, rank"
    ):
        lists.setdefault((user, domain), []).append(item)
    assert people
    for user in people:
        for domain in ("film", "knowledge"):
            free = {item for item, own in items if own == domain and (user, item) not in had}
            own = lists.get((user, domain), [])
            assert set(own) <= free
            assert len(own) == len(set(own)) == min(LIST_LENGTH, len(free))


def test_every_chinese_sentence_is_whole(world: tuple[Home, dict[str, Any]]) -> None:
    """Each is a template of its code, filled with titles, topics and nothing else."""
    home, _ = world
    title = "|".join(re.escape(title) for title in (*FILM_TITLES, *CONTENT_TITLES))
    topic = "|".join(TOPICS)
    places = {
        "items": rf"(《({title})》)+(和《({title})》)?",
        "topics": rf"({topic})( / ({topic}))*",
        "segment": r"[^{}]+",
    }
    allowed: dict[str, list[str]] = {}
    with (DBT_PROJECT_DIR / "seeds/reason_templates.csv").open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            for template in (row["reason_zh"], row["reason_without_item_zh"]):
                parts = re.split(r"\{(\w+)\}", template)
                allowed.setdefault(row["reason_code"], []).append(
                    "".join(places[part] if place % 2 else re.escape(part) for place, part in enumerate(parts))
                )
    rows = home.ask("select reason_code, reason_zh, title from recommendations.user_item")
    assert rows
    for code, sentence, shown in rows:
        assert any(re.fullmatch(pattern, sentence) for pattern in allowed[code]), sentence
        assert shown in (*FILM_TITLES, *CONTENT_TITLES)


def test_scores_are_numbers_that_fall_along_a_list(world: tuple[Home, dict[str, Any]]) -> None:
    home, _ = world
    rows = home.ask(
        "select user_key, target_domain, score from recommendations.user_item order by user_key, target_domain, rank"
    )
    assert all(math.isfinite(score) for _, _, score in rows)
    assert all(first[2] >= second[2] for first, second in pairwise(rows) if first[:2] == second[:2])


def test_who_has_the_only_film_gets_the_contents_that_nobody_has_had_to_do_with(
    lonely: tuple[Home, dict[str, Any]],
) -> None:
    home, said = lonely
    assert home.ask("select count(*) from core.dim_user") == [(1,)]
    assert home.ask("select target_domain, count(*) from recommendations.user_item group by all") == [("knowledge", 2)]
    assert "people_without_a_list" in {check["name"] for check in said["checks"]["warned"]}


def test_who_has_everything_has_no_list_and_that_is_said(alike: tuple[Home, dict[str, Any]]) -> None:
    home, said = alike
    without = home.ask(
        "select count(*) from core.dim_user where user_key not in (select user_key from recommendations.user_item)"
    )
    assert without == [(1,)]
    everything = home.ask(
        "select user_key from core.fct_interaction group by all having count(distinct item_key) = $1", FILMS + CONTENTS
    )
    assert len(everything) == 1
    assert home.ask("select count(*) from recommendations.user_item where user_key = $1", everything[0][0]) == [(0,)]
    assert "people_without_a_list" in {check["name"] for check in said["checks"]["warned"]}


def test_what_everyone_has_is_recommended_to_nobody(alike: tuple[Home, dict[str, Any]]) -> None:
    home, _ = alike
    assert home.one("select count(distinct user_key) from core.fct_interaction where item_key = 'film:f0'") == PEOPLE
    assert home.one("select count(*) from recommendations.user_item where item_key = 'film:f0'") == 0


def test_what_is_left_of_a_persons_taste_is_first_where_all_ratings_are_equal(
    alike: tuple[Home, dict[str, Any]],
) -> None:
    """Each has one film of their taste left, among nine others that people of other tastes have just as often."""
    home, _ = alike
    own = home.one(
        """
        with tastes as (
            select user_key, mode(substr(item_key, 7)::integer % 3) as taste
            from core.fct_interaction
            where domain = 'film' and item_key <> 'film:f0'
            group by all
        )

        select avg((substr(lists.item_key, 7)::integer % 3 = tastes.taste)::integer)
        from recommendations.user_item as lists
        inner join tastes using (user_key)
        where lists.target_domain = 'film' and lists.rank = 1
        """
    )
    assert own > 0.8
