from datetime import date
from typing import Optional

from pydantic import BaseModel, Field


class Vehicle(BaseModel):
    plate: str = Field(..., regex=r"^[A-Z0-9-]+$")
    built: Optional[date]

    class Config:
        extra = "forbid"
        schema_extra = {"example": {"plate": "M-KE 12", "built": "2020-01-31"}}


class Car(Vehicle):
    seats: int = Field(5, ge=1, le=9, example=4)


class Quote(BaseModel):
    price: float
    currency: str = "EUR"
