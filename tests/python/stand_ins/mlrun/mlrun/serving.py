class V2ModelServer:
    def __init__(self, context=None, name=None):
        self.context, self.name = context, name
