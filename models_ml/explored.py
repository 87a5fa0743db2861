"""What exploration costs and what it brings: the lists that are served, judged with it.

Holds the way from judged lists to the same lists with explored places, on the same people and the same held-out part. How
places are explored is in `exploration`, what is measured in `evaluation`.
"""

import numpy as np

from models_ml.evaluation import EvaluationTask, Judgement, judge_lists
from models_ml.exploration import ExplorationConfig, exploration_candidates, explore
from models_ml.model import Recommender
from models_ml.rules import NO_ORIGIN, Ranked
from models_ml.split import Split


def judge_explored(
    served: Judgement,
    split: Split,
    task: EvaluationTask,
    cutoffs: tuple[int, ...],
    config: ExplorationConfig,
    suits: Recommender | None = None,
) -> Judgement:
    """Explores places of judged lists as scoring does, and judges them again.

    What is little known is what few people have had to do with in the training part. Items that the task leaves out of every
    list are not explored. Content is measured for the people for whom it was measured before.

    Args:
        served: The lists without exploration, with as many places as the largest cutoff.
        split: Where the task is from.
        task: Who is asked for what.
        cutoffs: Lengths at which the lists are judged, ascending.
        config: How much is explored, with a share above 0.
        suits: Says which of the little known items suit a person, fitted on the training part.
    """
    people = split.train.take(task.people)
    columns = split.train.domain_range(task.domain)
    candidates = exploration_candidates(split.train, columns, config, excluded=task.excluded)
    # Scores tell a reader of lists how sure a model is; no measure looks at them.
    scores = np.zeros(served.items.shape, dtype=np.float32)
    ranked = Ranked.of(served.items, scores, np.full(served.items.shape, NO_ORIGIN, dtype=np.int16))
    explored, _ = explore(ranked, people, candidates, config, suits=suits)
    sample = np.flatnonzero(np.isfinite(served.content_values).any(axis=1))
    return judge_lists(explored.items, split, task, cutoffs, sample=sample)
