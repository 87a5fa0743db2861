"""Since when people are in segments of which facts do not tell the past: interest, potential and taste.

Holds what is kept from run to run: who was in them at the moment of each run. Who is in them now is decided by those who make the
segments; stays of lifecycle and value follow from facts and are not kept.

What a run sees holds from its moment up to that of the next run. So a run replaces what is kept of this span and nothing else: the
same run again changes nothing, corrected facts correct it, and a run as of an earlier moment parts a span in two. Stays are
half-open, and none of one person in one family and platform overlaps another, as at no moment two were seen.
"""

import duckdb

OBSERVED_FAMILIES = ("interest", "potential", "taste")

_MADE = """
create table if not exists marketing.observed_run (as_of timestamp);
create table if not exists marketing.observed_stay (
    segment_key varchar, user_key varchar, entered_at timestamp, exited_at timestamp
);
create table if not exists marketing.observed_segment (
    segment_key varchar, family varchar, name varchar, platform varchar, definition varchar
);
"""

# An open end is infinity in between, so that it compares like any other.
_STAYS = """
create or replace table marketing.observed_stay as
with spans as (
    select
        runs.as_of as seen_at,
        coalesce(min(later.as_of), timestamp 'infinity') as seen_until
    from raw.run as runs
    left join marketing.observed_run as later on runs.as_of < later.as_of
    group by runs.as_of
),

stays as (
    select
        stays.* replace (coalesce(stays.exited_at, timestamp 'infinity') as exited_at),
        stays.entered_at <= spans.seen_until and coalesce(stays.exited_at, timestamp 'infinity') >= spans.seen_at
            as is_touched
    from marketing.observed_stay as stays
    cross join spans
),

touched as (
    select segment_key, user_key, entered_at, exited_at, false as is_seen from stays where is_touched
    union all
    select segment_key, user_key, null, null, true from marketing.defined_stay
    where list_contains($families, split_part(segment_key, ':', 1))
    union all
    select segment_key, user_key, null, null, true from marketing.taste_stay
),

pieces as (
    select
        touched.segment_key,
        touched.user_key,
        spans.seen_at,
        spans.seen_until,
        bool_or(touched.is_seen) as is_seen,
        min(touched.entered_at) filter (where touched.entered_at < spans.seen_at) as entered_before,
        max(touched.exited_at) filter (where touched.exited_at > spans.seen_until) as exited_after
    from touched
    cross join spans
    group by all
),

followed as (
    select segment_key, user_key, entered_at, exited_at from stays
    where not is_touched
    union all
    select
        segment_key,
        user_key,
        coalesce(entered_before, seen_at) as entered_at,
        if(is_seen, coalesce(exited_after, seen_until), seen_at) as exited_at
    from pieces
    where is_seen or entered_before is not null
    union all
    select segment_key, user_key, seen_until as entered_at, exited_after as exited_at from pieces
    where not is_seen and exited_after is not null
)

select segment_key, user_key, entered_at, nullif(exited_at, timestamp 'infinity') as exited_at
from followed
order by segment_key, user_key, entered_at;
"""

# What the latest run says goes; a run as of an earlier moment adds what is not told yet.
_SEGMENTS = """
create or replace table marketing.observed_segment as
with runs as (
    select bool_or(later.as_of is not null) as is_overtaken
    from raw.run as runs
    left join marketing.observed_run as later on runs.as_of < later.as_of
),

told as (
    select segment_key, family, name, platform, definition, true as is_kept from marketing.observed_segment
    union all
    select segment_key, family, name, platform, definition, false from marketing.known_segment
    where list_contains($families, family)
)

select told.segment_key, told.family, told.name, told.platform, told.definition
from told
cross join runs
qualify row_number() over (partition by told.segment_key order by told.is_kept != runs.is_overtaken) = 1
order by told.segment_key
"""

_RUN = """
insert into marketing.observed_run
select as_of from raw.run
where as_of not in (select as_of from marketing.observed_run)
"""


def observe_stays(connection: duckdb.DuckDBPyConnection) -> None:
    """Notes who is in segments of interest, potential and taste at the moment of the run.

    Changes `marketing.observed_stay` (key of segment and person, entered_at, exited_at), `observed_segment` (what each was when the
    latest run saw it) and `observed_run` (the moments); a part of the caller's transaction, so that a run that is killed leaves all
    of it as it was. Cost: one pass over all that is kept.

    Args:
        connection: Writer of the build file, with `marketing.defined_stay`, `taste_stay` and `known_segment` of this run.
    """
    families = {"families": list(OBSERVED_FAMILIES)}
    connection.execute(_MADE)
    connection.execute(_STAYS, families)
    connection.execute(_SEGMENTS, families)
    connection.execute(_RUN)
