# Writes a small matrix in each of MLX's quantised formats, with what MLX makes of it:
#
#   pip install 'mlx[cpu]==0.32.4' safetensors numpy
#   python scripts/make-quantized-matrices.py test/fixtures/reference/ops/quantized.safetensors
#
# For each format NAME: NAME.weight, NAME.scales and, of affine ones, NAME.biases as in a checkpoint; NAME.values, the
# numbers that they stand for by mx.dequantize in float32, and NAME.product, x times the transposed matrix by
# mx.quantized_matmul.
import sys

import mlx.core as mx
import numpy as np
from safetensors.numpy import save_file

mx.set_default_device(mx.cpu)
ROWS, COLS = 3, 128
FORMATS = [("affine", bits, group) for bits, group in ((4, 64), (5, 32), (5, 64), (6, 32), (6, 128), (8, 64))]
FORMATS += [("mxfp4", 4, 32), ("nvfp4", 4, 16)]

random = np.random.default_rng(1)
x = random.standard_normal((2, COLS)).astype(np.float32)
tensors = {"x": x}
for mode, bits, group in FORMATS:
    name = f"{mode}-{bits}-{group}"
    # Groups of all sizes, so that all kinds of scales occur.
    sizes = 2.0 ** random.integers(-9, 4, (ROWS, COLS // group, 1))
    weight = (random.standard_normal((ROWS, COLS // group, group)) * sizes).reshape(ROWS, COLS)
    parts = mx.quantize(mx.array(weight.astype(np.float32)), group_size=group, bits=bits, mode=mode)
    options = {"group_size": group, "bits": bits, "mode": mode}
    for part, array in zip(("weight", "scales", "biases"), parts):
        tensors[f"{name}.{part}"] = np.array(array)
    biases = parts[2] if len(parts) == 3 else None
    values = mx.dequantize(parts[0], parts[1], biases, dtype=mx.float32, **options)
    product = mx.quantized_matmul(mx.array(x), parts[0], parts[1], biases, transpose=True, **options)
    tensors[f"{name}.values"] = np.array(values)
    tensors[f"{name}.product"] = np.array(product)
save_file(tensors, sys.argv[1])
