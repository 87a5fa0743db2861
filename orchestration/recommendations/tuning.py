"""A long search of parameters: on request, within a budget of time, kept and resumed.

What it finds is written to one file of the home. The next run tries these parameters before all others, on its own inner
split, so they are used only where they are better; and the file is part of what identifies a run's settings.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from models_ml.candidates import candidates_for
from models_ml.costs import Ledger
from models_ml.selection import Known, search_candidates, validation_of
from models_ml.split import split_interactions
from orchestration.instance import only_run_of
from orchestration.recommendations.memory import PeakMemory
from orchestration.recommendations.steps import read_interactions, selection_config
from orchestration.resources.durable import write_whole
from orchestration.resources.warehouse import connect
from orchestration.settings import Settings
from orchestration.versions import models_version


class NothingToTuneError(RuntimeError):
    """There is nothing to search on."""

    exit_status = 2


@dataclass(frozen=True)
class Tuned:
    """The best parameters of one candidate.

    Args:
        candidate: Name of the candidate.
        targets: Targets, joined by +.
        parameters: What was found.
        trials: Different configurations tried so far, earlier calls included.
        gain: Mean NDCG relative to popularity's, 1 for popularity.
    """

    candidate: str
    targets: str
    parameters: dict[str, Any]
    trials: int
    gain: float


def tune(settings: Settings, seconds: float, progress: Callable[[str], None] = lambda _: None) -> list[Tuned]:
    """Searches the parameters of every candidate, each for its share of the time, and writes what was found.

    Studies are kept below the home by the content of the interactions, the code of the models and the protocol: a search on the
    same goes on where the last one ended, also after it was killed; on others it starts anew.

    Args:
        settings: Home and seed.
        seconds: Time for all candidates together; each tries at least one configuration, and ends the one it has begun.
        progress: Told each configuration that is tried.

    Raises:
        NothingToTuneError: If there is no build file yet.
        HomeBusyError: If a run works in the home; once the search has read the warehouse, runs may come and go.
    """
    if not settings.warehouse_file.exists():
        raise NothingToTuneError(f"there is nothing to search on in {settings.home}; run `zhiying run` first")
    with only_run_of(settings), connect(settings.warehouse_file, read_only=True) as connection:
        interactions = read_interactions(connection)
    config = selection_config(settings)
    outer = split_interactions(interactions, config.split)
    searched = [
        candidate
        for candidate in candidates_for(outer.train, config.evaluation.relevance_threshold, config.ease_items)
        if config.tries(candidate.asked_for_as)
        for _ in range(1 if candidate.joint else len(interactions.domains))
    ]
    budget = replace(config.search, trials=10_000, seconds=seconds / max(1, len(searched)))
    config = replace(config, search=budget)
    validation = validation_of(outer, config)
    settings.studies_dir.mkdir(parents=True, exist_ok=True)
    # What a trial reached holds for this data, code and protocol only; the budget may differ from call to call.
    protocol = json.dumps(selection_config(settings).to_json(), sort_keys=True)
    identity = f"{interactions.fingerprint()}:{models_version()}:{protocol}"
    file = settings.studies_dir / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.log"
    storage = JournalStorage(JournalFileBackend(str(file)))
    search_candidates(
        outer.train,
        validation,
        config,
        Ledger(progress, PeakMemory()),
        known=read_tuned(settings.tuned_file),
        storage=storage,
    )
    found = [best for name in sorted(optuna.get_all_study_names(storage)) if (best := _best(name, storage))]
    write_tuned(settings.tuned_file, found)
    return found


def _best(name: str, storage: JournalStorage) -> Tuned | None:
    """What a study found; None if there was nothing to choose from or nothing could be fitted."""
    study = optuna.load_study(study_name=name, storage=storage)
    trials = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    best = max(trials, key=lambda trial: trial.values[0], default=None)
    if best is None or not best.params:
        return None
    candidate, targets = name.split("/", 1)
    tried = {trial.user_attrs["config"] for trial in trials}
    return Tuned(candidate, targets, dict(best.params), len(tried), float(best.values[0]))


def read_tuned(file: Path) -> Known:
    """Parameters by candidate and targets; nothing where nobody has searched.

    Raises:
        ValueError: If the file cannot be read.
    """
    if not file.exists():
        return {}
    try:
        return {
            (entry["candidate"], entry["targets"]): dict(entry["parameters"]) for entry in json.loads(file.read_text())
        }
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not what `zhiying tune` wrote; delete it and search again") from error


def write_tuned(file: Path, found: list[Tuned]) -> None:
    """Replaces the file, whole or not at all."""
    write_whole(file, json.dumps([asdict(entry) for entry in found], indent=1, sort_keys=True) + "\n")
