class Model:
    """The same words about parameters in three styles."""

    def predict(self, text: str, top: int = 3) -> list[str]:
        """Finds words.

        Parameters
        ----------
        text : str
            Where to look.
        top : int, optional
            How many are wanted.

        Returns
        -------
        list of str
            The words, the most frequent first.
        """
        return sorted(text.split())[:top]

    def by_rest(self, text: str, top: int = 3) -> list[str]:
        """Finds words.

        :param text: Where to look.
        :param int top: How many are wanted.
        :returns: The words, the most frequent first.
        """
        return self.predict(text, top)

    def by_epytext(self, text: str, top: int = 3) -> list[str]:
        """Finds words.

        @param text: Where to look.
        @param top: How many are wanted.
        @return: The words, the most frequent first.
        """
        return self.predict(text, top)
