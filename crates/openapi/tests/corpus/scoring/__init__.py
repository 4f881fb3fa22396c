from .model import Scorer

__all__ = ["Scorer"]
