#!/usr/bin/env python3
"""From a training checkpoint to the published format of Rene.

    python3 export.py weights.pt FOLDER                 config.json, model.safetensors (float16), tokenizer files
    python3 export.py --golden FOLDER FILE.safetensors  expected logits of FOLDER, for the conversion check

The golden file holds input_ids int64 [1, 512], the first 512 tokens of the test split, and the float32
logits of PyTorch (from the float16 weights, computed in float32) at every eighth position: positions int64 [64],
logits float32 [1, 64, vocab].
"""

import json
import os
import shutil
import sys

import numpy as np
import torch

import tensors
from evaluate import load
from model import Rene

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(HERE, ".work")


def export(checkpoint, folder):
    config, weights = load(checkpoint)
    os.makedirs(folder, exist_ok=True)
    halves = {name: w.half() for name, w in weights.items()}
    worst = max((w.float() - weights[name]).abs().max().item() for name, w in halves.items())
    assert all(torch.isfinite(w).all() for w in halves.values()), "a weight does not fit float16"
    tensors.save(os.path.join(folder, "model.safetensors"), halves, {"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    for place in (os.path.join(WORK, "tokenizer.json"), os.path.join(WORK, "tokens", "tokenizer.json")):
        if os.path.exists(place):
            shutil.copy(place, os.path.join(folder, "tokenizer.json"))
            break
    end = "<|endoftext|>"
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        entry = {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False, "bos_token": None, "eos_token": end, "unk_token": None, "clean_up_tokenization_spaces": False}
        json.dump(entry, file, indent=2)
        file.write("\n")
    print(f"{sum(w.numel() for w in halves.values())} parameters, largest rounding {worst:.1e}")


@torch.no_grad()
def golden(folder, path):
    config, weights = load(folder)
    model = Rene(config).eval()
    model.load_state_dict(weights)
    ids = np.fromfile(os.path.join(WORK, "tokens", "test.bin"), np.uint16)[:512].astype(np.int64)
    ids = torch.from_numpy(ids)[None]
    logits, _ = model(ids)
    positions = torch.arange(7, 512, 8)
    tensors.save(path, {"input_ids": ids, "positions": positions, "logits": logits[:, positions].contiguous()})


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--golden":
        golden(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 3:
        export(sys.argv[1], sys.argv[2])
    else:
        sys.exit(__doc__)
