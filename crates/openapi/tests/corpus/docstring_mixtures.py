"""Docstrings as people write them: half of one style, half of another, and with text that only looks like a section."""

from typing import NamedTuple


class Grade(NamedTuple):
    """A grade.

    Attributes:
        value (float): From 1 to 6; 1 is best.
        words: As said,
            not as written.

            Example:
                very good
    """

    value: float
    words: str = ""


class Essays:
    """Grades essays.

    Note: it reads English alone.

    Examples
    --------
    >>> Essays().predict("...")
    """

    def predict(self, text: str, strict: bool = False, *, weight: float = 1.0, note: str | None = None) -> Grade:
        r"""Grades an essay, in one call: as a teacher would.

        The longer part of the description, with a colon: here.
        And a list:

        * Returns: nothing of it
        * args

        Args:
            text (str): The essay. URLs such as https://example.org: kept.
            strict (bool, optional): If set:

                - spelling counts
                - style counts
            **kwargs: Not there.

        Keyword Args:
            weight: Times.

        Returns:
            Grade: the grade: a number and words

        Raises:
            ValueError: it is empty
        """

    def numbered(self, text, n: int = 3) -> list[str]:
        """Sentences.

        Parameters
        ----------
        text : str or None
            The essay
        n : int, optional (default=3)
            How many
            of them

        See Also
        --------
        predict : Grades.

        Returns
        -------
        sentences : list of str
            The first ones
        """

    def rest(self, text: str, depth: int = 1) -> dict[str, int]:
        """
        Counts words.

        :param str text: The essay,
            which is counted
        :param depth:
            How deep
        :type depth: int
        :raises KeyError: never
        :returns:
            Words and how often
            they come
        """
