"""Credit decisions with pydantic of the first version."""

from datetime import date
from typing import Dict, List, Optional

from pydantic import BaseModel, Extra, Field, confloat, conlist, root_validator, validator


class Loan(BaseModel):
    amount: confloat(gt=0, le=1_000_000)
    months: int = Field(..., ge=6, le=120, multiple_of=6)
    purpose: Optional[str]
    started: date = None
    payments: conlist(float, min_items=1, max_items=24) = []
    extra: Dict[str, float] = {}

    class Config:
        extra = Extra.forbid
        allow_population_by_field_name = True
        fields = {"months": "months"}

    @validator("purpose")
    def known(cls, value):
        return value

    @root_validator
    def whole(cls, values):
        return values


class Decision(BaseModel):
    granted: bool
    rate: Optional[float] = Field(None, alias="interestRate")


class Credit:
    def predict(self, loans: List[Loan]) -> List[Decision]:
        """Decides on loans."""
        return [Decision(granted=True) for _ in loans]
