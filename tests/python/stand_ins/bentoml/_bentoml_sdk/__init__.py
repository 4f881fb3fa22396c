class Service:
    """What `bentoml.service` makes of a class."""

    def __init__(self, inner):
        self.inner = inner
        self.apis = {name: value for name, value in vars(inner).items() if getattr(value, "is_api", False)}

    def __call__(self):
        return self.inner()
