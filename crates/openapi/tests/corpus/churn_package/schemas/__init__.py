from .customer import *
from .risk import Contact, Risk

__all__ = ["Contact", "Customer", "Plan", "Risk"]
