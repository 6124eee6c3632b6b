#!/usr/bin/env python3
"""Bits per byte of a model on a split: python3 evaluate.py MODEL [--split test] [--variants all] [--json FILE]

MODEL is a folder with config.json and model.safetensors, or a weights.pt of train.py. The whole split
is read as one text of any length, the state carried from piece to piece, in float32 arithmetic:
bits per byte = sum over tokens of -log2 p(token | all before) / size of the .txt file.
The first token of the file, a separator, is given.

Variants: the weights as they are, rounded to float16, and quantised to 8 and 4 bits in groups of 32, 64, 128.
"""

import argparse
import collections
import json
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

import quantise
import tensors
from model import Rene

HERE = os.path.dirname(os.path.abspath(__file__))


def load(path):
    if os.path.isdir(path):
        with open(os.path.join(path, "config.json")) as file:
            config = json.load(file)
        state = tensors.load(os.path.join(path, "model.safetensors"))
    else:
        saved = torch.load(path, map_location="cpu")
        config, state = saved["config"], saved["model"]
    return config, {name: w.float() for name, w in state.items()}


@torch.no_grad()
def token_losses(model, tokens, device, piece=2048):
    """-log p of each token after the first, in nats."""
    state, out = None, []
    for at in range(0, len(tokens) - 1, piece):
        block = torch.from_numpy(tokens[at : at + piece + 1].astype(np.int64)).to(device)[None]
        logits, state = model(block[:, :-1], state)
        out.append(F.cross_entropy(logits[0], block[0, 1:], reduction="none").double().cpu())
    return torch.cat(out)


def by_document(result, losses, info, count, path):
    """Bits per byte of each source and document, if the text is at hand to know its bytes."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    bounds = [start for start, _ in info["starts"]] + [count]
    bits, size = collections.Counter(), collections.Counter()
    result["documents"] = []
    for document, begin, end in zip(documents, bounds, bounds[1:]):
        # Losses start at the second token; a document's own tokens follow its separator.
        own = losses[begin : end - 1].sum().item() / math.log(2)
        length = len(document["text"].encode())
        bits[document["source"]] += own
        size[document["source"]] += length
        result["documents"].append([document["source"], document["id"], length, round(own / length, 4)])
    result["by_source"] = {source: [size[source], round(bits[source] / size[source], 4)] for source in bits}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--split", default="test")
    p.add_argument("--tokens", default=os.path.join(HERE, ".work", "tokens"))
    p.add_argument("--variants", choices=["all", "float32"], default="all")
    p.add_argument("--json")
    args = p.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config, weights = load(args.model)
    tokens = np.fromfile(os.path.join(args.tokens, args.split + ".bin"), np.uint16)
    with open(os.path.join(args.tokens, "tokens.json")) as file:
        info = json.load(file)[args.split]
    model = Rene(config).to(device).eval()

    variants = {"float32": weights}
    if args.variants == "all":
        variants["float16"] = {name: w.half().float() for name, w in weights.items()}
        for bits in (8, 4):
            for size in (32, 64, 128):
                variants[f"{bits}-bit, groups of {size}"] = quantise.quantised(variants["float16"], bits, size)
    result = {"split": args.split, "tokens": len(tokens), "bytes": info["file_bytes"], "variants": {}}
    base = None
    for name, state in variants.items():
        model.load_state_dict(state)
        losses = token_losses(model, tokens, device)
        value = losses.sum().item() / math.log(2) / info["file_bytes"]
        base = base or value
        entry = {"bits_per_byte": round(value, 5), "perplexity": round(math.exp(losses.mean().item()), 4)}
        if "bit," in name:
            bits, size = int(name[0]), int(name.split()[-1])
            entry["bytes_of_weights"] = quantise.stored_bytes(state, bits, size)
        result["variants"][name] = entry
        print(f"{name:22s} {value:.5f} bits per byte  ({(value / base - 1) * 100:+.3f} %)  perplexity {entry['perplexity']}", flush=True)
        if name == "float32":
            by_document(result, losses, info, len(tokens), os.path.join(args.tokens, "..", "corpus", args.split + ".jsonl"))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
