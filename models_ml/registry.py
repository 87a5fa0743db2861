"""All families of models in one place.

Holds, for each kind of configuration, the function that fits it and the class that it becomes, so that configurations can be
stored as JSON and models as arrays. What a family does is in its own module; which are tried is decided in `candidates`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_ml.als import ALSConfig, ALSModel, fit_als
from models_ml.blend import BlendConfig, BlendModel, fit_blend
from models_ml.bridge import BridgeConfig, BridgeModel, fit_bridge
from models_ml.cold_items import ColdItemsConfig, ColdItemsModel, fit_cold_items
from models_ml.contemporary import (
    ContemporaryPopularityConfig,
    ContemporaryPopularityModel,
    fit_contemporary_popularity,
)
from models_ml.content_model import ContentModel, ContentModelConfig, fit_content_model
from models_ml.ease import EASEConfig, EASEModel, fit_ease
from models_ml.ials import IALSConfig, IALSModel, fit_ials
from models_ml.interactions import Interactions
from models_ml.mapped import MappedConfig, MappedModel, fit_mapped
from models_ml.model import Arrays, ModelConfig, Recommender
from models_ml.neighbours import (
    ItemNeighboursConfig,
    ItemNeighboursModel,
    UserNeighboursConfig,
    UserNeighboursModel,
    fit_item_neighbours,
    fit_user_neighbours,
)
from models_ml.popularity import PopularityConfig, PopularityModel, fit_popularity
from models_ml.segment_popularity import SegmentPopularityConfig, SegmentPopularityModel, fit_segment_popularity


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        config: Its configuration.
        model: What a fit gives; its `from_arrays(arrays, config)` undoes `to_arrays`.
        fit: Function of interactions and configuration.
    """

    config: type[ModelConfig]
    model: Any
    fit: Any


# A blend nests other families and is therefore fitted and restored below.
_FAMILIES = (
    Family(PopularityConfig, PopularityModel, fit_popularity),
    Family(SegmentPopularityConfig, SegmentPopularityModel, fit_segment_popularity),
    Family(ContemporaryPopularityConfig, ContemporaryPopularityModel, fit_contemporary_popularity),
    Family(ALSConfig, ALSModel, fit_als),
    Family(IALSConfig, IALSModel, fit_ials),
    Family(EASEConfig, EASEModel, fit_ease),
    Family(ItemNeighboursConfig, ItemNeighboursModel, fit_item_neighbours),
    Family(UserNeighboursConfig, UserNeighboursModel, fit_user_neighbours),
    Family(ContentModelConfig, ContentModel, fit_content_model),
    Family(ColdItemsConfig, ColdItemsModel, fit_cold_items),
    Family(MappedConfig, MappedModel, fit_mapped),
    Family(BridgeConfig, BridgeModel, fit_bridge),
)
FAMILIES: Mapping[str, Family] = {family.config.kind: family for family in _FAMILIES}


def config_from_json(values: Mapping[str, Any]) -> ModelConfig:
    """The configuration of `ModelConfig.to_json`.

    Raises:
        ValueError: If the kind is unknown.
    """
    kind = str(values.get("kind"))
    fields = {name: value for name, value in values.items() if name != "kind"}
    if kind == BlendConfig.kind:
        return BlendConfig(**{**fields, "members": tuple(config_from_json(member) for member in fields["members"])})
    if kind not in FAMILIES:
        raise ValueError(f"unknown kind of model {kind!r}, known are {', '.join((*FAMILIES, BlendConfig.kind))}")
    return FAMILIES[kind].config(**fields)


def fit_model(interactions: Interactions, config: ModelConfig) -> Recommender:
    """Fits the model that the configuration is of.

    Raises:
        ValueError: If the model has no finite solution with these parameters.
        TypeError: If there is no such model.
    """
    if isinstance(config, BlendConfig):
        return fit_blend(interactions, config, fit_model)
    family = FAMILIES.get(config.kind)
    if family is None:
        raise TypeError(f"no model for a {type(config).__name__}")
    model: Recommender = family.fit(interactions, config)
    return model


def model_from_arrays(arrays: Arrays, config: ModelConfig) -> Recommender:
    """The model that `Recommender.to_arrays` took apart."""
    if isinstance(config, BlendConfig):
        return BlendModel.from_arrays(arrays, config, model_from_arrays)
    model: Recommender = FAMILIES[config.kind].model.from_arrays(arrays, config)
    return model
