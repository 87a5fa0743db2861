"""Choosing the models that are served.

Holds the protocol from interactions to champions: an outer split for the test, an inner split of its training part for search
and choice, the evaluation of all candidates on the test part, and the fit of the chosen ones on everything. Lists for people
are made in `scoring`, lists for items in `related`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.als import ALSConfig, ALSModel, fit_als
from models_ml.bootstrap import paired_difference
from models_ml.evaluation import (
    COMPARISON_SCHEMA,
    EVALUATION_SCHEMA,
    SEGMENTS,
    EvaluationConfig,
    comparison_rows,
    evaluation_rows,
    evaluation_task,
    judge,
)
from models_ml.interactions import Interactions
from models_ml.model import Arrays, ModelConfig, Recommender, model_version
from models_ml.popularity import PopularityConfig, PopularityModel, fit_popularity
from models_ml.search import SEARCH_SCHEMA, SearchConfig, Trial, Validation, search_als, search_popularity
from models_ml.split import SplitConfig, split_interactions

BASELINE = "popularity"
# Simplest first: among equals the earlier one is champion.
CANDIDATES = ("popularity", "recent_popularity", "als", "als_joint")
SPLIT_NAME = "time_per_user"


@dataclasses.dataclass(frozen=True)
class SelectionConfig:
    """Parameters of the whole protocol.

    Attributes:
        split: Split for the test; the inner one is the same with the next seed.
        search: What is tried.
        evaluation: How it is judged.
        min_people: A segment with fewer people on the inner split has too little to choose by: popularity is its champion.
        must_beat_popularity: Whether another model can only be champion if the paired interval of its NDCG less
            popularity's, on the inner split, is above zero. A lead that is noise would publish worse lists than popularity.
    """

    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    search: SearchConfig = dataclasses.field(default_factory=SearchConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    min_people: int = 20
    must_beat_popularity: bool = True

    def to_json(self) -> dict[str, Any]:
        """All parameters as JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, and on what evidence.

    Attributes:
        configs: For each target the configuration of every candidate.
        champions: For each target the name of the champion of every segment.
        fallbacks: For each target the popularity that fills up lists.
        search: All trials on the inner split, `SEARCH_SCHEMA`.
        evaluation: All candidates on the test part, `EVALUATION_SCHEMA`.
        comparison: Champion less popularity on the test part, `COMPARISON_SCHEMA`.
        people: For each target how many people could be evaluated and how many were.
        interactions_fingerprint: Content of the interactions that everything was chosen on.
    """

    configs: Mapping[str, Mapping[str, ModelConfig]]
    champions: Mapping[str, Mapping[str, str]]
    fallbacks: Mapping[str, str]
    search: pa.Table
    evaluation: pa.Table
    comparison: pa.Table
    people: Mapping[str, Mapping[str, int]]
    interactions_fingerprint: str

    def version(self, domain: str, name: str) -> str:
        """Version of a candidate as it will be fitted on everything."""
        return model_version(self.configs[domain][name], self.interactions_fingerprint)

    def to_json(self) -> dict[str, Any]:
        """The choice without its tables, as JSON values."""
        return {
            "configs": {
                domain: {name: config.to_json() for name, config in configs.items()}
                for domain, configs in self.configs.items()
            },
            "champions": {domain: dict(champions) for domain, champions in self.champions.items()},
            "fallbacks": dict(self.fallbacks),
            "people": {domain: dict(counts) for domain, counts in self.people.items()},
            "interactions_fingerprint": self.interactions_fingerprint,
        }

    @staticmethod
    def from_json(
        choice: Mapping[str, Any], *, search: pa.Table, evaluation: pa.Table, comparison: pa.Table
    ) -> "Selection":
        """The selection of `to_json` with its tables."""
        return Selection(
            configs={
                domain: {name: config_from_json(config) for name, config in configs.items()}
                for domain, configs in choice["configs"].items()
            },
            champions=choice["champions"],
            fallbacks=choice["fallbacks"],
            search=search,
            evaluation=evaluation,
            comparison=comparison,
            people=choice["people"],
            interactions_fingerprint=choice["interactions_fingerprint"],
        )


def config_from_json(values: Mapping[str, Any]) -> ModelConfig:
    """The configuration of `ModelConfig.to_json`.

    Raises:
        ValueError: If the kind is unknown.
    """
    kinds: dict[str, type[ModelConfig]] = {"als": ALSConfig, "popularity": PopularityConfig}
    if values.get("kind") not in kinds:
        raise ValueError(f"unknown kind of model {values.get('kind')!r}, known are {', '.join(kinds)}")
    return kinds[values["kind"]](**{name: value for name, value in values.items() if name != "kind"})


def fit_model(interactions: Interactions, config: ModelConfig) -> Recommender:
    """Fits the model that the configuration is of.

    Raises:
        TypeError: If there is no such model.
    """
    match config:
        case ALSConfig():
            return fit_als(interactions, config)
        case PopularityConfig():
            return fit_popularity(interactions, config)
        case _:
            raise TypeError(f"no model for a {type(config).__name__}")


def select_models(
    interactions: Interactions,
    config: SelectionConfig | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Selection:
    """Searches, chooses and judges the models of every target.

    1. The outer split holds out the test part. Its training part is split again in the same way.
    2. On the inner split, each candidate's parameters are searched and the champion of each target and segment is the
       candidate with the largest NDCG as served, that is, with lists filled up by popularity, among those that beat
       popularity.
    3. All candidates are fitted on the outer training part and judged on the test part, which decides nothing.

    Args:
        interactions: Everything.
        config: Parameters.
        progress: Called with one line for each step that takes time.
    """
    config = config or SelectionConfig()
    outer = split_interactions(interactions, config.split)
    inner = split_interactions(outer.train, dataclasses.replace(config.split, seed=config.split.seed + 1))
    capped = dataclasses.replace(config.evaluation, max_people=config.search.max_people, seed=config.search.seed)
    validation = Validation(
        inner,
        {domain: evaluation_task(inner, domain, capped) for domain in interactions.domains},
        config.evaluation,
        config.search.cutoff,
    )
    trials = search_candidates(interactions, validation, config, progress)
    champions, fallbacks = choose_champions(validation, trials, config)
    configs = {domain: {name: trial.config for name, trial in found.items()} for domain, found in trials.items()}

    fingerprint = interactions.fingerprint()
    fitted: dict[ModelConfig, Recommender] = {}
    evaluation: list[dict[str, object]] = []
    comparison: list[dict[str, object]] = []
    people: dict[str, dict[str, int]] = {}
    for domain in interactions.domains:
        task = evaluation_task(outer, domain, config.evaluation)
        people[domain] = {"eligible": task.eligible, "evaluated": len(task.people)}
        if not len(task.people):
            continue
        judgements = {}
        for name, model_config in configs[domain].items():
            progress(f"evaluate {name} on {domain}: {len(task.people)} people")
            if model_config not in fitted:
                fitted[model_config] = fit_model(outer.train, model_config)
            fallback = _popularity(fitted, outer.train, configs[domain][fallbacks[domain]])
            judgements[name] = judge(fitted[model_config], fallback, outer, task, config.evaluation.cutoffs)
            evaluation += evaluation_rows(
                name,
                model_version(model_config, fingerprint),
                judgements[name],
                task,
                interactions.domain_range(domain),
                champions[domain],
                config.evaluation,
                SPLIT_NAME,
            )
        comparison += comparison_rows(champions[domain], BASELINE, judgements, task, config.evaluation)

    return Selection(
        configs=configs,
        champions=champions,
        fallbacks=fallbacks,
        search=pa.Table.from_pylist(validation.records, SEARCH_SCHEMA),
        evaluation=pa.Table.from_pylist(evaluation, EVALUATION_SCHEMA),
        comparison=pa.Table.from_pylist(comparison, COMPARISON_SCHEMA),
        people=people,
        interactions_fingerprint=fingerprint,
    )


def search_candidates(
    interactions: Interactions,
    validation: Validation,
    config: SelectionConfig,
    progress: Callable[[str], None],
) -> dict[str, dict[str, Trial]]:
    """The best trial of each candidate for each target; an ALS that no configuration could solve is no candidate."""
    threshold = config.evaluation.relevance_threshold
    found: dict[str, dict[str, Trial]] = {}
    for domain in interactions.domains:
        progress(f"search popularity {domain}")
        plain = search_popularity(validation, domain, [None], threshold)
        recent = search_popularity(validation, domain, config.search.half_lives, threshold)
        found[domain] = {"popularity": plain, "recent_popularity": recent}
        fallback = found[domain][_fallback(validation, found[domain], domain, config)].config
        assert isinstance(fallback, PopularityConfig)
        validation.fallbacks[domain] = fit_popularity(validation.split.train, fallback)

    trainable = [domain for domain in interactions.domains if len(interactions.domain_range(domain))]
    for domain in trainable:
        own = search_als(validation, domain, [domain], config.search, _warm_ndcg(domain), progress)
        if not own.failure:
            found[domain]["als"] = own
    if trainable:
        joint = search_als(validation, None, trainable, config.search, _mean_gain(found), progress)
        if not joint.failure:
            for domain in trainable:
                found[domain]["als_joint"] = joint
    return found


def _warm_ndcg(domain: str) -> Callable[[Trial], float]:
    """A platform's own model can serve only who has history there."""
    return lambda trial: trial.scores.get((domain, "warm"), float("nan"))


def _mean_gain(found: Mapping[str, Mapping[str, Trial]]) -> Callable[[Trial], float]:
    """Mean over targets, warm and cold alike, of the NDCG relative to popularity: one joint model serves them all."""

    def objective(trial: Trial) -> float:
        gains = [
            value / base
            for (domain, segment), value in trial.scores.items()
            if segment != "all" and (base := found[domain][BASELINE].scores[domain, segment]) > 0
        ]
        return float(np.mean(gains)) if gains else float("nan")

    return objective


def choose_champions(
    validation: Validation, trials: Mapping[str, Mapping[str, Trial]], config: SelectionConfig
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The champion of each target and segment, and the popularity that fills up."""
    champions = {
        domain: {segment: _champion(validation, found, domain, segment, config) for segment in SEGMENTS}
        for domain, found in trials.items()
    }
    fallbacks = {domain: _fallback(validation, found, domain, config) for domain, found in trials.items()}
    return champions, fallbacks


def _fallback(validation: Validation, found: Mapping[str, Trial], domain: str, config: SelectionConfig) -> str:
    """Name of the popularity that is best for everyone."""
    popularities = {name: trial for name, trial in found.items() if isinstance(trial.config, PopularityConfig)}
    return _champion(validation, popularities, domain, "all", config)


def _champion(
    validation: Validation, found: Mapping[str, Trial], domain: str, segment: str, config: SelectionConfig
) -> str:
    """Name of the candidate with the largest NDCG among those that may win, the simplest among equals."""
    members = validation.tasks[domain].segments[segment]
    if int(members.sum()) < config.min_people:
        return BASELINE
    able = [
        name
        for name in CANDIDATES
        if name in found
        and (
            name == BASELINE
            or not config.must_beat_popularity
            or _beats(found[name], found[BASELINE], domain, members, config.evaluation)
        )
    ]
    return max(able, key=lambda name: found[name].scores[domain, segment])


def _beats(
    trial: Trial, baseline: Trial, domain: str, members: NDArray[np.bool_], evaluation: EvaluationConfig
) -> bool:
    """Whether the paired interval of a trial's NDCG less the baseline's is above zero."""
    difference = paired_difference(
        trial.people[domain][members, None],
        baseline.people[domain][members, None],
        draws=evaluation.draws,
        level=evaluation.level,
        seed=evaluation.seed,
    )
    return bool(difference.low[0] > 0)


def _popularity(
    fitted: dict[ModelConfig, Recommender], interactions: Interactions, config: ModelConfig
) -> PopularityModel:
    model = fitted.get(config) or fit_model(interactions, config)
    fitted[config] = model
    assert isinstance(model, PopularityModel)
    return model


@dataclasses.dataclass(frozen=True, eq=False)
class FittedModels:
    """The models that are served, fitted on everything.

    Attributes:
        item_keys: Item index that all of them share.
        models: Models by version.
        served: Version by target and segment: `warm` (history on the target), `cold` (history elsewhere only) and
            `fallback` (no history at all, and whatever is left to fill up).
        joint: Version of the joint model, which relates items within and across domains; None if there is none.
    """

    item_keys: pa.StringArray
    models: Mapping[str, Recommender]
    served: Mapping[str, Mapping[str, str]]
    joint: str | None

    def model_for(self, domain: str, segment: str) -> tuple[str, Recommender]:
        """Version and model that serve a segment on a target."""
        version = self.served[domain][segment]
        return version, self.models[version]

    def fallback_for(self, domain: str) -> tuple[str, PopularityModel]:
        """Version and model that fill up lists on a target."""
        version, model = self.model_for(domain, "fallback")
        assert isinstance(model, PopularityModel)
        return version, model

    def to_arrays(self) -> tuple[dict[str, Any], Arrays]:
        """A manifest of JSON values and the arrays it names; the item keys are stored once."""
        arrays: Arrays = {}
        manifest: dict[str, Any] = {
            "models": {version: model.config.to_json() for version, model in self.models.items()},
            "served": {domain: dict(served) for domain, served in self.served.items()},
            "joint": self.joint,
        }
        for version, model in self.models.items():
            for name, values in model.to_arrays().items():
                arrays[name if name == "item_keys" else f"{version}/{name}"] = values
        return manifest, arrays

    @staticmethod
    def from_arrays(manifest: Mapping[str, Any], arrays: Mapping[str, Any]) -> "FittedModels":
        """The models that `to_arrays` took apart."""
        models: dict[str, Recommender] = {}
        for version, values in manifest["models"].items():
            own = {name.split("/", 1)[1]: arrays[name] for name in arrays if name.startswith(f"{version}/")}
            own["item_keys"] = arrays["item_keys"]
            config = config_from_json(values)
            if isinstance(config, ALSConfig):
                models[version] = ALSModel.from_arrays(own, config)
            else:
                assert isinstance(config, PopularityConfig)
                models[version] = PopularityModel.from_arrays(own, config)
        item_keys = pa.array(arrays["item_keys"].tolist(), pa.string())
        return FittedModels(item_keys, models, manifest["served"], manifest["joint"])


def fit_models(
    interactions: Interactions, selection: Selection, progress: Callable[[str], None] = lambda line: None
) -> FittedModels:
    """Fits on everything what was chosen: the champions, the fallbacks, and the joint model for related items.

    Raises:
        ValueError: If the interactions are not those that the selection was made on.
    """
    fingerprint = interactions.fingerprint()
    if fingerprint != selection.interactions_fingerprint:
        raise ValueError("the interactions have changed since the models were selected; select again")
    models: dict[str, Recommender] = {}

    def fit(config: ModelConfig) -> str:
        version = model_version(config, fingerprint)
        if version not in models:
            progress(f"fit {config.name}")
            models[version] = fit_model(interactions, config)
        return version

    served: dict[str, dict[str, str]] = {}
    joint: str | None = None
    for domain, configs in selection.configs.items():
        names = {
            "warm": selection.champions[domain]["warm"],
            "cold": selection.champions[domain]["cold"],
            "fallback": selection.fallbacks[domain],
        }
        served[domain] = {segment: fit(configs[name]) for segment, name in names.items()}
        if "als_joint" in configs:
            joint = fit(configs["als_joint"])
    return FittedModels(interactions.item_keys, models, served, joint)
