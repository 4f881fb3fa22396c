import functools


def decode_args(predict):
    """The function that takes requests; the one with decoded arguments stays below it."""

    @functools.wraps(predict)
    async def wrapped(self, request):
        raise NotImplementedError("requests are decoded by mlserver itself")

    return wrapped
