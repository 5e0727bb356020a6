"""What transformers makes of a model on the Hub. Runs in an environment that has it; without PyTorch, so the weights
are read by safetensors, as PyTorch would have them."""

import hashlib
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"


def main() -> None:
    """Load a model by its name and a revision, or from a folder, and say what came."""
    name, revision = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    auto: Any = import_module("transformers")
    hub: Any = import_module("huggingface_hub")
    config = auto.AutoConfig.from_pretrained(name, revision=revision)
    tokenizer = auto.AutoTokenizer.from_pretrained(name, revision=revision)
    weights = hub.hf_hub_download(name, WEIGHTS, revision=revision) if revision else Path(name) / WEIGHTS
    tokens = tokenizer("A steelyard weighs what hangs from it.")["input_ids"]
    said = {
        "config": {key: value for key, value in config.to_dict().items() if key != "_name_or_path"},
        "tokens": tokens,
        "text": tokenizer.decode(tokens, skip_special_tokens=True),
        "tensors": tensors_of(Path(weights)),
    }
    print("SAID " + json.dumps(said))


def tensors_of(weights: Path) -> dict[str, list[object]]:
    """Name -> shape, type and sha256 of each tensor's bytes."""
    safetensors: Any = import_module("safetensors.numpy")
    tensors: dict[str, Any] = safetensors.load_file(weights)
    return {
        name: [list(tensor.shape), str(tensor.dtype), hashlib.sha256(tensor.tobytes()).hexdigest()]
        for name, tensor in tensors.items()
    }


if __name__ == "__main__":
    main()
