"""Choosing the models that are served.

Holds the protocol from interactions to champions: an outer split for the test, an inner split of its training part for search
and choice, the evaluation of all candidates on the test part, and the fit of the chosen ones on everything. What is tried is in
`candidates`; lists for people are made in `scoring`, lists for items in `related`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
from numpy.typing import NDArray

from models_ml.blend import BlendConfig, BlendModel, Calibration, fit_blend
from models_ml.blends import blend_candidates
from models_ml.bootstrap import paired_difference
from models_ml.candidates import EASE_ITEMS, Candidate, candidates_for
from models_ml.costs import Ledger
from models_ml.evaluation import (
    COLD_ITEM,
    COMPARISON_SCHEMA,
    EVALUATION_SCHEMA,
    SERVING_SEGMENTS,
    EvaluationConfig,
    Judgement,
    cold_item_task,
    comparison_rows,
    evaluation_rows,
    evaluation_task,
    judge,
    paired_rows,
    serving_segments,
)
from models_ml.exploration import ExplorationConfig
from models_ml.explored import judge_explored
from models_ml.interactions import Interactions
from models_ml.metrics import PERSON_METRICS
from models_ml.model import Arrays, ModelConfig, Recommender, keys_from_array, keys_to_array, model_version
from models_ml.popularity import PopularityConfig, PopularityModel, fit_popularity
from models_ml.registry import config_from_json, fit_model, model_from_arrays
from models_ml.relating import (
    ITEM_TO_ITEM,
    RELATING,
    RELATING_SEGMENTS,
    Relater,
    judge_relating,
    popular_relater,
    relater,
    relating_task,
)
from models_ml.search import SEARCH_SCHEMA, SearchConfig, Trial, Validation, finished, search
from models_ml.split import Split, SplitConfig, split_interactions

BASELINE = "popularity"
# Fewer people than this prove nothing either way.
FEWEST_JUDGED = 20
# What may fill up lists.
FALLBACKS = (BASELINE, "recent_popularity")
# What can tell whom an item suits that nobody has had to do with: it knows what items are about.
KNOWING_NEW_ITEMS = ("content", "als_content")
SERVED = "served"
"""Name of the mix of champions in the evaluation: everybody's list as they get it, before rules and exploration."""
SERVED_EXPLORED = "served_with_exploration"
"""Name of the same lists with a share of their places explored; there is none where nothing is explored."""


@dataclasses.dataclass(frozen=True)
class SelectionConfig:
    """Parameters of the whole protocol.

    Attributes:
        split: Split for the test; how the inner one differs is said in `validation_of`.
        search: Budget of the search.
        evaluation: How models are judged.
        min_people: A segment with fewer people on the inner split has too little to choose by: it takes over a champion (see
            `choose_champions`), and has no blend.
        must_beat_popularity: Whether another model can only be champion if the paired interval of its NDCG less
            popularity's, on the inner split, is above zero. A lead that is noise would publish worse lists than popularity.
        candidates: Names of the candidates to try; None tries all. Popularity is always tried.
        ease_items: Items with the most people that EASE looks at; see `EASEConfig.max_items`.
        blend_members: Largest number of models in a blend; fewer than 2 makes no blends.
        blend_calibrations: How the scores of a blend's members are made comparable, at least one; see `blend_candidates`.
        global_time: Whether the champions and popularity are also judged on a split at one point in time.
        choose_as_of: Whether they are chosen anew for that, on what had happened by then, instead of only fitted anew. It
            takes a second search.
        exploration: What share of the places of the served lists is explored, to judge what it costs and brings; it decides
            nothing.
    """

    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    search: SearchConfig = dataclasses.field(default_factory=SearchConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    min_people: int = 20
    must_beat_popularity: bool = True
    candidates: tuple[str, ...] | None = None
    ease_items: int = EASE_ITEMS
    blend_members: int = 4
    blend_calibrations: tuple[Calibration, ...] = ("score",)
    global_time: bool = True
    choose_as_of: bool = False
    exploration: ExplorationConfig = dataclasses.field(default_factory=ExplorationConfig)

    def tries(self, name: str) -> bool:
        """Whether a candidate is tried."""
        return self.candidates is None or name in (BASELINE, *self.candidates)

    def to_json(self) -> dict[str, Any]:
        """All parameters as JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, and on what evidence.

    Attributes:
        configs: For each target the configuration of every candidate.
        champions: For each target the name of the champion of every serving segment, of new items (`cold_item`) and of items
            for an item (`RELATING_SEGMENTS`).
        fallbacks: For each target the popularity that fills up lists.
        search: All trials on the inner split, `SEARCH_SCHEMA`.
        evaluation: All candidates on the test part, `EVALUATION_SCHEMA`.
        comparison: Champion less each other model on the test part, `COMPARISON_SCHEMA`.
        costs: What it took, `COSTS_SCHEMA`; the one part that differs from run to run.
        people: For each target how many people could be evaluated and how many were.
        interactions_fingerprint: Content of the interactions that everything was chosen on.
        code: Version of the code that chose, a text of the caller's that is part of every model's version.
    """

    configs: Mapping[str, Mapping[str, ModelConfig]]
    champions: Mapping[str, Mapping[str, str]]
    fallbacks: Mapping[str, str]
    search: pa.Table
    evaluation: pa.Table
    comparison: pa.Table
    costs: pa.Table
    people: Mapping[str, Mapping[str, int]]
    interactions_fingerprint: str
    code: str = ""

    def version(self, domain: str, name: str) -> str:
        """Version of a candidate as it will be fitted on everything."""
        return model_version(self.configs[domain][name], self.interactions_fingerprint, self.code)

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
            "code": self.code,
        }

    @staticmethod
    def from_json(
        choice: Mapping[str, Any], *, search: pa.Table, evaluation: pa.Table, comparison: pa.Table, costs: pa.Table
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
            costs=costs,
            people=choice["people"],
            interactions_fingerprint=choice["interactions_fingerprint"],
            code=choice["code"],
        )


Known = Mapping[tuple[str, str], Mapping[str, Any]]
"""Parameters that an earlier, longer search found, by candidate and targets (joined by +)."""


def select_models(
    interactions: Interactions,
    config: SelectionConfig | None = None,
    progress: Callable[[str], None] = lambda line: None,
    *,
    known: Known | None = None,
    peak_megabytes: Callable[[], float] = lambda: 0.0,
    code: str = "",
) -> Selection:
    """Searches, chooses and judges the models of every target.

    1. The outer split holds out the test part. Its training part is split again (see `validation_of`).
    2. On the inner split, each candidate's parameters are searched, the best are blended, and the champion of each target and
       serving segment is the candidate with the largest NDCG as served, that is, with lists filled up by popularity,
       among those that beat popularity.
    3. All candidates are fitted on the outer training part and judged on the test part. The champions are judged on a split at
       one point in time as well. Unless `choose_as_of` they were chosen on events that may lie after it, so only their fit is
       as of that time.
    4. The test decides nothing but this: where a champion is worse than popularity beyond doubt on either split, popularity
       serves, and all is judged again with it.

    Args:
        interactions: Everything.
        config: Parameters.
        progress: Called with one line for each step that takes time.
        known: Parameters that are tried before all others.
        peak_megabytes: Gives the largest memory of the process since it was last asked; without it costs have time only.
        code: Version of the code, for the versions of the models.
    """
    config = config or SelectionConfig()
    ledger = Ledger(progress, peak_megabytes)
    fingerprint = interactions.fingerprint()
    version = partial(model_version, interactions_fingerprint=fingerprint, code=code)
    outer = split_interactions(interactions, config.split)
    choice, records = _choose(outer, config, ledger, known or {})
    at_once = then = None
    if config.global_time:
        at_once = split_interactions(interactions, dataclasses.replace(config.split, kind="global_time"))
        then = _choose(at_once, config, ledger, {})[0] if config.choose_as_of else choice

    def judge_both(choice: _Choice, then: _Choice | None) -> _Judged:
        judged = _judge_split(outer, choice, version, config, ledger, only_served=False)
        if at_once is None or then is None:
            return judged
        return judged.with_more(_judge_split(at_once, then, version, config, ledger, only_served=True))

    judged = judge_both(choice, then)
    if config.must_beat_popularity and (worse := worse_champions(judged.comparison)):
        choice, then = choice.without(worse), None if then is None else then.without(worse)
        judged = judge_both(choice, then)
    return Selection(
        configs=choice.configs,
        champions=choice.champions,
        fallbacks=choice.fallbacks,
        search=pa.Table.from_pylist(records, SEARCH_SCHEMA),
        evaluation=pa.Table.from_pylist(judged.evaluation, EVALUATION_SCHEMA),
        comparison=pa.Table.from_pylist(judged.comparison, COMPARISON_SCHEMA),
        costs=ledger.table(),
        people=judged.people,
        interactions_fingerprint=fingerprint,
        code=code,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Choice:
    """What was chosen on the training part of a split; see `Selection`."""

    configs: Mapping[str, Mapping[str, ModelConfig]]
    champions: Mapping[str, Mapping[str, str]]
    fallbacks: Mapping[str, str]

    def without(self, worse: Collection[tuple[str, str]]) -> "_Choice":
        """The same with popularity as the champion of some targets and segments."""
        champions = {
            domain: {segment: BASELINE if (domain, segment) in worse else name for segment, name in own.items()}
            for domain, own in self.champions.items()
        }
        return dataclasses.replace(self, champions=champions)


def worse_champions(
    comparison: Iterable[Mapping[str, Any]], *, metric: str = "ndcg", cutoff: int = 10
) -> set[tuple[str, str]]:
    """Targets and serving segments whose champion is worse than popularity beyond doubt.

    Args:
        comparison: Rows of `COMPARISON_SCHEMA`; segments of fewer than `FEWEST_JUDGED` people prove nothing.
        metric: Which metric decides.
        cutoff: At which length of the list.
    """
    return {
        (row["target_domain"], row["segment"])
        for row in comparison
        if row["baseline"] == BASELINE
        and (row["metric"], row["cutoff"]) == (metric, cutoff)
        and row["segment"] in SERVING_SEGMENTS
        and row["users"] >= FEWEST_JUDGED
        and row["ci_high"] < 0
    }


def _choose(
    outer: Split, config: SelectionConfig, ledger: Ledger, known: Known
) -> tuple[_Choice, list[dict[str, object]]]:
    """Searches, blends and chooses on the training part of a split; with the records of the search."""
    validation = validation_of(outer, config)
    trials = search_candidates(outer.train, validation, config, ledger, known=known)
    fallbacks = {domain: _fallback(validation, found, domain, config) for domain, found in trials.items()}
    for domain in outer.train.domains:
        with ledger.stage("blend", domain, "search"):
            trials[domain] |= blend_candidates(
                validation,
                trials[domain],
                domain,
                members=config.blend_members,
                min_people=config.min_people,
                calibrations=config.blend_calibrations,
            )
    champions = choose_champions(validation, trials, fallbacks, config)
    configs = {domain: {name: trial.config for name, trial in found.items()} for domain, found in trials.items()}
    return _Choice(configs, champions, fallbacks), validation.records


def validation_of(outer: Split, config: SelectionConfig) -> Validation:
    """The inner split of a training part, on which parameters are searched and champions chosen.

    It divides by each person's time, also below a split at one point in time, since only that hides sides and people. It hides
    twice as many sides and people as the outer one: those are few, and a champion has to be chosen by them. Items that
    the outer one hides are hidden here too: nobody has them in training, so a model that can tell what they are about must not
    lose places to them.
    """
    training = outer.train
    twice = {name: min(0.5, 2 * getattr(config.split, name)) for name in ("hidden_share", "new_share")}
    per_user = dataclasses.replace(config.split, kind="time_per_user", seed=config.split.seed + 1, **twice)
    inner = split_interactions(training, per_user)
    inner = dataclasses.replace(inner, hidden_items=inner.hidden_items | outer.hidden_items)
    capped = dataclasses.replace(config.evaluation, max_people=config.search.max_people, seed=config.search.seed)
    tasks = {domain: evaluation_task(inner, domain, capped) for domain in training.domains}
    new_items = {domain: cold_item_task(inner, domain, capped) for domain in training.domains}
    return Validation(inner, tasks, config.evaluation, config.search.cutoff, new_items)


def search_candidates(
    interactions: Interactions,
    validation: Validation,
    config: SelectionConfig,
    ledger: Ledger,
    *,
    known: Known | None = None,
    storage: optuna.storages.BaseStorage | None = None,
) -> dict[str, dict[str, Trial]]:
    """The best trial of each candidate for each target; one that no configuration could solve is no candidate.

    Args:
        interactions: Which items each target has.
        validation: Inner split.
        config: Parameters.
        ledger: Told each search.
        known: Parameters that are tried before all others.
        storage: Where studies are kept.
    """
    found: dict[str, dict[str, Trial]] = {domain: {} for domain in interactions.domains}
    candidates = [
        candidate
        for candidate in candidates_for(
            validation.split.train, config.evaluation.relevance_threshold, config.ease_items
        )
        if config.tries(candidate.asked_for_as)
    ]
    with_variants = {candidate.variant_of for candidate in candidates}
    # A variant tries the same first as the candidate that it follows, and fitting is what takes time. Only these are kept.
    kept: dict[ModelConfig, Recommender] = {}
    most_kept = 0

    def fit(train: Interactions, tried: ModelConfig) -> Recommender:
        model = kept[tried] if tried in kept else fit_model(train, tried)
        if len(kept) < most_kept:
            kept[tried] = model
        return model

    trainable = [domain for domain in interactions.domains if len(interactions.domain_range(domain))]

    def run(candidate: Candidate, domains: Sequence[str], objective: Callable[[Trial], float]) -> Trial:
        nonlocal most_kept
        before = {name: trial.config for name, trial in found[domains[0]].items()}
        space = candidate.space(None if candidate.joint else domains[0], before)
        targets = "+".join(domains)
        if found_before := (known or {}).get((candidate.name, targets)):
            space = dataclasses.replace(space, first=(found_before, *space.first))
        if candidate.variant_of is None:
            kept.clear()
            most_kept = len(space.first) if candidate.name in with_variants else 0
        with ledger.stage(candidate.name, targets, "search"):
            trial = search(
                candidate.name,
                space,
                validation,
                domains,
                objective,
                fit,
                config.search,
                storage=storage,
                progress=ledger.progress,
            )
        return dataclasses.replace(trial, config=finished(trial.config, space))

    for candidate in candidates:
        targets = [trainable] if candidate.joint else [[domain] for domain in interactions.domains]
        for domains in targets:
            if not domains or (candidate.variant_of and not _has_people(validation, domains, candidate.decided_by)):
                continue
            trial = run(candidate, domains, _objective(candidate, found))
            for domain in domains if not trial.failure else ():
                if candidate.variant_of is None:
                    found[domain][candidate.name] = trial
                elif (usual := found[domain].get(candidate.variant_of)) is None or usual.config != trial.config:
                    # Figures for its own people only, so that it neither serves nor is blended for others.
                    own = {key: value for key, value in trial.scores.items() if key[1] in candidate.decided_by}
                    found[domain][candidate.name] = dataclasses.replace(trial, scores=own)
        if candidate.name in FALLBACKS:
            # What comes next is judged as served: filled up by the better of the two.
            for domain in interactions.domains:
                fallback = found[domain][_fallback(validation, found[domain], domain, config)].config
                assert isinstance(fallback, PopularityConfig)
                validation.fallbacks[domain] = fit_popularity(validation.split.train, fallback)
    return found


def _has_people(validation: Validation, domains: Sequence[str], segments: Sequence[str]) -> bool:
    """Whether anybody of some segments is asked for on some targets."""
    return any(validation.tasks[domain].segments[segment].any() for domain in domains for segment in segments)


def _objective(candidate: Candidate, found: Mapping[str, Mapping[str, Trial]]) -> Callable[[Trial], float]:
    """Mean over targets and the segments that decide, of the NDCG relative to popularity's.

    For one target and segment that orders trials as the NDCG itself does; over several it keeps the one with large figures
    from deciding alone.
    """

    def objective(trial: Trial) -> float:
        gains = [
            value / base
            for (domain, segment), value in trial.scores.items()
            if segment in candidate.decided_by
            and np.isfinite(value)
            and (base := found[domain][BASELINE].scores[domain, segment] if BASELINE in found[domain] else 1.0) > 0
        ]
        return float(np.mean(gains)) if gains else float("nan")

    return objective


def choose_champions(
    validation: Validation,
    trials: Mapping[str, Mapping[str, Trial]],
    fallbacks: Mapping[str, str],
    config: SelectionConfig,
) -> dict[str, dict[str, str]]:
    """The champion of each target and serving segment, of its new items, and of its items for an item.

    A segment with too few people to choose by takes over a champion: `few` that of `warm`, the others what fills up lists.
    The champion of new items (`cold_item`) serves nobody by itself: it says whom they suit where places are explored. What
    relates items is the first of `RELATING`, unless another one is better beyond doubt.
    """
    champions: dict[str, dict[str, str]] = {}
    for domain, found in trials.items():
        own: dict[str, str] = {}
        for segment in SERVING_SEGMENTS:
            if int(validation.tasks[domain].segments[segment].sum()) >= config.min_people:
                own[segment] = _champion(validation, found, domain, segment, config)
            else:
                own[segment] = own["warm"] if segment == "few" else fallbacks[domain]
        own[COLD_ITEM] = _champion_of_new_items(validation, found, domain, fallbacks[domain], config)
        for segment in RELATING_SEGMENTS:
            own[segment] = _relating_champion(validation, found, domain, segment, fallbacks[domain], config)
        champions[domain] = own
    return champions


def _champion_of_new_items(
    validation: Validation, found: Mapping[str, Trial], domain: str, fallback: str, config: SelectionConfig
) -> str:
    """Name of the candidate that finds new items for people best, beyond doubt; else of what fills up lists."""
    task = validation.new_items.get(domain)
    if task is None or len(task.people) < max(1, config.min_people):
        return fallback
    names = [name for name in KNOWING_NEW_ITEMS if name in found and found[name].model is not None]
    judged = {name: validation.on_new_items(found[name], domain) for name in (BASELINE, *names)}
    everyone = np.ones(len(task.people), dtype=np.bool_)
    able = [name for name in names if _beats(judged[name], judged[BASELINE], domain, everyone, config.evaluation)]
    return max(able, key=lambda name: judged[name].scores[domain, COLD_ITEM], default=fallback)


def _relating_champion(
    validation: Validation,
    found: Mapping[str, Trial],
    domain: str,
    segment: str,
    fallback: str,
    config: SelectionConfig,
) -> str:
    """Name of the model with the best neighbours of those that are better than the usual one beyond doubt; else of that one."""
    models = {name: trial.model for name in RELATING if (trial := found.get(name)) and trial.model is not None}
    usual = next(iter(models), fallback)
    asked = relating_task(validation.split, domain, segment, config.evaluation)
    if len(models) < 2 or len(asked.task.people) < max(1, config.min_people):
        return usual
    everyone = np.ones(len(asked.task.people), dtype=np.bool_)
    trials: dict[str, Trial] = {}
    for name, ways in _ways_to_relate(models, validation.fallbacks[domain], asked.task.excluded).items():
        values = judge_relating(ways, validation.split, asked, (config.search.cutoff,)).values
        ndcg = values[:, PERSON_METRICS.index("ndcg"), 0]
        trials[name] = Trial(found[name].config, {(domain, segment): float(ndcg.mean())}, {domain: ndcg})
    able = [name for name in models if _beats(trials[name], trials[usual], domain, everyone, config.evaluation)]
    return max(able, key=lambda name: trials[name].scores[domain, segment], default=usual)


def _ways_to_relate(
    models: Mapping[str, Recommender], fallback: PopularityModel, hidden: NDArray[np.bool_]
) -> dict[str, list[Relater]]:
    """For each model, as it would be published: itself, the first of them, and popular items."""
    relaters = {name: relater(model, hidden) for name, model in models.items()}
    usual = next(iter(relaters.values()), None)
    rest = [popular_relater(fallback)]
    return {name: [own, *([] if own is usual or usual is None else [usual]), *rest] for name, own in relaters.items()}


def _fallback(validation: Validation, found: Mapping[str, Trial], domain: str, config: SelectionConfig) -> str:
    """Name of the popularity that is best for everyone."""
    popularities = {name: found[name] for name in FALLBACKS if name in found}
    return _champion(validation, popularities, domain, "all", config)


def _champion(
    validation: Validation, found: Mapping[str, Trial], domain: str, segment: str, config: SelectionConfig
) -> str:
    """Name of the candidate with the largest NDCG among those that may win, the one tried earlier among equals."""
    members = validation.tasks[domain].segments[segment]
    if not members.any():
        return BASELINE
    able = [
        name
        for name, trial in found.items()
        if name == BASELINE
        or not config.must_beat_popularity
        or _beats(trial, found[BASELINE], domain, members, config.evaluation)
    ]
    return max(able, key=lambda name: found[name].scores.get((domain, segment), -np.inf))


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


class Fits:
    """Models fitted on one set of interactions, each configuration once, also where blends share it."""

    def __init__(self, interactions: Interactions):
        self.interactions = interactions
        self.models: dict[ModelConfig, Recommender] = {}

    def __contains__(self, config: ModelConfig) -> bool:
        return config in self.models

    def fit(self, config: ModelConfig) -> Recommender:
        """The model of a configuration, fitted now or before."""
        if config not in self.models:
            self.models[config] = (
                fit_blend(self.interactions, config, lambda _, member: self.fit(member))
                if isinstance(config, BlendConfig)
                else fit_model(self.interactions, config)
            )
        return self.models[config]


@dataclasses.dataclass(frozen=True, eq=False)
class _Judged:
    """Rows of a test."""

    evaluation: list[dict[str, object]]
    comparison: list[dict[str, object]]
    people: dict[str, dict[str, int]]

    def with_more(self, other: "_Judged") -> "_Judged":
        """With the rows of another split; the counts of people stay those of the first."""
        return _Judged(self.evaluation + other.evaluation, self.comparison + other.comparison, self.people)


def _judge_split(
    split: Split,
    choice: _Choice,
    version: Callable[[ModelConfig], str],
    config: SelectionConfig,
    ledger: Ledger,
    *,
    only_served: bool,
) -> _Judged:
    """Fits on the training part and judges on the held-out one."""
    evaluation, exploration = config.evaluation, config.exploration
    fits = Fits(split.train)
    judged = _Judged([], [], {})
    for domain, configs in choice.configs.items():
        tasks = [evaluation_task(split, domain, evaluation), cold_item_task(split, domain, evaluation)]
        judged.people[domain] = {"eligible": tasks[0].eligible, "evaluated": len(tasks[0].people)}
        if not any(len(task.people) for task in tasks):
            continue
        champions, fallback_name = choice.champions[domain], choice.fallbacks[domain]
        shown = {champions[segment] for segment in (*SERVING_SEGMENTS, COLD_ITEM)}
        wanted = {BASELINE, fallback_name, *shown} if only_served else {*configs}
        judgements: tuple[dict[str, Judgement], ...] = ({}, {})
        versions: dict[str, str] = {}
        # The popularity that fills up is fitted first.
        for name in sorted((name for name in configs if name in wanted), key=lambda name: name != fallback_name):
            model = configs[name]
            if model not in fits:
                with ledger.stage(name, domain, "fit"):
                    fits.fit(model)
            fallback = fits.fit(configs[fallback_name])
            assert isinstance(fallback, PopularityModel)
            with ledger.stage(name, domain, "evaluate"):
                # A blend is for one segment, and for those that take over its champion.
                own = model.segment if isinstance(model, BlendConfig) else None
                served = None if own is None else (own, *(part for part in champions if champions[part] == name))
                for task, found in zip(tasks, judgements, strict=True):
                    if len(task.people):
                        found[name] = judge(
                            fits.fit(model),
                            fallback,
                            split,
                            task,
                            evaluation.cutoffs,
                            content_people=evaluation.content_people,
                            only=served,
                        )
            versions[name] = version(model)
        versions[SERVED] = _version_of_mix(SERVED, [versions[champions[segment]] for segment in SERVING_SEGMENTS])
        drawn = json.dumps(dataclasses.asdict(exploration), sort_keys=True)
        suits = champions[COLD_ITEM]
        versions[SERVED_EXPLORED] = _version_of_mix(SERVED_EXPLORED, [versions[SERVED], versions[suits], drawn])
        for task, found in zip(tasks, judgements, strict=True):
            if not found:
                continue
            found = {name: found[name] for name in configs if name in found}
            judged.comparison.extend(comparison_rows(champions, found, task, evaluation))
            # Champions are not compared with it: in the segment of a champion, what is served is the champion.
            found[SERVED] = _served(found, champions, serving_segments(split.train.take(task.people), domain))
            if exploration.share:
                with ledger.stage("exploration", domain, "evaluate"):
                    found[SERVED_EXPLORED] = judge_explored(
                        found[SERVED], split, task, evaluation.cutoffs, exploration, fits.fit(configs[suits])
                    )
                for segment in task.segments:
                    judged.comparison.extend(paired_rows(SERVED_EXPLORED, [SERVED], found, task, segment, evaluation))
            judged.evaluation.extend(evaluation_rows(found, versions, task, champions, evaluation))
        if not only_served:
            with ledger.stage(ITEM_TO_ITEM, domain, "evaluate"):
                judged = judged.with_more(_judge_related(split, domain, choice, fits, versions, evaluation))
    return judged


def _judge_related(
    split: Split,
    domain: str,
    choice: _Choice,
    fits: Fits,
    versions: Mapping[str, str],
    evaluation: EvaluationConfig,
) -> _Judged:
    """Judges everything that may relate items, and popular items in their place."""
    configs, champions = choice.configs[domain], choice.champions[domain]
    fallback = fits.fit(configs[choice.fallbacks[domain]])
    assert isinstance(fallback, PopularityModel)
    models = {name: fits.fit(configs[name]) for name in RELATING if name in configs}
    popular = fits.fit(configs[BASELINE])
    assert isinstance(popular, PopularityModel)
    found = _Judged([], [], {})
    for segment in RELATING_SEGMENTS:
        asked = relating_task(split, domain, segment, evaluation)
        if not len(asked.task.people):
            continue
        ways = {BASELINE: [popular_relater(popular)], **_ways_to_relate(models, fallback, asked.task.excluded)}
        judged = {name: judge_relating(own, split, asked, evaluation.cutoffs) for name, own in ways.items()}
        found.evaluation.extend(evaluation_rows(judged, versions, asked.task, champions, evaluation))
        if champions[segment] in judged:
            found.comparison.extend(comparison_rows(champions, judged, asked.task, evaluation))
    return found


def _served(judgements: Mapping[str, Judgement], champions: Mapping[str, str], segment: NDArray[np.int8]) -> Judgement:
    """What people get: each one's list from the champion of their segment."""
    first = next(iter(judgements.values()))
    mix = Judgement(np.empty_like(first.values), np.empty_like(first.content_values), np.empty_like(first.items))
    for position, name in enumerate(SERVING_SEGMENTS):
        members, own = segment == position, judgements[champions[name]]
        mix.values[members] = own.values[members]
        mix.content_values[members] = own.content_values[members]
        mix.items[members] = own.items[members]
    return mix


def _version_of_mix(name: str, parts: Sequence[str]) -> str:
    return f"{name}-{hashlib.sha256(':'.join(parts).encode()).hexdigest()[:12]}"


@dataclasses.dataclass(frozen=True, eq=False)
class FittedModels:
    """The models that are served, fitted on everything.

    Attributes:
        item_keys: Item index that all of them share.
        models: Models by version.
        served: Version by target and segment: the serving segments, `cold_item`, which says whom explored items suit, those of
            items for an item, and `fallback`, which fills up what is left.
        related: Version of the model that relates items where lists of the chosen one run short; None if there is none.
    """

    item_keys: pa.StringArray
    models: Mapping[str, Recommender]
    served: Mapping[str, Mapping[str, str]]
    related: str | None

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
        """A manifest of JSON values and the arrays it names; item keys and members of blends are stored once."""
        arrays: Arrays = {}
        versions = {id(model): version for version, model in self.models.items()}
        manifest: dict[str, Any] = {
            "models": {version: model.config.to_json() for version, model in self.models.items()},
            "members": {
                version: [versions[id(member)] for member in model.members]
                for version, model in self.models.items()
                if isinstance(model, BlendModel)
            },
            "served": {domain: dict(served) for domain, served in self.served.items()},
            "related": self.related,
        }
        for version, model in self.models.items():
            own = {} if isinstance(model, BlendModel) else model.to_arrays()
            arrays |= {f"{version}/{name}": values for name, values in own.items() if name != "item_keys"}
        return manifest, {"item_keys": keys_to_array(self.item_keys), **arrays}

    @staticmethod
    def from_arrays(manifest: Mapping[str, Any], arrays: Mapping[str, Any]) -> "FittedModels":
        """The models that `to_arrays` took apart."""
        item_keys = keys_from_array(arrays["item_keys"])
        configs = {version: config_from_json(values) for version, values in manifest["models"].items()}
        models: dict[str, Recommender] = {}
        for version, config in configs.items():
            if not isinstance(config, BlendConfig):
                own = {name.split("/", 1)[1]: arrays[name] for name in arrays if name.startswith(f"{version}/")}
                models[version] = model_from_arrays({**own, "item_keys": arrays["item_keys"]}, config)
        for version, members in manifest["members"].items():
            config = configs[version]
            assert isinstance(config, BlendConfig)
            models[version] = BlendModel(config, item_keys, tuple(models[member] for member in members))
        return FittedModels(
            item_keys, {version: models[version] for version in configs}, manifest["served"], manifest["related"]
        )


def fit_models(interactions: Interactions, selection: Selection, ledger: Ledger | None = None) -> FittedModels:
    """Fits on everything what was chosen: the champions, the fallbacks, and the model that relates items.

    Args:
        interactions: Those that the selection was made on.
        selection: What was chosen.
        ledger: Told the `final fit` of each model; members of a blend one by one.

    Raises:
        ValueError: If the interactions are not those that the selection was made on.
    """
    fingerprint = interactions.fingerprint()
    if fingerprint != selection.interactions_fingerprint:
        raise ValueError("the interactions have changed since the models were selected; select again")
    ledger = ledger or Ledger()
    fits = Fits(interactions)
    version = partial(model_version, interactions_fingerprint=fingerprint, code=selection.code)

    def fit(config: ModelConfig, domain: str) -> str:
        for part in config.members if isinstance(config, BlendConfig) else (config,):
            if part not in fits:
                with ledger.stage(part.name, domain, "final fit"):
                    fits.fit(part)
        fits.fit(config)
        return version(config)

    served: dict[str, dict[str, str]] = {}
    related: str | None = None
    for domain, configs in selection.configs.items():
        names = {**selection.champions[domain], "fallback": selection.fallbacks[domain]}
        served[domain] = {segment: fit(configs[name], domain) for segment, name in names.items()}
        if related is None and (relating := next((name for name in RELATING if name in configs), None)):
            related = fit(configs[relating], domain)
    models = {version(config): model for config, model in fits.models.items()}
    return FittedModels(interactions.item_keys, models, served, related)
