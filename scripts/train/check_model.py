#!/usr/bin/env python3
"""Compares model.py with expected logits: python3 check_model.py [FOLDER ...]

Each folder holds config.json, model.safetensors and golden.safetensors (input_ids, logits). By default
the two Rene fixtures of the test suite. Checks the logits of one call with the whole text, and of
calls with pieces of uneven length that hand on the state. Exits 1 above a relative L2 error of 1e-4.
"""

import json
import os
import sys

import torch

import tensors
from model import Rene

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "..", "test", "fixtures", "reference")


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    folders = sys.argv[1:] or [os.path.join(FIXTURES, name) for name in ("rene", "rene-gate-first")]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    failed = False
    for folder in folders:
        with open(os.path.join(folder, "config.json")) as file:
            config = json.load(file)
        model = Rene(config)
        model.load_state_dict(tensors.load(os.path.join(folder, "model.safetensors")))
        model = model.float().to(device).eval()
        golden = tensors.load(os.path.join(folder, "golden.safetensors"))
        ids, expected = golden["input_ids"].to(device), golden["logits"].to(device)
        with torch.no_grad():
            whole, _ = model(ids)
            pieces, state, at = [], None, 0
            for size in (1, 2, 63, 7, 33, ids.shape[1]):
                if at < ids.shape[1]:
                    logits, state = model(ids[:, at : at + size], state)
                    pieces.append(logits)
                    at += size
            pieces = torch.cat(pieces, 1)
        for name, logits in (("whole", whole), ("in pieces", pieces)):
            error = ((logits - expected).norm() / expected.norm()).item()
            failed |= error > 1e-4
            print(f"{os.path.basename(folder):18s} {name:10s} relative L2 {error:.2e}, largest difference {(logits - expected).abs().max().item():.2e}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
