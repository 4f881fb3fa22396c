from enum import Enum

from pydantic import BaseModel, Field

from ..constants import BASE

__all__ = ["Customer", "Plan"]


class Plan(str, Enum):
    FLAT = "flat"
    PREPAID = "prepaid"


class Customer(BaseModel):
    months: int = Field(..., ge=0, title="Months", description="Since when.")
    plan: Plan
    discount: float = Field(BASE, ge=0, lt=1)
