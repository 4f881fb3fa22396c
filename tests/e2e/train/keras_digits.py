"""Trains a classifier of handwritten digits and saves it as Keras and TensorFlow do: keras_digits.py DATA FOLDER"""

import json
import sys
from pathlib import Path

import keras
import numpy as np


def main(data: Path, folder: Path) -> None:
    digits = np.load(data)
    rows, numbers = digits["rows"].astype(np.float32), digits["numbers"]
    keras.utils.set_random_seed(0)
    layers = [keras.Input((64,), name="pixels"), keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(rows, numbers, epochs=3, verbose=0)
    model.save(folder / "digits.keras")
    model.export(folder / "saved", verbose=False)

    sample = rows[:12]
    answers = model.predict_on_batch(sample).tolist()
    (folder / "expected.json").write_text(json.dumps({"rows": sample.tolist(), "answers": answers}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
