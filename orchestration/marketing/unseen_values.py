"""What the product's valuation of today says of contacts that it has not learnt from.

A rule that was learnt from what people did cannot be judged by the same people: it would be praised for their chance. So people are
split by lot in two; contacts of each half are valued by what the other half alone did. The lot is a hash of the person's key, so
that nobody changes sides when others come or go. Nothing of a person's own answers is in the value of their contacts, nor in the
choice of the model; what is known of them is what was known when each contact was decided.
Measured rates are of everyone and so are left out: the level is learnt from the other half too.

Source: cross-fitting: Chernozhukov et al., "Double/debiased machine learning", The Econometrics Journal 2018; of a learnt policy:
Athey and Wager, "Policy learning with observational data", Econometrica 2021.
"""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models_ml.campaigns.holdout import hash_share
from models_ml.campaigns.valuation import RatePriors, ValuationConfig, value_contacts
from orchestration.marketing.contact_candidates import SEGMENTS, numbered_people, read_history

Floats = NDArray[np.float64]

HALVES = 2


def unseen_uplift(connection: duckdb.DuckDBPyConnection, contact_keys: pa.Array, seed: int) -> Floats:
    """Uplift of contacts of the ledger by the valuation of today, learnt from other people.

    Two valuations, each with half of history; the cost of one is in `models_ml.campaigns.valuation`.

    Args:
        connection: To the build file, after the load of the ledger; temporary tables are made and dropped.
        contact_keys: The contacts, of either arm, shape (contacts,).
        seed: Seed of the halves and of the valuation.

    Returns:
        What contact adds to the probability of a conversion, shape (contacts,); NaN where history does not hold the contact.
    """
    found = np.full(len(contact_keys), np.nan)
    if not len(contact_keys):
        return found
    ((segments,),) = connection.execute(_KNOWN_SEGMENTS, {"segments": SEGMENTS}).fetchall()
    with numbered_people(connection):
        known = read_history(connection, segments)
        users = [user for (user,) in connection.execute(_USERS).fetchall()]
    if known is None:
        return found
    keys, history = known
    row = np.asarray(pc.index_in(contact_keys, keys).fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    people, number = np.unique(history.features.person, return_inverse=True)
    share = hash_share((users[person] for person in people), f"unseen_values/{seed}")
    half = (share * HALVES).astype(np.int64)[number]
    for own in range(HALVES):
        judged = np.flatnonzero((row >= 0) & (half[row] == own))
        if len(judged):
            valuation = value_contacts(
                history.features.at(row[judged]),
                history.at(np.flatnonzero(half != own)),
                RatePriors.unknown(len(segments)),
                ValuationConfig(seed=seed),
            )
            found[judged] = valuation.uplift
    return found


# In the order of their numbers, from 0.
_USERS = "select user_key from temp.plan_person order by person"

# Of the segments that answers differ by, those that anybody was in when contacted.
_KNOWN_SEGMENTS = """
select coalesce(list(distinct segment_key order by segment_key), cast([] as varchar[]))
from (select unnest(segment_keys) as segment_key from marketing.past_contact)
where starts_with(segment_key, $segments)
"""
