# What MLX makes of converted models, on the CPU. Reads a job from standard input:
#   {"models": [{"folder": ..., "tokens": [...]}], "matrices": FILE, "formats": [[mode, bits, group_size]], "out": FILE}
# and writes the logits of every model as "logits.N", and each matrix of FILE quantised as "NAME.MODE.BITS.GROUP.words",
# ".scales" and, where there are any, ".biases".

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx_lm.utils import load_model
from transformers import AutoConfig

mx.set_default_device(mx.cpu)
job = json.load(sys.stdin)
results = {}
for index, model in enumerate(job["models"]):
    # Which mlx-lm's tokenizer asks, and which is strict about types.
    AutoConfig.from_pretrained(model["folder"])
    # Strict: every tensor has its place, and no place is without.
    loaded, _ = load_model(Path(model["folder"]), strict=True)
    logits = loaded(mx.array([model["tokens"]]))
    results[f"logits.{index}"] = logits.astype(mx.float32)
for name, matrix in mx.load(job["matrices"]).items():
    for mode, bits, group_size in job["formats"]:
        parts = mx.quantize(matrix, group_size=group_size, bits=bits, mode=mode)
        for part, value in zip(("words", "scales", "biases"), parts):
            results[f"{name}.{mode}.{bits}.{group_size}.{part}"] = value
mx.save_safetensors(job["out"], results)
