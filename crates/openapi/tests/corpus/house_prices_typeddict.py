"""House prices by TypedDicts of every kind."""

from typing import Annotated, Literal, NotRequired, Required, TypedDict

from annotated_types import Ge, Interval, Le, MultipleOf

Grade = Annotated[int, Ge(1), Le(5)]


class Place(TypedDict):
    lat: Annotated[float, Interval(ge=-90, le=90)]
    lon: Annotated[float, Interval(ge=-180, le=180)]


class House(Place, total=False):
    """A house for sale.

    Parameters
    ----------
    area : float
        Square metres that are lived in.
    rooms : int
        Without kitchen and bath.
    """

    area: Required[float]
    rooms: int
    grade: Grade
    heating: Literal["gas", "oil", "heat pump", None]


class Price(TypedDict):
    price: Annotated[float, "In euros"]
    low: NotRequired[float]
    high: NotRequired[float]


Extras = TypedDict("Extras", {"solar-power": bool, "garage": int}, total=False)


class HousePrices:
    """Prices of houses."""

    def predict(
        self,
        houses: list[House],
        extras: Extras | None = None,
        quantile: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
        rounding: Annotated[int, MultipleOf(100)] = 1_000,
    ) -> list[Price]:
        """Price houses.

        Parameters
        ----------
        houses : list of House
            What is priced.
        quantile, optional
            Which price of the distribution is answered.
        rounding : int, default 1000
            To which euros.

        Returns
        -------
        list of Price
            In the order of the houses.
        """
        return []
