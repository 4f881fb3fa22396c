"""Churn of a telephone company."""

from .model import ChurnModel

__all__ = ["ChurnModel"]
