class Model:
    def predict(self, x: int -> int:
        return x
