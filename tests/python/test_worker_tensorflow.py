"""Keras and TensorFlow."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

pytestmark = pytest.mark.tensorflow
DIGITS = load_digits()
IRIS = load_iris()


@pytest.fixture(scope="module")
def keras():
    import keras

    keras.utils.set_random_seed(0)
    return keras


@pytest.fixture(scope="module")
def digits(keras):
    layers = [
        keras.Input((64,), name="pixels"),
        keras.layers.Dense(16, "relu"),
        keras.layers.Dense(10, "softmax", name="digit"),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(DIGITS.data / 16, DIGITS.target, epochs=1, verbose=0)
    return model


@pytest.fixture(scope="module")
def two_inputs(keras):
    sepal, petal = keras.Input((2,), name="sepal"), keras.Input((2,), name="petal")
    hidden = keras.layers.Concatenate()([sepal, keras.layers.Rescaling(2.0)(petal)])
    outputs = {"species": keras.layers.Dense(3)(hidden), "size": keras.layers.Dense(1)(hidden)}
    return keras.Model({"sepal": sepal, "petal": petal}, outputs)


@pytest.fixture(scope="module")
def saved_digits(start_shared, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "saved"
    digits.export(folder, verbose=False)
    return start_shared("TensorFlow", folder)


def of_tensor(field):
    return field["type"]["tensor"]["datatype"], field["type"]["tensor"]["shape"]


def test_a_keras_model_is_served_by_its_inputs(start, digits, tmp_path):
    digits.save(tmp_path / "model.keras")
    worker = start("Keras", tmp_path / "model.keras")
    (field,) = worker.predict["inputs"]
    assert worker.predict["layout"] == "tensors"
    assert of_tensor(field) == ("FP32", [-1, 64])
    (output,) = worker.predict["outputs"]
    assert of_tensor(output) == ("FP32", [-1, 10])
    rows = (DIGITS.data / 16).astype(np.float32)
    for count in (1, 7, 64):
        outputs = worker.infer(**{field["name"]: rows[:count]})
        assert np.allclose(outputs[output["name"]], digits.predict_on_batch(rows[:count]), atol=1e-6)
    assert worker.infer_example()[output["name"]].shape == (1, 10)


def test_several_inputs_and_outputs_keep_their_names(start, two_inputs, tmp_path):
    two_inputs.save(tmp_path / "model.keras")
    worker = start("Keras", tmp_path / "model.keras")
    assert {field["name"]: of_tensor(field) for field in worker.predict["inputs"]} == {
        "sepal": ("FP32", [-1, 2]),
        "petal": ("FP32", [-1, 2]),
    }
    assert {field["name"] for field in worker.predict["outputs"]} == {"species", "size"}
    sepal, petal = np.float32(IRIS.data[:5, :2]), np.float32(IRIS.data[:5, 2:])
    expected = two_inputs.predict_on_batch({"sepal": sepal, "petal": petal})
    outputs = worker.infer(petal=petal, sepal=sepal)
    assert np.allclose(outputs["species"], expected["species"], atol=1e-6)
    assert np.allclose(outputs["size"], expected["size"], atol=1e-6)


def test_a_saved_model_is_served_by_its_signature(saved_digits, digits):
    (field,) = saved_digits.predict["inputs"]
    assert of_tensor(field) == ("FP32", [-1, 64])
    rows = (DIGITS.data[:5] / 16).astype(np.float32)
    (result,) = saved_digits.infer(**{field["name"]: rows}).values()
    assert np.allclose(result, digits.predict_on_batch(rows), atol=1e-6)


def test_text_reaches_a_signature(start, tmp_path):
    import tensorflow as tf

    class Lengths(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def count(self, text):
            return {"length": tf.strings.length(text, "UTF8_CHAR"), "upper": tf.strings.upper(text)}

    module = Lengths()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.count)
    worker = start("TensorFlow", tmp_path / "saved")
    assert of_tensor(worker.predict["inputs"][0]) == ("BYTES", [-1])
    outputs = worker.infer(text=np.array(["kea", "moa ü"], dtype=object))
    assert outputs["length"].tolist() == [3, 5]
    assert outputs["upper"].tolist() == ["KEA", "MOA ü"]


def test_a_saved_model_without_signature_says_what_to_do(start, tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))
    worker = start("TensorFlow", tmp_path / "saved")
    assert "model.export(folder)" in worker.started["error"]["message"]


def test_an_error_of_the_graph_is_an_answer(saved_digits):
    (field,) = saved_digits.predict["inputs"]
    answer, _ = saved_digits.infer_raw({field["name"]: np.zeros((1, 3), np.float32)})
    assert answer["error"]["message"]
    assert saved_digits.infer(**{field["name"]: np.zeros((1, 64), np.float32)})
