"""A FastAPI service with generic answers, classes as dependencies and unions by a tag."""

from typing import Annotated, Generic, Literal, TypeVar, Union

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field, RootModel, computed_field

app = FastAPI()
T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: int | None = None


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float = Field(gt=0)

    @computed_field(description="Square metres.")
    @property
    def area(self) -> float:
        return 3.14 * self.radius**2


class Square(BaseModel):
    kind: Literal["square"] = "square"
    side: float = Field(gt=0)


Figure = Annotated[Union[Circle, Square], Field(discriminator="kind")]


class Figures(RootModel[list[Figure]]): ...


class Paging:
    def __init__(self, offset: Annotated[int, Query(ge=0)] = 0, limit: int = 10):
        self.offset, self.limit = offset, limit


def tenant(team: Annotated[str, Query(min_length=1)]) -> str:
    return team


def user(team: Annotated[str, Depends(tenant)], name: str = "anonymous") -> str:
    return name


@app.get("/figures")
def figures(paging: Annotated[Paging, Depends()], who: Annotated[str, Depends(user)]) -> Page[Circle]:
    """All circles."""


@app.post("/figures", status_code=201)
def add(figures: Figures) -> Page[Figure]:
    """Adds figures."""


@app.post("/largest", response_model=Figure, response_model_exclude_none=True)
def largest(figures: list[Figure]):
    """The largest of some."""
