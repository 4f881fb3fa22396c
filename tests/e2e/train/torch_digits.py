"""Trains a classifier of handwritten digits and saves it in PyTorch's two whole forms: torch_digits.py DATA FOLDER"""

import json
import sys
from pathlib import Path

import numpy as np
import torch


def trained(rows: torch.Tensor, numbers: torch.Tensor) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(rows), numbers).backward()
        optimizer.step()
    return model.eval()


def main(data: Path, folder: Path) -> None:
    digits = np.load(data)
    rows = torch.from_numpy(digits["rows"].astype(np.float32))
    model = trained(rows, torch.from_numpy(digits["numbers"]))
    torch.jit.script(model).save(str(folder / "script.pt"))
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (rows[:4],), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "exported.pt2")

    sample = rows[:12]
    with torch.inference_mode():
        answers = model(sample).tolist()
    (folder / "expected.json").write_text(json.dumps({"rows": sample.tolist(), "answers": answers}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
