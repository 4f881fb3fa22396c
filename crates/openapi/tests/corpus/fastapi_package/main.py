"""A service of several routers."""

from fastapi import FastAPI

from .routers import items, users


def create_app() -> FastAPI:
    app = FastAPI()
    app.include_router(users.router, prefix="/api")
    app.include_router(items.router)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


app = create_app()
