"""Quotes of insurances."""

from fastapi import FastAPI

from .routers import cars, health_router
from .settings import PREFIX

app = FastAPI(title="Quotes", version="2", docs_url=None)
app.include_router(cars.router, prefix=PREFIX)
app.include_router(health_router)
