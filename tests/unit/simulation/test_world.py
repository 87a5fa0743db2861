"""The demo world: real film tastes, a believable catalogue, and behaviour that follows taste by the documented rule."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from simulation import movietweetings
from simulation.campaigns import BRIEFS
from simulation.catalogue import KINDS, load_subjects, load_works, subject_genre_weights
from simulation.clock import LAST_DAY
from simulation.movietweetings.build import MIN_RATINGS_PER_FILM, MIN_RATINGS_PER_PERSON, build_subset
from simulation.people import measure_taste
from simulation.seeding import gumbel_top, random_stream
from simulation.world import World, build_world


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(7)


def column(table: pa.Table, name: str) -> np.ndarray:
    return np.array(table[name].to_pylist(), dtype=object)


def test_the_packaged_subset_is_at_most_one_megabyte_and_carries_its_licence() -> None:
    files = [movietweetings.RATINGS_FILE, movietweetings.FILMS_FILE]

    assert sum(file.stat().st_size for file in files) <= 1_000_000
    assert "MIT License" in (movietweetings.FOLDER / "LICENSE").read_text()
    assert "Simon Dooms" in (movietweetings.FOLDER / "LICENSE").read_text()


def test_the_subset_is_as_dense_as_its_readme_says() -> None:
    ratings = movietweetings.read_ratings()

    assert min(Counter(ratings["person_id"].to_pylist()).values()) >= MIN_RATINGS_PER_PERSON
    assert min(Counter(ratings["film_id"].to_pylist()).values()) >= MIN_RATINGS_PER_FILM
    assert set(ratings["film_id"].to_pylist()) == set(movietweetings.read_films()["film_id"].to_pylist())


def test_the_subset_is_made_by_dropping_sparse_people_and_films(tmp_path: Path) -> None:
    people, films = 12, 10
    lines = [f"{p}::000000{f}::{(p + f) % 11}::{1_365_000_000 + p}" for p in range(1, people + 1) for f in range(films)]
    lines += ["99::0000001::5::1365000000", "98::0000099::5::1365000000"]
    (tmp_path / "ratings.dat").write_text("\n".join(lines) + "\n")
    (tmp_path / "movies.dat").write_text(
        "".join(f"000000{f}::Film: {f} (199{f})::Drama|War\n" for f in range(films)) + "0000099::Rare (2001)::\n"
    )

    assert build_subset(tmp_path, tmp_path) == (people * films, people, films)

    assert pq.read_table(tmp_path / "films.parquet").to_pylist()[3] == {
        "film_id": "0000003",
        "title": "Film: 3",
        "release_year": 1993,
        "genres": ["Drama", "War"],
    }


def test_a_source_without_ratings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"movies\.dat is missing"):
        build_subset(tmp_path, tmp_path)


def test_ratings_of_zero_to_ten_become_one_to_five_in_halves() -> None:
    assert movietweetings.rescale_rating(np.arange(11)).tolist() == [1, 1, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
    with pytest.raises(ValueError, match="found 11 to 11"):
        movietweetings.rescale_rating(np.array([11]))


def test_a_work_and_its_companions_are_a_series_and_nothing_else_is(world: World) -> None:
    contents = world.tables["knowledge/contents"]
    titles, series = column(contents, "title"), column(contents, "series")
    hand_written = {work.title for work in load_works()}
    companions = [(title, name) for title, name in zip(titles, series, strict=True) if title not in hand_written]
    assert companions
    assert all(name in title for title, name in companions)
    assert {name for name in series if name} == {name for _, name in companions}
    originals = [(title, name) for title, name in zip(titles, series, strict=True) if title in hand_written]
    assert {title for title, name in originals if name} == {name for _, name in companions}
    assert all(name in (None, title) for title, name in originals)


def test_film_events_are_the_real_ratings_and_nothing_else(world: World) -> None:
    events, ratings = world.tables["film/events"], movietweetings.read_ratings()

    assert len(events) == len(ratings)
    assert set(events["event_type"].to_pylist()) == {"rating"}
    assert events["film_id"].to_pylist() == ratings["film_id"].to_pylist()


def test_the_catalogue_has_six_hundred_items_of_all_kinds_with_titles_of_their_own(world: World) -> None:
    contents = world.tables["knowledge/contents"]
    titles = column(contents, "title")

    assert len(contents) == 600
    assert len(set(titles)) == 600
    assert set(column(contents, "kind")) == set(KINDS)
    assert not [summary for summary in column(contents, "summary") if "{" in summary or ".." in summary]


def test_every_subject_has_works_teachers_and_real_genres() -> None:
    genres = {genre for of_film in movietweetings.read_films()["genres"].to_pylist() for genre in of_film or ()}
    works = Counter(work.subject for work in load_works())

    for subject in load_subjects():
        assert works[subject.name] == 16
        assert len(set(subject.teachers)) == 3
        assert set(subject.genres) <= genres
    assert set(works) == {subject.name for subject in load_subjects()}
    np.testing.assert_allclose(subject_genre_weights(sorted(genres)).sum(axis=1), 1.0)


def test_prices_fit_the_kind(world: World) -> None:
    contents = world.tables["knowledge/contents"]
    price, kind = np.array(contents["price"].to_pylist()), column(contents, "kind")

    assert price[kind == "course"].min() > price[kind == "ebook"].max()
    assert (price[kind != "article"] > 0).all()


def test_taste_is_measured_as_documented() -> None:
    """One person, two films, by hand: a 10 counts 1, a 7 one half; a film of two genres counts half for each."""
    films = pa.table({"film_id": ["a", "b"], "genres": [["War"], ["War", "Drama"]]})
    ratings = pa.table({"person_id": [1, 1], "film_id": ["a", "b"], "rating": [10, 7], "rated_at": [5, 9]})

    taste = measure_taste(ratings, films)

    war, drama = 1 + 0.25, 0.25
    everybody = np.array([drama, war]) / 1.5
    share = (np.array([drama, war]) + 2 * everybody) / 3.5
    assert taste.genres == ("Drama", "War")
    np.testing.assert_allclose(taste.genre_lift[0], np.log(share / everybody))
    assert (taste.first_at[0], taste.last_at[0]) == (5, 9)
    assert taste.liked.toarray().tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(("genre", "subject_name"), [("Horror", "folklore"), ("Comedy", "comedy"), ("War", "war")])
def test_people_buy_more_of_the_subject_that_goes_with_the_genre_they_watch(
    world: World, genre: str, subject_name: str
) -> None:
    """Measured on what is delivered, not on what the simulation knows: shares of loved films against shares of purchases."""
    films = dict(
        zip(column(world.tables["film/films"], "film_id"), column(world.tables["film/films"], "genres"), strict=True)
    )
    share: dict[str, list[float]] = defaultdict(list)
    events = world.tables["film/events"].filter(pc.greater_equal(world.tables["film/events"]["value"], 4.0))
    for user, film in zip(column(events, "user_id"), column(events, "film_id"), strict=True):
        share[user].append(genre in (films[film] or ()))
    watched = {user: float(np.mean(of_user)) for user, of_user in share.items() if len(of_user) >= 5}

    topic = next(subject.topic for subject in load_subjects() if subject.name == subject_name)
    contents = world.tables["knowledge/contents"]
    fitting = {
        content_id
        for content_id, topics in zip(column(contents, "content_id"), column(contents, "topics"), strict=True)
        if topics[0] == topic
    }
    links = world.tables["identity/account_links"]
    film_user = dict(zip(column(links, "knowledge_user_id"), column(links, "film_user_id"), strict=True))
    bought: dict[str, list[bool]] = defaultdict(list)
    purchases = world.tables["knowledge/events"].filter(
        pc.equal(world.tables["knowledge/events"]["event_type"], "purchase")
    )
    for user, content in zip(column(purchases, "user_id"), column(purchases, "content_id"), strict=True):
        if film_user.get(user) in watched:
            bought[film_user[user]].append(content in fitting)

    users = sorted(bought, key=lambda user: watched[user])
    quarter = len(users) // 4
    rate = [
        float(np.mean([hit for user in part for hit in bought[user]])) for part in (users[:quarter], users[-quarter:])
    ]
    assert rate[1] > 2 * rate[0]
    assert rate[1] < 0.5  # taste pulls, it does not decide


def test_nobody_touches_an_item_before_it_is_published(world: World) -> None:
    contents, events = world.tables["knowledge/contents"], world.tables["knowledge/events"]
    published = dict(zip(column(contents, "content_id"), column(contents, "published_at"), strict=True))

    early = [
        (content, at)
        for content, at in zip(column(events, "content_id"), column(events, "occurred_at"), strict=True)
        if at < published[content]
    ]
    assert early == []


def test_a_refund_follows_a_purchase_of_the_same_item_for_the_same_amount(world: World) -> None:
    events = world.tables["knowledge/events"].select(["user_id", "content_id", "event_type", "occurred_at", "amount"])
    purchases = {
        (row["user_id"], row["content_id"]): row
        for row in events.filter(pc.equal(events["event_type"], "purchase")).to_pylist()
    }
    refunds = events.filter(pc.equal(events["event_type"], "refund")).to_pylist()

    assert refunds
    for refund in refunds:
        purchase = purchases[refund["user_id"], refund["content_id"]]
        assert purchase["occurred_at"] < refund["occurred_at"]
        assert purchase["amount"] == refund["amount"]


def test_values_are_what_their_event_type_allows(world: World) -> None:
    events = world.tables["knowledge/events"]
    kind, value = column(events, "event_type"), column(events, "value")
    ratings = value[kind == "rating"].astype(float)
    progress = value[kind == "progress"].astype(float)

    assert ratings.min() >= 1
    assert ratings.max() <= 5
    assert set(ratings * 2 % 1) == {0.0}
    assert progress.min() >= 0
    assert progress.max() <= 1
    assert set(value[~np.isin(kind.astype(str), ["rating", "progress"])]) == {None}


def test_three_of_five_film_people_have_a_known_knowledge_account(world: World) -> None:
    links = world.tables["identity/account_links"]

    share = len(set(links["film_user_id"].to_pylist())) / len(world.tables["film/users"])
    assert share == pytest.approx(0.6, abs=0.03)


def test_some_film_accounts_belong_to_a_household(world: World) -> None:
    links = Counter(world.tables["identity/account_links"]["film_user_id"].to_pylist())

    assert sum(count == 2 for count in links.values()) == 8


def test_marketing_consent_in_the_account_is_the_latest_one_given(world: World) -> None:
    latest: dict[tuple[str, str], tuple[object, bool]] = {}
    for row in world.tables["privacy/consents"].to_pylist():
        if row["purpose"] == "marketing":
            key = (row["platform"], row["user_id"])
            latest[key] = max(latest.get(key, (row["changed_at"], row["granted"])), (row["changed_at"], row["granted"]))

    for platform in ("film", "knowledge"):
        for row in world.tables[f"{platform}/users"].to_pylist():
            assert latest[platform, row["user_id"]][1] == row["marketing_consent"]


def test_campaigns_have_the_four_kinds_and_both_arms_with_a_propensity(world: World) -> None:
    exposures = world.tables["marketing/exposures"].to_pylist()
    arms = defaultdict(set)
    for row in exposures:
        arms[row["campaign_id"]].add(row["arm"])
        assert 0 < row["propensity"] <= 1
        assert (row["item_id"] is None) == (row["arm"] == "control")

    assert {brief.kind for brief in BRIEFS} == {"joint_promotion", "special_programme", "interactive", "cross_ad"}
    assert len(arms) == 5  # the draft reaches nobody
    assert all(found == {"treatment", "control"} for found in arms.values())


def test_two_campaigns_for_everybody_run_on_after_the_last_day(world: World) -> None:
    """Segments are made by a run, so that a brief that names one of its own would be refused."""
    rows = world.tables["marketing/campaigns"].to_pylist()
    assert not any(row.get("segment") for row in rows)
    last = datetime.combine(LAST_DAY, time.max)
    assert [
        row["name"] for row in rows if row["status"] == "approved" and row["starts_at"] < last < row["ends_at"]
    ] == [
        "Read It, Then Watch It",
        "Laugh and Learn",
    ]


def test_a_person_is_in_one_arm_of_a_campaign_and_within_its_frequency_cap(world: World) -> None:
    seen = defaultdict(list)
    for row in world.tables["marketing/exposures"].to_pylist():
        seen[row["campaign_id"], row["user_id"]].append(row["arm"])

    assert all(len(set(arms)) == 1 and len(arms) <= 3 for arms in seen.values())


def test_treatment_raises_conversion(world: World) -> None:
    exposures = {row["exposure_id"]: row for row in world.tables["marketing/exposures"].to_pylist()}
    people: dict[str, set[object]] = defaultdict(set)
    converted: dict[str, set[object]] = defaultdict(set)
    for row in exposures.values():
        people[row["arm"]].add((row["campaign_id"], row["user_id"]))
    for row in world.tables["marketing/responses"].to_pylist():
        exposure = exposures[row["exposure_id"]]
        assert row["occurred_at"] > exposure["shown_at"]
        if row["response_type"] == "conversion":
            converted[exposure["arm"]].add((exposure["campaign_id"], exposure["user_id"]))

    rate = {arm: len(converted[arm]) / len(people[arm]) for arm in ("treatment", "control")}
    assert rate["treatment"] > rate["control"] + 0.03


def test_a_campaign_shows_only_its_own_items_to_people_who_agreed(world: World) -> None:
    campaigns = {row["campaign_id"]: row for row in world.tables["marketing/campaigns"].to_pylist()}
    consent = {
        (platform, row["user_id"]): row["marketing_consent"]
        for platform in ("film", "knowledge")
        for row in world.tables[f"{platform}/users"].to_pylist()
    }
    for row in world.tables["marketing/exposures"].to_pylist():
        campaign = campaigns[row["campaign_id"]]
        assert row["item_id"] is None or row["item_id"] in campaign["item_ids"]
        assert row["platform"] == campaign["source_platform"]
        assert consent[row["platform"], row["user_id"]]
        assert campaign["starts_at"] <= row["shown_at"] <= campaign["ends_at"]


def test_nobody_follows_themselves_or_an_unknown_account(world: World) -> None:
    known = {
        (platform, user)
        for platform in ("film", "knowledge")
        for user in world.tables[f"{platform}/users"]["user_id"].to_pylist()
    }
    follows = world.tables["social/follows"].to_pylist()

    assert len(follows) > 1000
    for row in follows:
        assert row["user_id"] != row["follows_user_id"]
        assert {(row["platform"], row["user_id"]), (row["platform"], row["follows_user_id"])} <= known


def test_gumbel_top_draws_in_proportion_and_never_what_is_excluded() -> None:
    weights = np.tile([np.log(1.0), np.log(3.0), -np.inf, np.log(6.0)], (20_000, 1))

    first = gumbel_top(random_stream(1, "test"), weights, 3)

    np.testing.assert_allclose(np.bincount(first[:, 0], minlength=4) / 20_000, [0.1, 0.3, 0, 0.6], atol=0.015)
    assert not (first == 2).any()
    assert (np.sort(first, axis=1) == [0, 1, 3]).all()


def test_random_streams_of_two_parts_differ_and_repeat() -> None:
    one, again, other = (random_stream(5, part).random(4) for part in ("a", "a", "b"))

    assert (one == again).all()
    assert (one != other).all()
