"""A small publication with two people and four items, for tests that read one."""

from pathlib import Path

from orchestration.publication.build import build_publication
from orchestration.publication.promise import PromisedColumn, PromisedTable
from orchestration.publication.store import Publication, PublicationStore
from orchestration.resources.warehouse import connect


def promised_table(name: str, columns: dict[str, str], order_by: tuple[str, ...]) -> PromisedTable:
    schema, table = name.split(".")
    promised = tuple(PromisedColumn(column, kind, f"The {column}'s value.") for column, kind in columns.items())
    return PromisedTable(schema, table, f"One row per {order_by[0]}.", promised, order_by)


ITEM = promised_table("core.dim_item", {"item_key": "text", "item_id": "text", "title": "text"}, ("item_key",))
USER = promised_table("core.dim_user", {"user_key": "text", "is_linked": "boolean"}, ("user_key",))
ITEM_ITEM = promised_table(
    "recommendations.item_item",
    {
        "item_key": "varchar",
        "target_domain": "varchar",
        "rank": "integer",
        "related_item_key": "varchar",
        "related_title": "varchar",
        "score": "double",
        "strategy": "varchar",
    },
    ("item_key", "target_domain", "rank"),
)
USER_ITEM = promised_table(
    "recommendations.user_item",
    {
        "user_key": "varchar",
        "target_domain": "varchar",
        "rank": "integer",
        "item_key": "varchar",
        "item_id": "varchar",
        "title": "varchar",
        "score": "double",
        "strategy": "varchar",
        "reason_code": "varchar",
        "reason": "varchar",
        "reason_zh": "varchar",
        "reason_item_key": "varchar",
        "reason_item_key_2": "varchar",
        "reason_item_key_3": "varchar",
        "reason_topic": "varchar",
        "reason_segment": "varchar",
        "rule": "varchar",
        "reason_share": "double",
        "reason_share_2": "double",
        "reason_share_3": "double",
        "propensity": "double",
        "model_version": "varchar",
    },
    ("user_key", "target_domain", "rank"),
)
PROMISED = [ITEM, USER, ITEM_ITEM, USER_ITEM]


def write_build_file(file: Path) -> None:
    """Writes the tables that `PROMISED` promises; dim_item is unsorted on purpose."""
    with connect(file) as connection:
        connection.execute("create schema core; create schema recommendations")
        connection.execute(
            """
            create table core.dim_item as
            select domain || ':' || n as item_key, n::varchar as item_id, word as title
            from (values ('film', 2, 'Two'), ('film', 1, 'One'), ('knowledge', 3, 'Three [live]'), ('film', 3, 'Tree'))
                as item(domain, n, word)
            """
        )
        connection.execute(
            "create table core.dim_user as "
            "select * from (values ('ann', true), ('bob', false)) as person(user_key, is_linked)"
        )
        connection.execute(
            """
            create table recommendations.user_item as
            select 'ann' as user_key, domain as target_domain, rank::integer as rank, 'film:' || rank as item_key,
                rank::varchar as item_id, 'T' || rank as title, 1.0 / rank as score, 'als' as strategy,
                'because_you_enjoyed' as reason_code, 'Because.' as reason, '因为。' as reason_zh,
                'film:2' as reason_item_key, 'knowledge:3' as reason_item_key_2, null::varchar as reason_item_key_3,
                'drama' as reason_topic, null::varchar as reason_segment, null::varchar as rule,
                0.5::double as reason_share, 0.25::double as reason_share_2, null::double as reason_share_3,
                0.9::double as propensity, 'v1' as model_version
            from range(1, 4) as r(rank), (values ('film'), ('knowledge')) as d(domain)
            """
        )
        connection.execute(
            """
            create table recommendations.item_item as
            select 'film:1' as item_key, 'film' as target_domain, 1 as rank, 'film:2' as related_item_key,
                'Two' as related_title, 0.5::double as score, 'als' as strategy
            """
        )


def publish_sample(home: Path, publication_id: str = "20260101T000000000000Z-aaaaaaaa") -> Publication:
    """Publishes the sample in a home."""
    home.mkdir(parents=True, exist_ok=True)
    build_file = home / f"{publication_id}.build.duckdb"
    write_build_file(build_file)
    store = PublicationStore(home / "published")
    scratch = store.scratch(publication_id)
    content = build_publication(
        build_file, scratch / "publication.duckdb", scratch / "parquet", PROMISED, memory_limit="1GB"
    )
    document = {
        "publication_id": publication_id,
        "as_of": "2026-01-01 00:00:00",
        "data_version": "d",
        "code_version": "c",
        "rows": {name: table.rows for name, table in content.items()},
    }
    return store.put(scratch, document, keep=5)
