"""The model of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import schemas as s
from .base import ModelBase
from .constants import THRESHOLD as DEFAULT
from .schemas import Contact, Risk as Outcome

if TYPE_CHECKING:
    from .schemas.customer import Customer


class ChurnModel(ModelBase):
    """Who leaves."""

    def predict(self, customer: Customer, threshold: float = DEFAULT, plan: s.Plan = s.Plan.FLAT) -> Outcome:
        """Risk of one customer."""
        return Outcome(value=0.5, contact=None)

    def contact(self, number: str) -> Contact | None:
        """Who is called."""
