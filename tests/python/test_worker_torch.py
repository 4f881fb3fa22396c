"""PyTorch: TorchScript and exported programs."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

pytestmark = pytest.mark.torch
ROWS = (load_digits().data / 16).astype(np.float32)


@pytest.fixture(scope="module")
def torch():
    import torch

    torch.manual_seed(0)
    return torch


@pytest.fixture(scope="module")
def digits(torch):
    return torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)).eval()


@pytest.fixture(scope="module")
def script(start_shared, torch, digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "model.pt"
    torch.jit.script(digits).save(str(path))
    return start_shared("PyTorch", path)


def expected(torch, model, rows):
    with torch.inference_mode():
        return model(torch.from_numpy(rows)).numpy()


def shape(field):
    return field["type"]["tensor"]["shape"]


def test_torch_script_is_served_with_the_width_of_its_first_layer(script, torch, digits):
    (field,) = script.predict["inputs"]
    assert (field["name"], shape(field)) == ("input", [-1, 64])
    assert shape(script.predict["outputs"][0]) == [-1, 10]
    assert script.contract["incomplete"] == []
    for count in (1, 64):
        result = script.infer(input=ROWS[:count])["output"]
        assert np.allclose(result, expected(torch, digits, ROWS[:count]), atol=1e-6)


def test_torch_script_of_unknown_shape_is_marked_incomplete(start, torch, tmp_path):
    class Spread(torch.nn.Module):
        def forward(self, first, second):
            return {"sum": first + second, "product": first * second}

    torch.jit.script(Spread()).save(str(tmp_path / "model.pt"))
    worker = start("PyTorch", tmp_path / "model.pt")
    assert [(field["name"], shape(field)) for field in worker.predict["inputs"]] == [
        ("first", [-1, -1]),
        ("second", [-1, -1]),
    ]
    assert "TorchScript does not record" in worker.contract["incomplete"][0]
    outputs = worker.infer(first=ROWS[:2], second=ROWS[2:4])
    assert np.array_equal(outputs["sum"], ROWS[:2] + ROWS[2:4])
    assert np.array_equal(outputs["product"], ROWS[:2] * ROWS[2:4])


def test_an_exported_program_is_served_by_its_graph(start, torch, digits, tmp_path):
    rows = torch.export.Dim("rows")
    program = torch.export.export(digits, (torch.from_numpy(ROWS[:4]),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "model.pt2")
    worker = start("PyTorch", tmp_path / "model.pt2")
    (field,) = worker.predict["inputs"]
    assert shape(field) == [-1, 64]
    result = worker.infer(**{field["name"]: ROWS[:7]})["output"]
    assert np.allclose(result, expected(torch, digits, ROWS[:7]), atol=1e-6)


def test_a_state_dict_is_refused_with_what_to_do(start, torch, digits, tmp_path):
    torch.save(digits.state_dict(), tmp_path / "weights.pt")
    worker = start("PyTorch", tmp_path / "weights.pt")
    assert "torch.jit.script(model).save" in worker.started["error"]["message"]


def test_an_error_of_the_graph_is_an_answer(script):
    answer, _ = script.infer_raw({"input": ROWS[:1, :3]})
    assert "shapes cannot be multiplied" in answer["error"]["message"]
    assert script.infer(input=ROWS[:1])["output"].shape == (1, 10)
