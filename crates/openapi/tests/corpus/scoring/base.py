from abc import ABC, abstractmethod

from .types import Applicant, Decision


class Base(ABC):
    @abstractmethod
    def predict(self, applicant: Applicant) -> Decision:
        """Decides on a credit."""

    def explain(self, applicant: Applicant, words: int = 20) -> str:
        """Says why.

        Args:
            words: At most so many.
        """
        return f"income of {applicant.income}"[:words]
