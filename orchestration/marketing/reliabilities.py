"""Whether predicted probabilities of answers come true, as tables.

Holds what was predicted for contacts against what followed them, and how a reliability table is written. The table itself is made
by `models_ml.campaigns.reliability`.
"""

import duckdb
import numpy as np
import pyarrow as pa

from models_ml.campaigns.reliability import Reliability, reliability
from orchestration.marketing.outcomes import FOLLOW_UP_DAYS

# What is judged: plans by what followed, whatever they rested on; or the model of the present plan on what it did not learn from.
DECIDED, PRESENT = "decided", "present"
CONVERSION, CLICK = "conversion", "click"

RELIABILITY_SCHEMA = pa.schema(
    [
        ("reliability_key", pa.string()),
        ("model", pa.string()),
        ("answer", pa.string()),
        ("bin", pa.int32()),
        ("contacts", pa.int64()),
        ("predicted", pa.float64()),
        ("observed", pa.float64()),
        ("observed_low", pa.float64()),
        ("observed_high", pa.float64()),
    ]
)

# Each contact of the ledger that was shown, and whether within as many days as were predicted it was clicked, and a conversion is
# credited to it as the last exposure before.
_FOLLOWED = f"""
with shown as (
    select
        contacts.contact_key,
        contacts.p_conversion,
        contacts.p_click,
        exposures.exposure_key,
        exposures.shown_at
    from marketing.past_contact as contacts
    inner join core.fct_exposure as exposures on md5(contacts.contact_key) = exposures.exposure_key
    cross join raw.run as runs
    where
        contacts.arm = 'treatment'
        and exposures.shown_at + interval {FOLLOW_UP_DAYS} day <= runs.as_of
),

converting as (
    select distinct exposure_key from marketing.measured_attribution
    where last = 1
),

clicked as (
    select distinct shown.exposure_key
    from shown
    inner join core.fct_response as responses on shown.exposure_key = responses.exposure_key
    where
        responses.response_type = 'click'
        and responses.occurred_at < shown.shown_at + interval {FOLLOW_UP_DAYS} day
)

select
    shown.p_conversion,
    shown.p_click,
    converting.exposure_key is not null as conversion,
    clicked.exposure_key is not null as click
from shown
left join converting on shown.exposure_key = converting.exposure_key
left join clicked on shown.exposure_key = clicked.exposure_key
order by shown.contact_key
"""


def followed_reliability(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Predictions at decision against what followed the contacts that were shown, in `RELIABILITY_SCHEMA`.

    Args:
        connection: Reader of the build file, with what was measured.
    """
    rows = connection.execute(_FOLLOWED).fetchnumpy()
    tables = []
    for answer in (CONVERSION, CLICK):
        predicted = np.ma.filled(np.ma.asarray(rows[f"p_{answer}"], np.float64), np.nan)
        known = ~np.isnan(predicted)
        answered = np.asarray(rows[answer], bool)[known]
        found = reliability(predicted[known], answered) if known.any() else None
        tables.append(reliability_table(DECIDED, answer, found))
    return pa.concat_tables(tables)


def reliability_table(model: str, answer: str, found: Reliability | None) -> pa.Table:
    """One row a bin, in `RELIABILITY_SCHEMA`; none if there was nothing to judge.

    Args:
        model: `DECIDED` or `PRESENT`.
        answer: What was predicted.
        found: The reliability.
    """
    if found is None:
        return RELIABILITY_SCHEMA.empty_table()
    bins = np.arange(1, len(found.rows) + 1)
    columns = {
        "reliability_key": [f"{model}/{answer}/{number}" for number in bins],
        "model": [model] * len(bins),
        "answer": [answer] * len(bins),
        "bin": bins,
        "contacts": found.rows,
        "predicted": found.predicted,
        "observed": found.observed,
        "observed_low": found.low,
        "observed_high": found.high,
    }
    return pa.table(columns).cast(RELIABILITY_SCHEMA)
