from __future__ import annotations

import typing as t

from pydantic import BaseModel


class Contact(BaseModel):
    number: str
    best_hour: t.Annotated[int, "Of the day"] = 9


class Risk(BaseModel):
    value: float
    contact: t.Optional[Contact]
