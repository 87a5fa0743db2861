"""What items are about, as one sparse matrix with readable columns.

Holds the way from a table of titles, texts, topics and people to weighted features: TF-IDF of each kind, kinds put side by
side, rows of length 1. Who likes what is in `interactions`; the models that use the features are `content_model` and
`cold_items`. Items of all domains share one feature index, which is what lets a topic lead from one to another.
"""

import dataclasses
import functools
import hashlib
import re
import unicodedata
import warnings
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array, hstack
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfTransformer

if TYPE_CHECKING:
    import jieba

FEATURE_KINDS = ("topic", "person", "term")
REQUIRED_COLUMNS = ("item_key", "title", "text", "topics", "people")

# A run of Chinese characters, or a word of at least two letters or digits of any other script.
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUNS = re.compile(rf"([{_HAN}]+)|([^\W{_HAN}]{{2,}})")
# Words of two and more characters that say nothing of a work; a single character is never a term.
_CHINESE_STOP_WORDS = """
一个 一些 一切 一种 一部 上册 下册 不是 不能 不要 为了 为什 什么 为什么 他们 以及 你们 你的
其中 其实 关于 只是 可以 因为 如何 它们 怎么 怎样 我们 我的 所以 所有 时候 是否 有关 有的 没有
然后 由于 自己 这个 这些 这样 这里 还是 还有 通过 那个 那些 那么 都是 除了 如果 就是 已经 他的
她的 她们 并且 但是 而且 或者 以后 以前 之后 之前 之间 第一 第二 第三
"""
# Below this number of items a word is never too common.
_FEW_ITEMS = 10
_STOP_WORDS = ENGLISH_STOP_WORDS | frozenset(_CHINESE_STOP_WORDS.split())


@dataclasses.dataclass(frozen=True)
class ContentConfig:
    """Parameters of the features.

    Attributes:
        topic_weight: Length of the topic part of an item's row before the row is scaled to length 1, >= 0; 0 leaves topics out.
        person_weight: The same for people.
        term_weight: The same for the words of title and text.
        min_items: A feature of fewer items is dropped, >= 1. A feature of one item alone cannot lead to another.
        max_share: A word of more than this share of the items is dropped, in (0, 1]; it tells nothing apart. Never drops a
            word of fewer than 10 items.
        max_features: Largest number of features of each kind, >= 1; those of most items stay, the smaller name among equals.
    """

    topic_weight: float = 1.0
    person_weight: float = 0.7
    term_weight: float = 0.5
    min_items: int = 2
    max_share: float = 0.1
    max_features: int = 50_000

    def __post_init__(self) -> None:
        weights = (self.topic_weight, self.person_weight, self.term_weight)
        if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
            raise ValueError(f"the weights of topic, person and term must be finite, >= 0 and not all 0, got {weights}")
        if self.min_items < 1 or self.max_features < 1 or not 0 < self.max_share <= 1:
            raise ValueError(
                "min_items and max_features must be at least 1 and max_share in (0, 1], got "
                f"{self.min_items}, {self.max_features} and {self.max_share}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class ItemContent:
    """Features of the items of an index. All arrays are read-only.

    Attributes:
        features: Items x features CSR, float32, columns ascending within a row, no stored zeros; each row has length 1, or
            is empty for an item that nothing useful is known about.
        names: Readable name of each feature.
        kinds: Index into `FEATURE_KINDS` of each feature, shape (features,).
    """

    features: csr_matrix
    names: tuple[str, ...]
    kinds: NDArray[np.int8]

    def __post_init__(self) -> None:
        if not self.features.shape[1] == len(self.names) == len(self.kinds):
            raise ValueError(
                f"{self.features.shape[1]} columns of features for {len(self.names)} names and {len(self.kinds)} kinds"
            )
        for values in (self.features.data, self.features.indices, self.features.indptr, self.kinds):
            values.flags.writeable = False

    @property
    def is_named(self) -> NDArray[np.bool_]:
        """Which features are topics or people, whom one may be said to like, and no words of a text; shape (features,)."""
        return np.asarray(self.kinds != FEATURE_KINDS.index("term"), dtype=np.bool_)

    def fingerprint(self) -> str:
        """SHA-256 of features, names and kinds as 64 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.features.shape}:".encode() + "\x1f".join(self.names).encode() + b"\x1e")
        parts = (
            self.kinds,
            self.features.indptr.astype(np.int64),
            self.features.indices.astype(np.int32),
            self.features.data,
        )
        for values in parts:
            digest.update(f"{values.dtype.str}:{len(values)}\x1e".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The same as plain arrays."""
        return {
            "feature_data": self.features.data,
            "feature_indices": self.features.indices,
            "feature_indptr": self.features.indptr,
            "feature_names": np.array(self.names, dtype=np.str_),
            "feature_kinds": self.kinds,
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> "ItemContent":
        """The content that `to_arrays` took apart; other arrays are ignored."""
        names = tuple(arrays["feature_names"].tolist())
        parts = (arrays["feature_data"], arrays["feature_indices"], arrays["feature_indptr"])
        shape = (len(arrays["feature_indptr"]) - 1, len(names))
        return ItemContent(csr_matrix(parts, shape=shape), names, arrays["feature_kinds"])


def item_content_from_arrow(
    table: pa.Table, item_keys: pa.StringArray, config: ContentConfig | None = None
) -> ItemContent:
    """Features of the items of an index, from one Arrow row per item.

    Each kind is TF-IDF with idf(f) = ln((1 + n) / (1 + items with f)) + 1, n the number of items, tf 1 for topics and people
    and 1 + ln(count) for words, each row scaled to length 1. A row of the result is topic_weight * topics, person_weight *
    people, term_weight * words side by side, scaled to length 1 again: the cosine of two items that have all kinds is the
    mean of the cosines by kind, weighted by the squares of the weights.

    Spellings that differ by case, width or spaces only are one topic or person, whose name is the most frequent spelling.

    Args:
        table: Columns item_key, title, text (text), topics, people (lists of text), in any order of rows; all but item_key
            may be NULL. Rows of items that are not in the index are ignored.
        item_keys: The items, in the order of the rows of the result; an item without a row has no features.
        config: Parameters.

    Returns:
        The features, the same for every order of the rows.

    Raises:
        ValueError: If a column is missing, an item key is NULL or occurs twice.
    """
    config = config or ContentConfig()
    missing = [name for name in REQUIRED_COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(
            f"item content lacks the column(s) {', '.join(missing)}; found {', '.join(table.column_names)}"
        )
    keys = pc.cast(table.column("item_key"), pa.string()).combine_chunks()
    if keys.null_count:
        raise ValueError(f"item content: item_key is NULL in row {keys.is_null().index(True).as_py()}")
    position = pc.fill_null(pc.index_in(keys, value_set=item_keys), -1).to_numpy(zero_copy_only=False)
    known = np.flatnonzero(position >= 0)
    order = known[np.argsort(position[known], kind="stable")]
    rows = position[order].astype(np.int64)
    twice = rows[1:] == rows[:-1]
    if twice.any():
        raise ValueError(f"item content: item {item_keys[int(rows[1:][np.argmax(twice)])].as_py()!r} occurs twice")
    chosen = table.select(REQUIRED_COLUMNS).take(pa.array(order))

    blocks: list[csr_matrix] = []
    names: list[str] = []
    kinds: list[NDArray[np.int8]] = []
    weights = (config.topic_weight, config.person_weight, config.term_weight)
    for kind, (column, weight) in enumerate(zip(("topics", "people", None), weights, strict=True)):
        if not weight:
            continue
        owners, labels = _labels(chosen.column(column)) if column else _terms(chosen)
        block, found = _tfidf(rows[owners], labels, len(item_keys), config, is_text=column is None)
        blocks.append(block * np.float32(weight))
        names.extend(found)
        kinds.append(np.full(len(found), kind, dtype=np.int8))
    features = normalised_rows(hstack(blocks, format="csr", dtype=np.float32))
    return ItemContent(features, tuple(names), np.concatenate(kinds))


def normalised_rows(matrix: csr_matrix) -> csr_matrix:
    """Rows scaled to length 1, empty rows as they are, float32 CSR with ascending columns."""
    matrix = csr_matrix(matrix)
    length = (
        np.sqrt(matrix.multiply(matrix).sum(axis=1).A1.astype(np.float64)) if matrix.nnz else np.ones(matrix.shape[0])
    )
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    scaled = csr_matrix(diags_array(inverse) @ matrix, dtype=np.float32)
    scaled.eliminate_zeros()
    scaled.sort_indices()
    return scaled


def tokens(text: str) -> Iterator[str]:
    """Words of a text: Chinese runs cut by `jieba` in its mode for search engines, other scripts by word boundary.

    Only words of two and more characters that are not stop words; lower case, full-width forms as half-width ones.
    """
    for run in _RUNS.finditer(unicodedata.normalize("NFKC", text).casefold()):
        words: Iterable[str] = _chinese().cut_for_search(run[1]) if run[1] else (run[2],)
        for word in words:
            if len(word) > 1 and word not in _STOP_WORDS:
                yield word


@functools.cache
def _chinese() -> "jieba.Tokenizer":
    """The tokenizer with its own dictionary, loaded on first use (1.3 s).

    `jieba` 0.42.1 would otherwise read and write a cache in the shared temporary folder, which may be read-only or hold what
    another process put there, and log to standard error; filling the tokenizer directly does neither.
    """
    with warnings.catch_warnings():
        # Its patterns have escapes that Python 3.12 warns about.
        warnings.simplefilter("ignore")
        import jieba
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer


def _labels(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.StringArray]:
    """Row and name of each entry of a column of lists, without NULL and blank ones."""
    lists = pc.cast(column, pa.list_(pa.string()))
    owners = pc.list_parent_indices(lists).to_numpy()
    encoded = _encoded(pc.list_flatten(lists))
    counts = np.bincount(encoded.indices.drop_null(), minlength=len(encoded.dictionary))
    spellings: dict[str, tuple[int, str]] = {}
    canonical: list[str | None] = []
    for count, spelling in zip(counts.tolist(), encoded.dictionary.to_pylist(), strict=True):
        name = " ".join(spelling.split())
        folded = unicodedata.normalize("NFKC", name).casefold()
        canonical.append(folded or None)
        if folded:
            spellings[folded] = min(spellings.get(folded, (0, name)), (-count, name))
    names = pa.array([None if folded is None else spellings[folded][1] for folded in canonical], pa.string())
    entries = names.take(encoded.indices)
    kept = pc.is_valid(entries)
    return owners[kept.to_numpy(zero_copy_only=False)].astype(np.int64), entries.filter(kept)


def _terms(table: pa.Table) -> tuple[NDArray[np.int64], pa.StringArray]:
    """Row and word of each token of title and text."""
    vocabulary: dict[str, int] = {}
    codes, ends = array("q"), array("q", [0])
    for title, text in zip(table.column("title").to_pylist(), table.column("text").to_pylist(), strict=True):
        codes.extend(vocabulary.setdefault(word, len(vocabulary)) for word in tokens(f"{title or ''} {text or ''}"))
        ends.append(len(codes))
    lengths = np.asarray(np.diff(np.frombuffer(ends, dtype=np.int64)), dtype=np.int64)
    words = pa.array(vocabulary, pa.string()).take(pa.array(np.frombuffer(codes, dtype=np.int64)))
    return np.repeat(np.arange(len(lengths)), lengths), words


def _tfidf(
    rows: NDArray[np.int64], labels: pa.StringArray, items: int, config: ContentConfig, *, is_text: bool
) -> tuple[csr_matrix, list[str]]:
    """TF-IDF of one kind, items x features, and the names of its features in sorted order."""
    encoded = _encoded(labels)
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    columns = rank[encoded.indices.to_numpy()]
    counts = csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(items, len(order)))
    counts.sum_duplicates()
    if not is_text:
        counts.data[:] = 1
    spread = np.bincount(counts.indices, minlength=len(order))
    most_items = max(_FEW_ITEMS - 1, config.max_share * items) if is_text else items
    useful = np.flatnonzero((spread >= config.min_items) & (spread <= most_items))
    most = useful[np.argsort(-spread[useful], kind="stable")[: config.max_features]]
    kept = np.sort(most)
    names = encoded.dictionary.take(order).take(pa.array(kept)).to_pylist()
    counts = counts[:, kept]
    if not counts.nnz:
        return counts, names
    return csr_matrix(TfidfTransformer(sublinear_tf=is_text).fit_transform(counts), dtype=np.float32), names


def _encoded(labels: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    chunks = labels.chunks if isinstance(labels, pa.ChunkedArray) else [labels]
    return pa.concat_arrays([pa.array([], pa.string()), *chunks]).dictionary_encode()
