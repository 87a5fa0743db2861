"""The shapes of a plan and of its contacts: planned, handed over, or held out for comparison.

The plan writes them, the ledger keeps them, and measurement reads contacts. What each column means to a reader stands in the
contracts of `marketing.plan` and `marketing.contact`.
"""

import pyarrow as pa

TREATMENT, CONTROL = "treatment", "control"
HANDED_OVER, PLANNED = "handed_over", "planned"

CONTACT_SCHEMA = pa.schema(
    [
        ("contact_key", pa.string()),
        ("plan_id", pa.string()),
        ("campaign_key", pa.string()),
        ("user_key", pa.string()),
        ("item_key", pa.string()),
        ("platform", pa.string()),
        ("channel", pa.string()),
        ("contact_date", pa.date32()),
        ("not_before", pa.timestamp("us")),
        ("not_after", pa.timestamp("us")),
        ("arm", pa.string()),
        ("status", pa.string()),
        ("propensity", pa.float64()),
        ("p_click", pa.float64()),
        ("p_conversion", pa.float64()),
        ("uplift", pa.float64()),
        ("expected_value", pa.float64()),
        ("cost", pa.float64()),
        ("currency", pa.string()),
        ("is_explored", pa.bool_()),
        ("segment_keys", pa.list_(pa.string())),
        ("decided_at", pa.timestamp("us")),
        # What models learn from later and nothing could say again: scores change, and so does whom exploration draws.
        ("score_share", pa.float64()),
        ("draw_propensity", pa.float64()),
    ]
)

PLAN_SCHEMA = pa.schema(
    [
        ("plan_id", pa.string()),
        ("as_of", pa.timestamp("us")),
        ("first_date", pa.date32()),
        ("last_date", pa.date32()),
        ("handed_until", pa.date32()),
        ("currency", pa.string()),
        ("campaigns", pa.int32()),
        ("eligible_people", pa.int32()),
        ("candidates", pa.int64()),
        ("contacts", pa.int32()),
        ("contacts_handed_over", pa.int32()),
        ("expected_value", pa.float64()),
        ("cost", pa.float64()),
        ("upper_bound", pa.float64()),
        ("lp_optimum", pa.float64()),
        ("gap", pa.float64()),
        ("method", pa.string()),
        ("value_source", pa.string()),
        ("value_reason", pa.string()),
        ("click_source", pa.string()),
        ("qini", pa.float64()),
        ("qini_low", pa.float64()),
        ("qini_high", pa.float64()),
        ("qini_of_response", pa.float64()),
    ]
)
