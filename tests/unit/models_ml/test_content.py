import marshal
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

import models_ml.content
from models_ml.content import FEATURE_KINDS, ContentConfig, ItemContent, item_content_from_arrow, tokens

KEEP_ALL = ContentConfig(min_items=1, max_share=1.0)
TERMS_ONLY = ContentConfig(topic_weight=0, person_weight=0, min_items=1, max_share=1.0)


def item_table(**items: dict[str, Any]) -> pa.Table:
    """One row per item; what is not given is NULL."""
    return pa.table(
        {
            "item_key": pa.array(list(items), pa.string()),
            **{
                name: pa.array([item.get(name) for item in items.values()], kind)
                for name, kind in (
                    ("title", pa.string()),
                    ("text", pa.string()),
                    ("topics", pa.list_(pa.string())),
                    ("people", pa.list_(pa.string())),
                )
            },
        }
    )


def content_of(config: ContentConfig = KEEP_ALL, **items: dict[str, Any]) -> ItemContent:
    return item_content_from_arrow(item_table(**items), pa.array(sorted(items), pa.string()), config)


def cosines(content: ItemContent) -> np.ndarray:
    return (content.features @ content.features.T).toarray()


def test_chinese_titles_are_cut_into_words_and_other_scripts_at_word_boundaries() -> None:
    assert list(tokens("肖申克的救赎")) == ["肖申克", "救赎"]
    assert list(tokens("霸王别姬 Farewell, My Concubine (1993)")) == [
        "霸王",
        "霸王别姬",
        "farewell",
        "concubine",
        "1993",
    ]
    assert list(tokens("ＡＩ时代:机器学习")) == ["ai", "时代", "机器", "学习"]
    assert list(tokens("Amélie à Paris")) == ["amélie", "paris"]


def test_a_title_of_stop_words_and_single_characters_has_no_words() -> None:
    assert list(tokens("The One and Only: 我们 的 一个 !? a")) == []


def test_words_weigh_as_in_the_tfidf_of_a_second_implementation() -> None:
    titles = {"a": "流浪地球", "b": "流浪地球2 the wandering earth", "c": "earth earth moon", "d": "moon landing"}
    content = content_of(TERMS_ONLY, **{key: {"title": title} for key, title in titles.items()})

    vectorizer = TfidfVectorizer(analyzer=lambda text: list(tokens(text)), sublinear_tf=True)
    expected = vectorizer.fit_transform(titles.values())

    assert content.names == tuple(vectorizer.get_feature_names_out())
    np.testing.assert_allclose(content.features.toarray(), expected.toarray(), rtol=1e-6)


def test_title_and_text_are_one_document() -> None:
    together = content_of(TERMS_ONLY, a={"title": "moon landing"}, b={"title": "moon"})
    apart = content_of(TERMS_ONLY, a={"title": "moon", "text": "landing"}, b={"text": "moon"})

    assert together.fingerprint() == apart.fingerprint()


def test_a_rare_topic_binds_more_than_a_common_one() -> None:
    content = content_of(
        a={"topics": ["drama", "chess"]},
        b={"topics": ["drama", "opera"]},
        c={"topics": ["chess", "opera"]},
        d={"topics": ["drama"]},
    )
    # idf = ln(5 / (1 + items)) + 1: chess and opera are on two items, drama on three.
    rare, common = np.log(5 / 3) + 1, np.log(5 / 4) + 1
    length = np.hypot(rare, common)

    assert content.names == ("chess", "drama", "opera")
    np.testing.assert_allclose(cosines(content)[0, 1], common**2 / length**2, rtol=1e-6)
    np.testing.assert_allclose(cosines(content)[0, 2], rare**2 / (length * np.hypot(rare, rare)), rtol=1e-6)


def test_the_cosine_is_the_mean_of_the_kinds_weighted_by_the_squares_of_the_weights() -> None:
    config = ContentConfig(topic_weight=3.0, person_weight=2.0, term_weight=1.0, min_items=1, max_share=1.0)
    items = {
        "a": {"topics": ["x", "y"], "people": ["Ann"], "title": "red house"},
        "b": {"topics": ["x"], "people": ["Ann", "Bob"], "title": "red boat"},
    }
    by_kind = [
        cosines(content_of(ContentConfig(*weights, min_items=1, max_share=1.0), **items))[0, 1]
        for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]

    np.testing.assert_allclose(cosines(content_of(config, **items))[0, 1], np.dot([9, 4, 1], by_kind) / 14, rtol=1e-5)


def test_rows_have_length_one_or_nothing() -> None:
    content = content_of(
        ContentConfig(min_items=1),
        full={"title": "moon", "topics": ["x"], "people": ["Ann"]},
        topic={"topics": ["x"]},
        stop_words={"title": "the 我们", "topics": [], "people": None},
        nothing={},
    )

    lengths = np.sqrt(content.features.multiply(content.features).sum(axis=1)).A1
    np.testing.assert_allclose(lengths, [1, 0, 0, 1], atol=1e-6)


def test_an_item_without_a_row_has_no_features_and_a_row_without_an_item_changes_nothing() -> None:
    keys = pa.array(["a", "b", "missing"])
    rows = {"a": {"topics": ["x"]}, "b": {"topics": ["x"]}}

    content = item_content_from_arrow(item_table(**rows, other={"topics": ["x", "z"]}), keys, KEEP_ALL)

    assert content.features.toarray().tolist() == [[1], [1], [0]]
    assert content.fingerprint() == item_content_from_arrow(item_table(**rows), keys, KEEP_ALL).fingerprint()


def test_spellings_are_one_feature_named_as_most_often_delivered() -> None:
    content = content_of(
        ContentConfig(),
        a={"topics": ["Sci-Fi", "科幻"], "people": ["吴京"]},
        b={"topics": ["sci-fi ", "科幻"], "people": [None, " 吴京 "]},
        c={"topics": ["Sci-Fi", "Ｓci-Fi", "", "科幻"], "people": []},
        d={"topics": ["科幻", "Sci-Fi"]},
    )

    assert content.names == ("Sci-Fi", "科幻", "吴京")
    assert [FEATURE_KINDS[kind] for kind in content.kinds] == ["topic", "topic", "person"]
    assert content.features.toarray()[2].tolist() == content.features.toarray()[3].tolist()


def test_topics_people_and_words_of_the_same_name_are_three_features() -> None:
    content = content_of(KEEP_ALL, a={"title": "lincoln", "topics": ["Lincoln"], "people": ["Lincoln"]})

    assert content.names == ("Lincoln", "Lincoln", "lincoln")


def test_features_of_one_item_and_words_of_too_many_are_dropped() -> None:
    items = {
        f"i{n:02}": {"title": f"always2 {'half' if n % 2 else ''} own{n}", "topics": ["drama", f"own {n}"]}
        for n in range(20)
    }
    config = ContentConfig(max_share=0.5)

    assert content_of(config, **items).names == ("drama", "half")
    # Of nine items a word that all have is kept: there is little else to go by.
    assert content_of(config, **dict(list(items.items())[:9])).names == ("drama", "always2", "half")


def test_the_most_widespread_features_stay_and_the_smaller_name_among_equals() -> None:
    items = {"a": {"topics": ["z", "m", "b"]}, "b": {"topics": ["z", "m", "b"]}, "c": {"topics": ["z"]}}

    assert content_of(ContentConfig(max_features=2), **items).names == ("b", "z")


def test_the_order_of_the_rows_and_of_the_lists_does_not_matter() -> None:
    items = {
        f"i{n}": {"title": f"moon {n % 3} 地球", "topics": [f"t{n % 4}", "x", f"T{n % 2}"], "people": [f"p{n % 5}"]}
        for n in range(12)
    }
    keys = pa.array(sorted(items))
    turned = {key: {**items[key], "topics": items[key]["topics"][::-1]} for key in reversed(items)}

    first = item_content_from_arrow(item_table(**items), keys)
    second = item_content_from_arrow(item_table(**turned), keys)

    assert first.fingerprint() == second.fingerprint()


def test_the_fingerprint_tells_values_names_and_kinds_apart() -> None:
    base = content_of(KEEP_ALL, a={"topics": ["x"]}, b={"topics": ["y"]})
    others = (
        content_of(KEEP_ALL, a={"topics": ["x"]}, b={"topics": ["z"]}),
        content_of(KEEP_ALL, a={"people": ["x"]}, b={"people": ["y"]}),
        content_of(KEEP_ALL, a={"topics": ["x", "y"]}, b={"topics": ["y"]}),
        content_of(KEEP_ALL, a={"topics": ["x"]}, b={"topics": ["y"]}, c={}),
    )

    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 5


def test_content_comes_back_from_its_arrays() -> None:
    content = content_of(KEEP_ALL, a={"topics": ["x", "y"], "title": "moon 地球"}, b={"people": ["Ann"]}, c={})

    assert ItemContent.from_arrays(content.to_arrays()).fingerprint() == content.fingerprint()


@pytest.mark.parametrize("keys", [[], ["a"], ["a", "b"]])
def test_a_catalogue_that_nothing_is_known_of_has_no_features(keys: list[str]) -> None:
    content = item_content_from_arrow(item_table(), pa.array(keys, pa.string()))

    assert content.features.shape == (len(keys), 0)
    assert ItemContent.from_arrays(content.to_arrays()).features.shape == (len(keys), 0)


def test_a_wrong_table_is_refused_by_name() -> None:
    table = item_table(a={}, b={})
    keys = pa.array(["a", "b"])
    with pytest.raises(ValueError, match="lacks the column\\(s\\) topics, people"):
        item_content_from_arrow(table.drop_columns(["topics", "people"]), keys)
    with pytest.raises(ValueError, match="item 'b' occurs twice"):
        item_content_from_arrow(pa.concat_tables([table, item_table(b={})]), keys)
    keys_with_null = pa.array(["a", None], pa.string())
    with pytest.raises(ValueError, match="item_key is NULL in row 1"):
        item_content_from_arrow(table.set_column(0, "item_key", keys_with_null), keys)


@pytest.mark.parametrize(
    "parameters",
    [
        {"topic_weight": -1.0},
        {"topic_weight": 0, "person_weight": 0, "term_weight": 0},
        {"term_weight": float("nan")},
        {"min_items": 0},
        {"max_share": 0.0},
        {"max_features": 0},
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ContentConfig(**parameters)


def test_features_cannot_be_changed_in_place() -> None:
    content = content_of(KEEP_ALL, a={"topics": ["x"]})
    with pytest.raises(ValueError, match="read-only"):
        content.features.data[0] = 2


def test_cutting_chinese_is_loaded_when_needed_says_nothing_and_leaves_the_temporary_folder_alone(
    tmp_path: Path,
) -> None:
    # A cache with other words, where jieba would look for one.
    (tmp_path / "jieba.cache").write_bytes(marshal.dumps(({"肖申": 10**9, "克的": 10**9, "救赎": 1}, 2 * 10**9)))
    program = (
        "import sys\n"
        "from content import tokens\n"
        "list(tokens('no Chinese here')); print('jieba' in sys.modules)\n"
        "print(*tokens('肖申克的救赎'))\n"
    )
    # The module alone, without the package and all that it loads.
    path = [str(Path(models_ml.content.__file__).parent), *sys.path]

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )

    assert done.stdout.split() == ["False", "肖申克", "救赎"]
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["jieba.cache"]
