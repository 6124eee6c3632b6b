"""Affine quantisation as MLX does it, on PyTorch tensors, to predict what the shipped file will lose.

Groups of `size` consecutive weights of a row share a scale and a bias, both float16; a weight is stored as
an integer q of `bits` bits and read as scale * q + bias. The end of the range that lies further from zero
is represented exactly, and zero falls on a step where it can.
"""

import torch


def round_trip(w, bits, size):
    """The values that come back after quantising a matrix."""
    groups = w.float().reshape(-1, size)
    levels = 2**bits - 1
    low, high = groups.min(1, keepdim=True).values, groups.max(1, keepdim=True).values
    below = low.abs() > high.abs()
    scale = ((high - low) / levels).clamp(min=1e-7)
    scale = torch.where(below, scale, -scale)
    edge = torch.where(below, low, high)
    steps = (edge / scale).round()
    scale = torch.where(steps != 0, edge / torch.where(steps != 0, steps, torch.ones_like(steps)), scale)
    bias = torch.where(steps == 0, torch.zeros_like(edge), edge)
    scale, bias = scale.half().float(), bias.half().float()
    q = ((groups - bias) / scale).round().clamp(0, levels)
    return (q * scale + bias).reshape(w.shape)


def quantised(state, bits, size):
    """A state dict with every linear layer's weight and the embedding sent through round_trip."""
    out = {}
    for name, w in state.items():
        linear = w.dim() == 2 and ("proj" in name or "embedding" in name or "lm_head" in name)
        out[name] = round_trip(w, bits, size) if linear else w
    return out


def stored_bytes(state, bits, size):
    total = 0
    for name, w in state.items():
        if w.dim() == 2:
            total += w.numel() * bits // 8 + w.numel() // size * 4
        else:
            total += w.numel() * 2
    return total
