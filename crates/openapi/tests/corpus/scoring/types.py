from enum import Enum
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field


class Grade(Enum):
    GOOD = "good"
    POOR = "poor"


class Decision(NamedTuple):
    grade: Grade
    score: float


class Person(BaseModel):
    age: Annotated[int, Field(ge=18, le=120)]


class Applicant(Person):
    income: float = Field(gt=0, description="Of a year, in euros.", examples=[42000.0])
    work: Literal["employed", "self-employed"] = "employed"
