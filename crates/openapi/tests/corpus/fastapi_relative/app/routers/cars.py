from __future__ import annotations

from fastapi import APIRouter, Depends

from ..schemas import Car, Quote

router = APIRouter(prefix="/cars", tags=["cars"])


@router.post("/quote")
async def quote(car: Car) -> Quote:
    """What insuring a car costs.

    :param car: What is insured.
    :returns: The price of a year.
    """


@router.get("/{plate}", deprecated=True, response_model=Car | None)
async def known(plate: str):
    """A car that was quoted before."""
