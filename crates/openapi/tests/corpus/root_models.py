"""Texts by topic, with pydantic's less usual forms."""

from ipaddress import IPv4Address
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    HttpUrl,
    RootModel,
    SecretStr,
    StringConstraints,
    conint,
    conlist,
    constr,
    model_validator,
)
from pydantic.alias_generators import to_camel

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z-]+$", max_length=40)]


class Topics(RootModel[dict[str, float]]):
    """Weight of each topic."""


class Words(RootModel):
    root: Annotated[list[str], Field(min_length=1)]


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Author(Camel):
    display_name: constr(min_length=1)
    home_page: HttpUrl | None = None
    mail: EmailStr | None = None
    last_seen_from: IPv4Address | None = None
    token: SecretStr | None = Field(default=None, repr=False)


class Article(Camel):
    slug: Slug
    words: Words
    author: Author
    reading_minutes: conint(ge=1, le=600) = 5
    vector: conlist(float, min_length=3, max_length=3) | None = None
    language: str = Field(default="en", validation_alias=AliasChoices("lang", "language"), examples=["de", "en"])
    source: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @model_validator(mode="after")
    def check(self) -> Self:
        return self


class TopicModel:
    def predict(self, article: Article, top: int = Field(default=3, ge=1)) -> Topics:
        """Topics of an article."""

    def clean(self, article: Article) -> Article:
        """The article without what is not needed."""
