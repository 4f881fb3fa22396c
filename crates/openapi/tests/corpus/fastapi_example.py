"""A web service as many have one already: a FastAPI application around a model."""

from fastapi import FastAPI
from pydantic import BaseModel, Field

app = FastAPI(title="Loan check")


class Application(BaseModel):
    income: float = Field(gt=0, description="A year, in €")
    debt: float = Field(ge=0, description="In €")


@app.post("/score")
def score(application: Application) -> dict[str, float | bool]:
    ratio = application.debt / application.income
    return {"ratio": ratio, "granted": ratio < 0.4}


@app.get("/limits")
def limits(currency: str = "EUR") -> dict[str, float | str]:
    return {"highest_ratio": 0.4, "currency": currency}
