"""Faults of machines from their sensors."""

from typing import Any, Literal

import numpy as np
from nptyping import Bool, Float64, Int, NDArray, Shape

Window = NDArray[Shape["60, 8"], Float64]


class Model:
    def predict(self, window: Window, kind: Literal["pump", "fan"] = "pump") -> NDArray[Shape["8"], Bool]:
        """Which sensor shows a fault.

        :param window: A minute of all sensors.
        """

    def series(self, values: NDArray[Shape["*, ..."], Float64]) -> NDArray[Shape["* rows, 2 columns"], Int]:
        """Any series."""

    def anything(self, values: NDArray[Any, Any]) -> np.float32:
        """A number of anything."""
