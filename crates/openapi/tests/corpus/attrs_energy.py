"""Energy that a building takes, with attrs and msgspec-like plain classes."""

import attrs
from attrs import define, field, validators


@define
class Wall:
    """
    :param area: Square metres.
    :param u: Watts per square metre and kelvin.
    """

    area: float
    u: float = 0.24


@attrs.frozen(kw_only=True)
class Building:
    walls: list[Wall] = field(factory=list)
    year: int = field(default=1990, validator=validators.ge(1800))
    name: str = attrs.field()


class Energy:
    def predict(self, building: Building, degrees: float = -10.0) -> float:
        """Kilowatts at a temperature outside.

        :param building: What is heated
        :type building: Building
        :param degrees: Celsius outside, may be
            below zero
        :returns: Kilowatts
        :rtype: float
        """
        return 1.0
