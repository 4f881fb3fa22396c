"""Prices of parcels, with a discount for heavy ones."""


class Model:
    def predict(self, kilograms: float) -> float:
        """What it costs to send a parcel, in euros."""
        return round(4.5 + 1.2 * min(kilograms, 10) + 0.9 * max(kilograms - 10, 0), 2)
