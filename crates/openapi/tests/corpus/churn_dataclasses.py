"""Who is about to leave, with dataclasses that inherit."""

import dataclasses
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import date
from enum import IntEnum
from typing import ClassVar, Final

MONTH: Final = 30
DEFAULT_HORIZON = 3 * MONTH


class Plan(IntEnum):
    BASIC = 1
    PLUS = 2
    PRO = 3


@dataclass(frozen=True)
class Person:
    """
    :ivar name: As on the bill.
    :ivar since: First day as a customer.
    """

    name: str
    since: date


@dataclass(kw_only=True)
class Customer(Person):
    """A customer with what he uses.

    :ivar usage: Minutes per month, the newest last.
    """

    version: ClassVar[int] = 2
    plan: Plan = Plan.BASIC
    usage: list[float] = field(default_factory=lambda: [0.0])
    tags: frozenset[str] = frozenset()
    cached: float = field(init=False, default=0.0)
    region: InitVar[str | None] = None

    def __post_init__(self, region):
        self.cached = sum(self.usage)


@dataclasses.dataclass
class Outlook:
    risk: float
    _: KW_ONLY
    reasons: list[str] = dataclasses.field(default_factory=list)
    contacts: tuple[str, ...] = ()


class Churn:
    """Risk of churn."""

    def predict(self, customer: Customer, horizon: int = DEFAULT_HORIZON) -> Outlook:
        """How likely a customer leaves.

        :param customer: Who may leave.
        :param int horizon: Days that are looked ahead.
        :return: The risk and its reasons.
        """
        return Outlook(risk=0.5)

    async def rank(self, customers: list[Customer], *, limit: int = 10) -> list[Outlook]:
        """Orders customers by risk."""
        return []
