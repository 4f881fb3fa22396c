"""Keeps grades: students read them, teachers set them."""


class Grades:
    """A grade for each student, as long as the process lives."""

    def load(self) -> None:
        """Runs once, before the first call."""
        self.grades = {"ada": 1}

    def get_grades(self) -> dict[str, int]:
        """All grades."""
        return self.grades

    def set_grades(self, student: str, grade: int) -> dict[str, int]:
        """Sets the grade of a student.

        Args:
            student: Whose grade it is.
            grade: From 1 to 6.
        """
        self.grades[student] = grade
        return self.grades
