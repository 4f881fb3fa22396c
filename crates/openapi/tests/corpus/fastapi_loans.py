"""Decides on loans."""

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, status
from pydantic import BaseModel, Field

app = FastAPI(title="Loan check", description="Says who gets a loan.")


class Application(BaseModel):
    income: float = Field(gt=0, description="A year, in €")
    debt: float = Field(ge=0, description="In €")
    purpose: Literal["house", "car"] = "house"


class Decision(BaseModel):
    granted: bool
    ratio: float


def paging(limit: Annotated[int, Query(ge=1, le=100)] = 20, offset: int = 0) -> dict:
    return {"limit": limit, "offset": offset}


@app.post("/score", response_model=Decision, status_code=status.HTTP_201_CREATED, responses={409: {"description": "Seen before."}})
async def score(application: Application, request: Request, x_team: Annotated[str | None, Header()] = None):
    """Scores one application.

    Args:
        x_team: Who asks.
    """
    if application.debt > 10 * application.income:
        raise HTTPException(status_code=422, detail="The debt is out of proportion.")
    return Decision(granted=True, ratio=application.debt / application.income)


@app.get("/decisions/{number}", deprecated=True)
def decision(number: int, verbose: bool = False) -> Decision:
    """An earlier decision."""
    raise HTTPException(404, "There is no such decision.")


@app.get("/decisions")
def decisions(page: Annotated[dict, Depends(paging)], purpose: list[str] = Query(default=[])) -> list[Decision]:
    return []


@app.get("/internal", include_in_schema=False)
def internal():
    return {}
