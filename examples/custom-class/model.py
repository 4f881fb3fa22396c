"""Sends a support ticket to the department that its words speak of."""

import json
from dataclasses import dataclass
from pathlib import Path

import snowballstemmer


@dataclass
class Routing:
    """Where a ticket goes."""

    department: str
    scores: dict[str, float]


class TicketRouter:
    """Counts the words that each department is known by."""

    def load(self) -> None:
        """Runs once, before the first call. Files beside this one are found by their relative path."""
        self.stemmer = snowballstemmer.stemmer("english")
        keywords = json.loads(Path("keywords.json").read_text())
        self.stems = {name: set(self.stemmer.stemWords(words)) for name, words in keywords.items()}

    def predict(self, text: str, default: str = "support") -> Routing:
        """Chooses the department of a ticket.

        Args:
            text: What the customer wrote.
            default: The department of a ticket without any known word.
        """
        words = self.stemmer.stemWords(text.lower().replace(",", " ").replace(".", " ").split())
        hits = {name: sum(word in stems for word in words) for name, stems in self.stems.items()}
        total = sum(hits.values())
        scores = {name: count / total if total else 0.0 for name, count in hits.items()}
        return Routing(max(scores, key=scores.__getitem__) if total else default, scores)

    def departments(self) -> list[str]:
        """Lists the departments."""
        return list(self.stems)

    def explain(self, text: str, department: str) -> list[str]:
        """Lists the words of a text that speak for a department."""
        if department not in self.stems:
            raise ValueError(f"there is no department {department!r}: choose one of {', '.join(self.stems)}")
        return [word for word in text.lower().split() if self.stemmer.stemWord(word) in self.stems[department]]
