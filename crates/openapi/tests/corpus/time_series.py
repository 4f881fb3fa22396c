"""Demand of the coming days."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Optional, TypedDict, Union

import pandas as pd

DAY = timedelta(days=1)
HORIZON = 7 * 2


class Step(TypedDict):
    at: datetime
    demand: float
    band: tuple[float, float]


class Demand:
    """Forecasts demand.

    Attributes:
        name: Of the model.
    """

    @property
    def name(self) -> str:
        return "demand"

    def predict(
        self,
        history: Mapping[date, float],
        horizon: int = HORIZON,
        step: timedelta = DAY,
        opens: time = time(8, 0),
        holidays: Optional[Sequence[date]] = None,
        seasons: Union[int, Sequence[int], None] = -1,
    ) -> list[Step]:
        """Forecasts.

        Args:
            history (Mapping[date, float]): Demand of each day: sold, not ordered.
            horizon (int, optional): How many steps are forecast. Defaults to 14.
            step: Time between
                two steps.
            holidays: Days that are closed.

        Yields:
            Step: one after the other
        """

    def slowest(self) -> timedelta:
        """How long a forecast took at most."""
        return DAY

    def stream(self, history: list[float]) -> Iterator[float]:
        """One after the other."""
        yield from history

    def frame(self, table: pd.DataFrame) -> pd.Series:
        """Forecasts a table."""
        return table.mean()
