"""Prices of parcels, in several currencies."""

from typing import Literal

RATES = {"EUR": 1.0, "USD": 1.1}


class Model:
    def predict(self, kilograms: float, currency: Literal["EUR", "USD"]) -> str:
        """What it costs to send a parcel."""
        return f"{(4.5 + 1.2 * kilograms) * RATES[currency]:.2f} {currency}"
