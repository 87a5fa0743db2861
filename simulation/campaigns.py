"""Simulated marketing: six campaigns of the four kinds, who saw them, who was held out, and what they did.

Every person that a campaign may address is put in an arm by a fair coin weighted with the holdout share. Treated people see items
drawn from a softmax over their attraction, so that the propensity of each exposure is known. A treatment raises the odds of a
conversion, more for those whose taste it meets. Conversions of campaigns to the knowledge platform are purchases there as well.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa

from simulation.behaviour import EVENT_TYPES, Events, TakenItems
from simulation.catalogue import Catalogue, load_subjects
from simulation.clock import DAY_SECONDS, WORLD_END, as_timestamps, at_usual_hours, midnight
from simulation.people import FilmTaste, People
from simulation.seeding import Floats, Ints, random_stream

ITEMS_PER_CAMPAIGN = 12
_POLICY_SHARPNESS = 0.6


@dataclasses.dataclass(frozen=True)
class Brief:
    """What a campaign is meant to do.

    Attributes:
        name: Name.
        kind: One of the four kinds of the landing contract.
        source: Platform whose people are addressed.
        target: Platform to which they are brought.
        subjects: Subjects (target knowledge) or film genres (target film) that its items come from.
        channel: Where it is shown.
        first_day: First day.
        last_day: Last day.
        holdout: Share of people kept as control.
        audience: Number of people put in an arm.
        status: Status on the last day of the demo.
    """

    name: str
    kind: str
    source: str
    target: str
    subjects: tuple[str, ...]
    channel: str
    first_day: dt.date
    last_day: dt.date
    holdout: float
    audience: int
    status: str


BRIEFS = (
    Brief(
        "From the Screen to the Story", "cross_ad", "film", "knowledge", ("history", "lives", "literature", "war"),
        "app_banner", dt.date(2013, 7, 1), dt.date(2013, 7, 28), 0.2, 800, "ended",
    ),
    Brief(
        "Strange Skies", "special_programme", "film", "knowledge", ("astronomy", "physics", "technology"),
        "email", dt.date(2013, 7, 15), dt.date(2013, 8, 11), 0.2, 700, "ended",
    ),
    Brief(
        "Which Detective Are You?", "interactive", "knowledge", "film", ("Mystery", "Crime", "Film-Noir"),
        "in_app_quiz", dt.date(2013, 7, 22), dt.date(2013, 8, 25), 0.3, 700, "ended",
    ),
    Brief(
        "Read It, Then Watch It", "joint_promotion", "knowledge", "film", ("Drama", "Romance", "History"),
        "email", dt.date(2013, 8, 5), dt.date(2013, 9, 15), 0.2, 600, "approved",
    ),
    Brief(
        "Laugh and Learn", "cross_ad", "film", "knowledge", ("comedy", "drawing", "music", "food"),
        "app_banner", dt.date(2013, 8, 12), dt.date(2013, 9, 22), 0.2, 800, "approved",
    ),
    Brief(
        "Haunted October", "special_programme", "film", "knowledge", ("folklore", "mythology"),
        "email", dt.date(2013, 10, 1), dt.date(2013, 10, 31), 0.2, 0, "draft",
    ),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Marketing:
    """What the marketing channels deliver.

    Attributes:
        campaigns: Columns of `marketing/campaigns`.
        exposures: Columns of `marketing/exposures`, in order of time.
        responses: Columns of `marketing/responses`, in order of time.
        events: Views and purchases on the knowledge platform that campaigns led to.
    """

    campaigns: pa.Table
    exposures: pa.Table
    responses: pa.Table
    events: Events


def campaign_ids() -> list[str]:
    """Identifiers of the campaigns, in the order of `BRIEFS`."""
    return [f"sim-camp-{number}" for number in range(1, len(BRIEFS) + 1)]


def run_campaigns(
    seed: int, taste: FilmTaste, people: People, catalogue: Catalogue, attraction: Floats, taken: TakenItems
) -> Marketing:
    """Draws exposures and responses of all campaigns.

    Args:
        seed: Seed of the world.
        taste: Tastes of the film platform's people.
        people: The people of both platforms.
        catalogue: The knowledge catalogue.
        attraction: Attraction of people to knowledge items, shape (people, items).
        taken: What people take up without campaigns: nobody converts to an item they already have.

    Returns:
        The marketing tables and the events that campaigns led to.
    """
    rng = random_stream(seed, "campaigns")
    has_item = np.zeros((people.knowledge.user_id.size, catalogue.kind.size), dtype=bool)
    has_item[taken.account, taken.item] = True
    rows: list[dict[str, object]] = []
    exposures: list[dict[str, np.ndarray]] = []
    responses: list[dict[str, np.ndarray]] = []
    events: list[Events] = []
    exposed_before = 0
    for number, brief in enumerate(BRIEFS):
        to_knowledge = brief.target == "knowledge"
        items, item_ids = _campaign_items(rng, brief, taste, catalogue)
        rows.append(_campaign_row(number, brief, item_ids.tolist()))
        if not brief.audience:
            continue
        consent = people.film_consent[people.knowledge.person] if brief.source == "film" else people.knowledge_consent
        eligible = np.flatnonzero(people.knowledge.is_linked & consent)
        account = rng.choice(eligible, size=min(brief.audience, eligible.size), replace=False)
        person = people.knowledge.person[account]
        pull = attraction[person][:, items] if to_knowledge else _film_pull(taste, person, items)
        policy = np.exp(_POLICY_SHARPNESS * pull)
        policy /= policy.sum(axis=1, keepdims=True)

        treated = rng.random(account.size) >= brief.holdout
        repeats = np.where(treated, rng.integers(1, 4, account.size), 1)
        who = np.repeat(np.arange(account.size), repeats)
        chosen = (policy.cumsum(axis=1)[who] < rng.random(who.size)[:, None]).sum(axis=1).clip(max=items.size - 1)
        in_treatment = treated[who]
        propensity = np.where(in_treatment, (1 - brief.holdout) * policy[who, chosen], brief.holdout)
        begin, end = midnight(brief.first_day), midnight(brief.last_day) + DAY_SECONDS
        shown_at = at_usual_hours(rng, begin + rng.random(who.size) * (end - begin))
        inside = shown_at < WORLD_END
        who, chosen, in_treatment = who[inside], chosen[inside], in_treatment[inside]
        propensity, shown_at = propensity[inside], shown_at[inside]
        size = who.size
        user_ids = people.film_user_id[person] if brief.source == "film" else people.knowledge.user_id[account]
        exposures.append(
            {
                "number": np.arange(exposed_before, exposed_before + size),
                "campaign": np.full(size, number),
                "platform": np.full(size, brief.source, dtype=object),
                "user_id": user_ids[who],
                "item_id": np.array([*item_ids, None], dtype=object)[np.where(in_treatment, chosen, items.size)],
                "arm": np.where(in_treatment, "treatment", "control").astype(object),
                "propensity": np.round(propensity, 6),
                "channel": np.full(size, brief.channel, dtype=object),
                "shown_at": shown_at,
            }
        )

        meets = 1.0 / (1.0 + np.exp(-(pull[who, chosen] - 0.3)))
        amount = catalogue.price[items[chosen]] if to_knowledge else np.full(size, 3.99)
        converts = rng.random(size) < np.where(in_treatment, 0.015 + 0.10 * meets, 0.02)
        if to_knowledge:
            converts &= ~has_item[account[who], items[chosen]] & (amount > 0)
            converts &= catalogue.published_at[items[chosen]] < shown_at
        converts &= _first_of_pair(who, chosen)
        delay = 300 + rng.exponential(1.2 * DAY_SECONDS, size).astype(np.int64)
        clicks = in_treatment & (converts | (rng.random(size) < 0.05 + 0.15 * meets))
        hides = in_treatment & ~clicks & (rng.random(size) < 0.09)
        leaves = in_treatment & ~clicks & (rng.random(size) < 0.008)
        content = converts & in_treatment & (rng.random(size) < 0.4)
        stars = np.clip(np.round(3.4 + 0.8 * pull[who, chosen] + rng.normal(0, 0.8, size)), 1, 5)
        nothing = np.full(size, np.nan)
        for name, which, wait, value, paid in (
            ("click", clicks, np.full(size, 45), nothing, nothing),
            ("dismiss", hides, np.full(size, 20), nothing, nothing),
            ("unsubscribe", leaves, np.full(size, 90), nothing, nothing),
            ("conversion", converts, delay, nothing, amount),
            ("satisfaction", content, delay + 2 * DAY_SECONDS, stars, nothing),
        ):
            responses.append(
                {
                    "exposure": exposed_before + np.flatnonzero(which),
                    "response_type": np.full(int(which.sum()), name, dtype=object),
                    "value": value[which],
                    "amount": paid[which],
                    "at": (shown_at + wait)[which],
                }
            )
        if to_knowledge:
            # A control converts without the campaign: its purchase carries no campaign.
            led = np.where(in_treatment, number, -1)
            for name, which, at, paid in (
                ("view", clicks | converts, shown_at + np.where(in_treatment, 50, 250), nothing),
                ("purchase", converts, shown_at + delay, amount),
            ):
                events.append(
                    Events(
                        account=account[who][which],
                        item=items[chosen][which],
                        event_type=np.full(int(which.sum()), EVENT_TYPES.index(name)),
                        at=at[which],
                        value=nothing[which],
                        amount=paid[which],
                        campaign=led[which],
                    )
                )
        exposed_before += size
    return Marketing(
        campaigns=_campaigns_table(rows),
        exposures=_exposures_table(exposures),
        responses=_responses_table(responses),
        events=Events(
            **{
                field.name: np.concatenate([getattr(block, field.name) for block in events])
                for field in dataclasses.fields(Events)
            }
        ),
    )


def _campaign_items(
    rng: np.random.Generator, brief: Brief, taste: FilmTaste, catalogue: Catalogue
) -> tuple[Ints, np.ndarray]:
    """Numbers and identifiers of the items that a campaign is about."""
    if brief.target == "knowledge":
        wanted = [number for number, subject in enumerate(load_subjects()) if subject.name in brief.subjects]
        candidates = np.flatnonzero(np.isin(catalogue.subject, wanted) & (catalogue.price > 0))
        ids = np.array(catalogue.table["content_id"].to_pylist(), dtype=object)
    else:
        columns = [taste.genres.index(genre) for genre in brief.subjects]
        fits = taste.film_genres[:, columns].sum(axis=1) >= 0.5
        ranked = np.argsort(-np.where(fits, taste.film_popularity, 0), kind="stable")
        candidates = ranked[:60]
        ids = taste.film_id
    items = np.sort(rng.choice(candidates, size=ITEMS_PER_CAMPAIGN, replace=False))
    return items, ids[items]


def _film_pull(taste: FilmTaste, person: Ints, films: Ints) -> Floats:
    """How much people like the genres of films, standardised over people, shape (people, films)."""
    lift = taste.genre_lift @ taste.film_genres[films].T
    return np.asarray(((lift - lift.mean(axis=0)) / lift.std(axis=0))[person])


def _first_of_pair(who: Ints, item: Ints) -> np.ndarray:
    """True at the first exposure of each person to each item."""
    first = np.zeros(who.size, dtype=bool)
    first[np.unique(np.stack([who, item]), axis=1, return_index=True)[1]] = True
    return first


def _campaign_row(number: int, brief: Brief, item_ids: list[str]) -> dict[str, object]:
    cost = {"app_banner": 0.01, "email": 0.02, "in_app_quiz": 0.05}[brief.channel]
    return {
        "campaign_id": campaign_ids()[number],
        "name": brief.name,
        "kind": brief.kind,
        "objective": f"Simulated campaign: bring people of the {brief.source} platform to {' and '.join(brief.subjects)}.",
        "source_platform": brief.source,
        "target_platform": brief.target,
        "channel": brief.channel,
        "starts_at": midnight(brief.first_day),
        "ends_at": midnight(brief.last_day) + DAY_SECONDS - 1,
        "budget": 500.0 + 100.0 * number,
        "currency": "USD",
        "cost_per_exposure": cost,
        "value_per_conversion": 12.0 if brief.target == "knowledge" else 3.99,
        "frequency_cap": 3,
        "frequency_window_days": 28,
        "holdout_share": brief.holdout,
        "item_ids": item_ids,
        "status": brief.status,
        "updated_at": midnight(brief.first_day) - 5 * DAY_SECONDS
        if brief.status != "draft"
        else midnight(dt.date(2013, 8, 20)),
    }


def _campaigns_table(rows: list[dict[str, object]]) -> pa.Table:
    table = pa.Table.from_pylist(rows)
    for name in ("starts_at", "ends_at", "updated_at"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, as_timestamps(table[name].to_numpy()))
    return table


def _exposures_table(blocks: list[dict[str, np.ndarray]]) -> pa.Table:
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    order = np.lexsort((columns["number"], columns["shown_at"]))
    return pa.table(
        {
            "exposure_id": pa.array([f"sim-x{number:05d}" for number in columns["number"][order].tolist()]),
            "campaign_id": pa.array(np.array(campaign_ids(), dtype=object)[columns["campaign"][order]], pa.string()),
            **{name: pa.array(columns[name][order], pa.string()) for name in ("platform", "user_id", "item_id", "arm")},
            "propensity": pa.array(columns["propensity"][order]),
            "channel": pa.array(columns["channel"][order], pa.string()),
            "shown_at": as_timestamps(columns["shown_at"][order]),
        }
    )


def _responses_table(blocks: list[dict[str, np.ndarray]]) -> pa.Table:
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    inside = columns["at"] < WORLD_END
    columns = {name: column[inside] for name, column in columns.items()}
    order = np.lexsort((columns["response_type"].astype(str), columns["exposure"], columns["at"]))
    return pa.table(
        {
            "response_id": pa.array([f"sim-r{number:05d}" for number in range(1, order.size + 1)]),
            "exposure_id": pa.array([f"sim-x{number:05d}" for number in columns["exposure"][order].tolist()]),
            "response_type": pa.array(columns["response_type"][order], pa.string()),
            "value": pa.array(columns["value"][order], from_pandas=True),
            "amount": pa.array(columns["amount"][order], from_pandas=True),
            "occurred_at": as_timestamps(columns["at"][order]),
        }
    )
