"""Recommender models: arrays and Arrow tables in, arrays and Arrow tables out.

Nothing here knows of files, of the warehouse or of the asset graph. From the table `features.user_item_preference` the way is:
`interactions_from_arrow`, `select_models` (search, champions, evaluation), `fit_models` on everything, `score_people` and
`score_related_items`. Each family of models is a module; `registry` lists them.
"""

from models_ml.evaluation import EVALUATION_SCHEMA, EvaluationConfig
from models_ml.interactions import Interactions, interactions_from_arrow
from models_ml.related import RELATED_SCHEMA, score_related_items
from models_ml.scoring import SCORED_SCHEMA, ScoringConfig, score_people
from models_ml.search import SearchConfig
from models_ml.selection import FittedModels, Selection, SelectionConfig, fit_models, select_models
from models_ml.split import SplitConfig

__all__ = [
    "EVALUATION_SCHEMA",
    "RELATED_SCHEMA",
    "SCORED_SCHEMA",
    "EvaluationConfig",
    "FittedModels",
    "Interactions",
    "ScoringConfig",
    "SearchConfig",
    "Selection",
    "SelectionConfig",
    "SplitConfig",
    "fit_models",
    "interactions_from_arrow",
    "score_people",
    "score_related_items",
    "select_models",
]
