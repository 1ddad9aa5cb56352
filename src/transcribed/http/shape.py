"""The base of models whose JSON has names in Amazon's style. Pure."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal


class Shape(BaseModel):
    """A model whose JSON has names in Amazon's style, such as `LanguageCode`."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True)
