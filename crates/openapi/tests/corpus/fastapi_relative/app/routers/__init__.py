from . import cars
from .health import router as health_router

__all__ = ["cars", "health_router"]
