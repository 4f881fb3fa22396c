"""What the frameworks of neural networks have in common."""

from __future__ import annotations

from .contract import Model, contract_of, described_outputs, warm_up


def with_outputs(platform_name: str, inputs: list, infer, incomplete=()) -> Model:
    contract = contract_of(platform_name, "tensors", inputs, [], incomplete)
    contract["functions"][0]["outputs"] = described_outputs(warm_up(contract, infer) or ())
    return Model(contract, infer)


def named_outputs(results, names, convert) -> list:
    """Outputs by name: a dictionary's keys, else the given names, else `output` or `output_0`, `output_1` ..."""
    if isinstance(results, dict):
        return [(str(name), convert(result)) for name, result in results.items()]
    if not isinstance(results, (list, tuple)):
        return [(names[0] if len(names) == 1 else "output", convert(results))]
    names = names if len(names) == len(results) else [f"output_{i}" for i in range(len(results))]
    return [(name, convert(result)) for name, result in zip(names, results)]
