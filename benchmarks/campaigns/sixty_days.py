"""Whether sixty days of campaigns, planned and handed over by the whole product, ever break a limit.

Usage: python -m benchmarks.campaigns.sixty_days --home DIR [--people N] [--days N] [--seed N]

A world of its own (docs/simulation.md) is run every day and answers the lists that it is handed. What was promised is then judged
without asking the product: from the lists themselves (`exports/*/*/list.parquet`), the landing files of consents, answers and
purchases, the countries of accounts, and the seed of limits. Known by the time of a decision is what the landing zone held by then.
Recommendations come from popularity alone unless ZHIYING_CANDIDATES says otherwise, which makes runs short; which items are
recommended is not judged here. The same call goes on with a home whose days are not all lived, and judges one whose days are.

All days are lived by one copy of the project, made at the first call in `project` of the home, so that a checkout in which somebody
works changes nothing on the way. In the copy the seed of limits is `sixty_days_limits.csv`, whose rows all bind in this world.

Limits judged, each as a number of lists' rows (or days) that break it: budget of each campaign and of all, pacing by day, contacts
of a person by campaign, by channel and in all in windows of the person's own calendar days, consent, both holdouts, suppression
after an answer or a purchase, stock, and that a contact is handed over once. How often the limits of the seed were reached is
counted beside, since one that never binds is not put to the test.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.figures import Figures, print_found
from models_ml.campaigns.holdout import held_out
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_DIR, Settings
from orchestration.simulate import DEFAULT_SEED, Loop, SimulatedDay, estimate, go_on, summary

PEOPLE, DAYS = 400, 60
LIMITS = Path(__file__).with_name("sixty_days_limits.csv")
# How much more than an even share of what is left a day may cost; a day may always cost one contact.
SLACK = 0.2

# A row of `handed` is a row of a list; of `answer` something that forbids a further contact, from `known_at` on.
_FACTS = """
create macro landing(name) as $landing || '/' || name;

create table campaign as
select
    campaign_id,
    source_platform,
    target_platform,
    channel,
    budget,
    cost_per_exposure as cost,
    frequency_cap,
    frequency_window_days,
    holdout_share,
    item_ids,
    starts_at::timestamp as starts_at,
    ends_at::timestamp as ends_at
from read_ndjson(landing('marketing/campaigns/*.ndjson'));

create table person as
select
    accounts.platform,
    accounts.user_id,
    accounts.user_key,
    coalesce(zones.time_zone, 'UTC') as time_zone
from restricted.account as accounts
left join (
    select 'film' as platform, user_id, country from read_parquet(landing('film/users/*.parquet'))
    union all
    select 'knowledge' as platform, user_id, country from read_parquet(landing('knowledge/users/*.parquet'))
) as users on accounts.platform = users.platform and accounts.user_id = users.user_id
left join read_csv($seeds || '/country_time_zones.csv', header = true, all_varchar = true) as zones
    on users.country = zones.country;

create table list_limit as
select * from read_csv($seeds || '/campaign_limits.csv', header = true) where is_active;

create table handed as
select
    lists.*,
    person.user_key,
    campaign.cost,
    campaign.target_platform || ':' || lists.item_id as item_key,
    strptime(split_part(lists.filename, '/', -3), '%Y-%m-%d')::date as contact_date,
    (lists.not_before::timestamptz at time zone person.time_zone)::date as local_date,
    decisions.decided_at
from read_parquet($home || '/exports/*/*/list.parquet', filename = true) as lists
inner join campaign on lists.campaign_id = campaign.campaign_id
left join person on lists.platform = person.platform and lists.user_id = person.user_id
left join (
    select as_of::timestamp as decided_at, unnest(handed_dates)::date as handed_date
    from read_json($home || '/decisions/*/plan.json', union_by_name = true)
) as decisions on strptime(split_part(lists.filename, '/', -3), '%Y-%m-%d')::date = decisions.handed_date;

create table exposure as
select * from read_parquet(landing('marketing/exposures/*/*.parquet'), union_by_name = true);

create table answer as
select
    'campaign' as reach,
    exposure.campaign_id,
    exposure.platform,
    exposure.user_id,
    responses.occurred_at as known_at
from read_parquet(landing('marketing/responses/*/*.parquet'), union_by_name = true) as responses
inner join exposure on responses.exposure_id = exposure.exposure_id
where responses.response_type in ('dismiss', 'conversion')
union all
select
    'platform' as reach,
    null as campaign_id,
    exposure.platform,
    exposure.user_id,
    responses.occurred_at
from read_parquet(landing('marketing/responses/*/*.parquet'), union_by_name = true) as responses
inner join exposure on responses.exposure_id = exposure.exposure_id
where responses.response_type = 'unsubscribe'
union all
select
    'campaign' as reach,
    campaign.campaign_id,
    source.platform,
    source.user_id,
    events.occurred_at
from (
    select 'film' as platform, user_id, film_id as item_id, event_type, occurred_at
    from read_parquet(landing('film/events/*/*.parquet'), union_by_name = true)
    union all
    select 'knowledge' as platform, user_id, content_id, event_type, occurred_at
    from read_parquet(landing('knowledge/events/*/*.parquet'), union_by_name = true)
) as events
inner join campaign on events.platform = campaign.target_platform and list_contains(campaign.item_ids, events.item_id)
inner join person as buyer on events.platform = buyer.platform and events.user_id = buyer.user_id
inner join person as source on buyer.user_key = source.user_key and campaign.source_platform = source.platform
where events.event_type = 'purchase';

create table consent as
select * from read_parquet(landing('privacy/consents/**/*.parquet'), union_by_name = true) where purpose = 'marketing';
"""

_WITHIN = (
    "other.user_key = handed.user_key and other.local_date between handed.local_date - {days} + 1 and handed.local_date"
)
# Days of lists, up to that of `handed`, that a limit counts together.
_IN_WINDOW = (
    "other.contact_date between "
    "coalesce(handed.contact_date - list_limit.window_days::integer + 1, date '1970-01-01') and handed.contact_date"
)

# Name of the limit: a query that gives the rows that break it.
_BROKEN = {
    "budget of a campaign": """
        select handed.campaign_id from handed inner join campaign on handed.campaign_id = campaign.campaign_id
        group by all having sum(handed.cost) > any_value(campaign.budget) + 1e-9
    """,
    "pacing by day": f"""
        with spent as (
            select campaign_id, contact_date, sum(cost) as cost, any_value(cost) as of_one from handed group by all
        ),

        days as (
            select
                spent.*,
                campaign.budget - coalesce(sum(spent.cost) over earlier, 0) as money_left,
                date_diff('day', spent.contact_date, campaign.ends_at::date) + 1 as days_left
            from spent inner join campaign on spent.campaign_id = campaign.campaign_id
            window earlier as (
                partition by spent.campaign_id order by spent.contact_date rows between unbounded preceding and 1 preceding
            )
        )

        select * from days where cost > greatest((1 + {SLACK}) * money_left / days_left, of_one) + 1e-9
    """,
    "contacts of a person by a campaign": f"""
        select handed.exposure_id
        from handed
        inner join campaign on handed.campaign_id = campaign.campaign_id
        inner join handed as other on handed.campaign_id = other.campaign_id
            and {_WITHIN.format(days="coalesce(campaign.frequency_window_days, 7)::integer")}
        group by all
        having count(*) > any_value(coalesce(campaign.frequency_cap, 1))
    """,
    "contacts of a person by a channel on a day": """
        select user_key, channel, local_date from handed group by all having count(*) > 1
    """,
    "consent when it was decided": """
        select handed.exposure_id
        from handed
        asof left join consent on handed.platform = consent.platform and handed.user_id = consent.user_id
            and handed.decided_at >= consent.changed_at
        where consent.granted is distinct from true
    """,
    "suppressed by an answer or a purchase": """
        select handed.exposure_id
        from handed
        semi join answer on handed.platform = answer.platform and handed.user_id = answer.user_id
            and (answer.reach = 'platform' or handed.campaign_id = answer.campaign_id)
            and answer.known_at <= handed.decided_at
    """,
    "handed over twice": "select exposure_id from handed group by all having count(*) > 1",
    "not of a known account or decision": "select * from handed where user_key is null or decided_at is null",
    "outside of the campaign's days": """
        select handed.exposure_id
        from handed inner join campaign on handed.campaign_id = campaign.campaign_id
        where handed.local_date not between campaign.starts_at::date and campaign.ends_at::date
            or handed.local_date <> handed.contact_date
    """,
    "shown without having been handed over": """
        select * from exposure anti join handed on exposure.exposure_id = handed.exposure_id
    """,
}

# Of the rows of the seed of each kind: how much of the amount the contacts of a window have used, and how little may be left for
# it to count as reached: less than one contact, or less than a tenth of the money. The plan counts as money what contacts of
# held-out people would cost, and that is never spent.
_USED = {
    "contact_cap": f"""
        select list_limit.limit_id, handed.exposure_id, list_limit.amount, count(*) as used, 1 as least
        from handed
        inner join list_limit on list_limit.limit_kind = 'contact_cap'
            and (list_limit.channel is null or list_limit.channel = handed.channel)
        inner join handed as other on (list_limit.channel is null or list_limit.channel = other.channel)
            and {_WITHIN.format(days="list_limit.window_days::integer")}
        group by all
    """,
    "stock": f"""
        select list_limit.limit_id, handed.contact_date, list_limit.amount, count(*) as used, 1 as least
        from (select distinct contact_date from handed) as handed
        inner join list_limit on list_limit.limit_kind = 'stock'
        inner join handed as other on list_limit.item_key = other.item_key and {_IN_WINDOW}
        group by all
    """,
    "total_budget": f"""
        select
            list_limit.limit_id, handed.contact_date, list_limit.amount, sum(other.cost) as used,
            0.1 * list_limit.amount as least
        from (select distinct contact_date from handed) as handed
        inner join list_limit on list_limit.limit_kind = 'total_budget'
        inner join handed as other on {_IN_WINDOW}
        group by all
    """,
}
_BROKEN |= {
    name: f"select * from ({_USED[kind]}) where used > amount + 1e-9"
    for name, kind in (
        ("contacts of a person in all", "contact_cap"),
        ("stock", "stock"),
        ("budget of all campaigns", "total_budget"),
    )
}
# How often nothing more of a row of the seed was left.
_REACHED = """
    with used as (select limit_id, used + least > amount + 1e-9 as is_reached from ({used}))

    select list_limit.limit_id, count(*) filter (where used.is_reached)
    from list_limit left join used on list_limit.limit_id = used.limit_id
    where list_limit.limit_kind = ?
    group by all
    order by all
"""


def run(home: Path, people: int = PEOPLE, days: int = DAYS, seed: int = DEFAULT_SEED) -> Figures:
    """Lives the days in a home, as far as they were not lived there, and judges what was handed over.

    Args:
        home: Folder of the home; new, or one that this made.
        people: Number of people.
        days: Days of campaigns.
        seed: Seed of the world.

    Returns:
        `figures` and `requirements`: lines of name, value, interval, required, holds.

    Raises:
        subprocess.CalledProcessError: If a day cannot be lived; what failed is on the standard error stream.
    """
    project = home.resolve() / "project"
    if not project.exists():
        _copy_project(project)
    arguments = ["--home", str(home.resolve()), "--people", str(people), "--days", str(days), "--seed", str(seed)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.campaigns.sixty_days", *arguments, "--here"],
        cwd=project,
        stdout=subprocess.PIPE,
        check=False,
    )
    # 1 says that a requirement does not hold, or that a day could not be lived: then nothing is printed.
    if not done.stdout:
        done.check_returncode()
    found: Figures = json.loads(done.stdout)
    return found


def _copy_project(project: Path) -> None:
    """The project under other limits, whole or not at all."""
    scratch = project.with_name(".project.copying")
    shutil.rmtree(scratch, ignore_errors=True)
    made_by_runs = shutil.ignore_patterns("__pycache__", "target", "logs")
    for folder in ("benchmarks", "dbt_project", "models_ml", "orchestration", "simulation"):
        shutil.copytree(PROJECT_DIR / folder, scratch / folder, ignore=made_by_runs)
    shutil.copy(LIMITS, scratch / "dbt_project" / "seeds" / "campaign_limits.csv")
    scratch.rename(project)


def live_here(home: Path, people: int, days: int, seed: int) -> Figures:
    """The same, by the project that this module is a part of."""
    os.environ.setdefault("ZHIYING_CANDIDATES", "popularity")
    settings = Settings.from_environment({**os.environ, "ZHIYING_HOME": str(home)})
    loop = Loop.of(settings, people, days, seed)
    started, before = time.monotonic(), len(loop.lines)

    def tell(line: SimulatedDay) -> None:
        print(line.date, line.contacts, "contacts, true value", round(line.true_value, 2), file=sys.stderr, flush=True)

    go_on(settings, loop, tell, lambda *_: None)
    lived: Figures = summary(loop.lines, loop.measured or (None, None, None)) | {"people": people}
    if new := len(loop.lines) - before:
        lived["seconds_per_day"] = (time.monotonic() - started) / new
    return judge(settings, lived, days)


def judge(settings: Settings, lived: Figures, days: int) -> Figures:
    """Counts what breaks a limit.

    Args:
        settings: Of a home in which days were lived.
        lived: Figures of those days, to stand first.
        days: How many there should be.
    """
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        accounts = duckdb.connect(str(settings.restricted_dir / "accounts.duckdb"), read_only=True)
        connection.execute("create schema restricted")
        account = accounts.execute("from account").to_arrow_table()
        connection.register("known_account", account)
        connection.execute("create table restricted.account as from known_account")
        folders = {"landing": settings.landing, "home": settings.home, "seeds": DBT_PROJECT_DIR / "seeds"}
        for statement in filter(str.strip, _FACTS.split(";")):
            # Parameters are not taken where tables and macros are made.
            for name, folder in folders.items():
                statement = statement.replace(f"${name}", f"'{folder}'")
            connection.execute(statement)
        broken = {name: len(connection.execute(query).fetchall()) for name, query in _BROKEN.items()}
        broken |= _held_out_and_handed(connection)
        ((contacts, on_days, reached),) = connection.execute(
            "select count(*), count(distinct contact_date), count(distinct user_key) from handed"
        ).fetchall()
        limits = connection.execute(
            "select limit_kind, channel, item_key, amount, window_days from list_limit order by all"
        ).to_arrow_table()
        by_campaign = connection.execute(
            "select campaign_id, count(*), round(sum(cost), 2) from handed group by all order by all"
        ).fetchall()
        reached_limits = {
            limit: times
            for kind, used in _USED.items()
            for limit, times in connection.execute(_REACHED.format(used=used), [kind]).fetchall()
        }
        ((answers, withdrawn),) = connection.execute(
            "select (select count(*) from answer), (select count(*) from consent where not granted)"
        ).fetchall()
    figures = {
        **lived,
        "rows_of_lists": contacts,
        "days_with_a_list": on_days,
        "people_reached": reached,
        "limits_of_the_seed": limits.to_pylist(),
        "answers_and_purchases_that_suppress": answers,
        "refusals_of_consent": withdrawn,
        "by_campaign": {name: {"contacts": rows, "cost": cost} for name, rows, cost in by_campaign},
        "measured_in_the_end": estimate(settings)[0],
    }
    requirements = [
        {"name": f"broken: {name}", "value": count, "interval": None, "required": "0", "holds": count == 0}
        for name, count in broken.items()
    ]
    requirements += [
        {"name": f"reached: {name}", "value": times, "interval": None, "required": "> 0", "holds": times > 0}
        for name, times in reached_limits.items()
    ]
    requirements.append(
        {
            "name": "days with a list",
            "value": on_days,
            "interval": None,
            "required": f"{days}",
            "holds": on_days >= days,
        }
    )
    requirements.append(
        {"name": "rows of lists", "value": contacts, "interval": None, "required": "> 0", "holds": contacts > 0}
    )
    return {"figures": figures, "requirements": requirements}


def _held_out_and_handed(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows of lists whose person the salted hash holds out of everything, or of the campaign."""
    rows = connection.execute(
        "select handed.user_key, handed.campaign_id, campaign.holdout_share "
        "from handed inner join campaign on handed.campaign_id = campaign.campaign_id"
    ).to_arrow_table()
    share = connection.execute("select max(amount) from list_limit where limit_kind = 'global_holdout'").fetchall()[0][
        0
    ]
    of_campaigns = 0
    for group in rows.group_by(["campaign_id", "holdout_share"]).aggregate([("user_key", "list")]).to_pylist():
        out = held_out(group["user_key_list"], f"campaign/{group['campaign_id']}", group["holdout_share"])
        of_campaigns += int(out.sum())
    keys: pa.ChunkedArray = rows["user_key"]
    of_all = int(held_out(keys.to_pylist(), "global", share or 0.0).sum())
    return {"held out of everything": of_all, "held out of the campaign": of_campaigns}


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument(
        "--here", action="store_true", help="live by this project and its seed of limits, not by a copy"
    )
    arguments = parser.parse_args()
    live = live_here if arguments.here else run
    return print_found(live(arguments.home, arguments.people, arguments.days, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
