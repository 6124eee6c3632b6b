"""Rene in PyTorch: a stack of Mamba-2, MLP and sliding-window attention layers, for training.

Every layer is h = h + mixer(rms_norm(h)). Parameters carry the names of published Rene files, so that a
state dict is a checkpoint. All shapes come from the config (the keys of a published config.json).

A model call takes token ids (batch, length) and an optional state, and returns logits and the new
state: a list with one entry a layer (None for MLPs). Calls with consecutive pieces of a text give the
logits of one call with the whole. Training uses that too: each batch row reads on where the last step
ended, so the model learns from contexts longer than one step.

Mamba-2 runs in its chunked form, matrix products inside chunks of 64 and a small recurrence between
them (section 6 of the Mamba-2 paper).
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def rms(x, eps=1e-5):
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return rms(x) * self.weight


def ssd(x, dt, A, B, C, S, chunk):
    """y_t = C_t S_t with S_t = exp(dt_t A) S_(t-1) + dt_t x_t (outer) B_t, chunk by chunk.

    x (b, l, h, p)   dt (b, l, h)   A (h)   B, C (b, l, g, n)   S (b, h, p, n), the state before the first token
    Returns y (b, l, h, p) and the state after the last token.
    """
    b, length, h, p = x.shape
    g, n = B.shape[2:]
    chunk = min(chunk, length)
    pad = -length % chunk
    if pad:  # dt = 0 leaves the state alone
        x, B, C = (F.pad(t, (0, 0, 0, 0, 0, pad)) for t in (x, B, C))
        dt = F.pad(dt, (0, 0, 0, pad))
    c = (length + pad) // chunk
    r = h // g
    x = x.reshape(b, c, chunk, g, r, p)
    B = B.reshape(b, c, chunk, g, n)
    C = C.reshape(b, c, chunk, g, n)
    dt = dt.reshape(b, c, chunk, g, r)
    total = (dt * A.reshape(g, r)).cumsum(2).permute(0, 1, 3, 4, 2)  # (b, c, g, r, q): log of the decay so far
    scale = dt.permute(0, 1, 3, 4, 2)
    dtype = x.dtype

    # Inside each chunk: (C B^T) masked by the decay between the two positions.
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).tril()
    between = (total.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(~lower, float("-inf"))
    scores = torch.einsum("bcqgn,bcsgn->bcgqs", C, B)
    mixing = scores.unsqueeze(3) * (torch.exp(between) * scale.unsqueeze(-2)).to(dtype)
    y = torch.einsum("bcgrqs,bcsgrp->bcqgrp", mixing, x)

    # What each chunk adds to the state, and the states at the chunk boundaries.
    left = (torch.exp(total[..., -1:] - total) * scale).to(dtype).permute(0, 1, 4, 2, 3)
    added = torch.einsum("bcqgn,bcqgrp->bcgrpn", B, x * left.unsqueeze(-1)).float()
    added = torch.cat([S.float().reshape(b, 1, g, r, p, n), added], 1)
    # The state itself stays float32, also where autocast would make products bfloat16.
    steps = F.pad(total[..., -1], (0, 0, 0, 0, 1, 0)).cumsum(1)  # (b, c + 1, g, r)
    steps = steps.permute(0, 2, 3, 1)
    lower = torch.ones(c + 1, c + 1, dtype=torch.bool, device=x.device).tril()
    decay = torch.exp((steps.unsqueeze(-1) - steps.unsqueeze(-2)).masked_fill(~lower, float("-inf")))
    with torch.autocast(x.device.type, enabled=False):
        states = torch.einsum("bgrzc,bcgrpn->bzgrpn", decay, added)

    # The part of each output that comes from before its chunk.
    before = torch.einsum("bcqgn,bcgrpn->bcqgrp", C, states[:, :-1].to(dtype))
    y = y + before * torch.exp(total).permute(0, 1, 4, 2, 3).unsqueeze(-1).to(dtype)
    y = y.reshape(b, c * chunk, h, p)[:, :length]
    return y, states[:, -1].reshape(b, h, p, n)


class Mamba2(nn.Module):
    def __init__(self, d_model, d_state=128, d_conv=4, expand=2, headdim=64, ngroups=1, norm_before_gate=False, chunk_size=64, bias=False, conv_bias=True):
        super().__init__()
        self.d_inner = expand * d_model
        self.d_state, self.d_conv, self.headdim, self.ngroups = d_state, d_conv, headdim, ngroups
        self.heads = self.d_inner // headdim
        self.norm_before_gate, self.chunk = norm_before_gate, chunk_size
        self.conv_dim = self.d_inner + 2 * ngroups * d_state
        self.in_proj = nn.Linear(d_model, self.d_inner + self.conv_dim + self.heads, bias=bias)
        self.conv1d = nn.Conv1d(self.conv_dim, self.conv_dim, d_conv, groups=self.conv_dim, bias=conv_bias)
        # Decay rates between 1 and 16 and time steps between 0.001 and 0.1, as in the paper's code.
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        dt = torch.exp(torch.rand(self.heads) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = RMSNorm(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias)

    def empty_state(self, batch, device):
        conv = torch.zeros(batch, self.d_conv - 1, self.conv_dim, device=device)
        return conv, torch.zeros(batch, self.heads, self.headdim, self.d_state, device=device)

    def forward(self, u, state):
        conv_state, S = state
        b, length, _ = u.shape
        z, xbc, dt = self.in_proj(u).split([self.d_inner, self.conv_dim, self.heads], -1)
        xbc = torch.cat([conv_state.to(xbc.dtype), xbc], 1)
        conv_state = xbc[:, length:].float()
        # Width 4 and depthwise: four shifted products are faster to train than a convolution call.
        weight = self.conv1d.weight[:, 0].to(xbc.dtype)
        out = sum(xbc[:, k : k + length] * weight[:, k] for k in range(self.d_conv))
        if self.conv1d.bias is not None:
            out = out + self.conv1d.bias.to(xbc.dtype)
        x, B, C = F.silu(out).split([self.d_inner, self.ngroups * self.d_state, self.ngroups * self.d_state], -1)
        x = x.reshape(b, length, self.heads, self.headdim)
        B = B.reshape(b, length, self.ngroups, self.d_state)
        C = C.reshape(b, length, self.ngroups, self.d_state)
        dt = F.softplus(dt.float() + self.dt_bias)
        y, S = ssd(x, dt, -torch.exp(self.A_log.float()), B, C, S, self.chunk)
        y = (y + x * self.D.to(x.dtype).unsqueeze(-1)).reshape(b, length, self.d_inner)
        gate = F.silu(z.float())
        if not self.norm_before_gate:
            y = y.float() * gate
        y = rms(y.reshape(b, length, self.ngroups, -1)).reshape(b, length, -1) * self.norm.weight
        if self.norm_before_gate:
            y = y * gate
        return self.out_proj(y), (conv_state, S)


class MLP(nn.Module):
    def __init__(self, d_model, expand=3, bias=True):
        super().__init__()
        hidden = int(round(expand * d_model))
        self.in_proj = nn.Linear(d_model, hidden, bias=bias)
        self.out_proj = nn.Linear(hidden, d_model, bias=bias)

    def empty_state(self, batch, device):
        return None

    def forward(self, u, state):
        return self.out_proj(F.gelu(self.in_proj(u))), None


class Attention(nn.Module):
    """Causal attention over the last `sliding_window_length` tokens, no position encoding, few key/value heads."""

    def __init__(self, d_model, num_heads, num_heads_kv, head_dim, sliding_window_length, qkv_proj_bias=True, out_proj_bias=True, causal=True):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim, self.window = num_heads, num_heads_kv, head_dim, sliding_window_length
        self.in_proj = nn.Linear(d_model, (num_heads + 2 * num_heads_kv) * head_dim, bias=qkv_proj_bias)
        self.out_proj = nn.Linear(num_heads * head_dim, d_model, bias=out_proj_bias)

    def empty_state(self, batch, device):
        # Keys and values of the last `window` tokens, and which of them exist.
        kv = torch.zeros(batch, self.window, 2, self.kv_heads, self.head_dim, device=device)
        return kv, torch.zeros(batch, self.window, dtype=torch.bool, device=device)

    def forward(self, u, state):
        past, known = state
        b, length, _ = u.shape
        q, kv = self.in_proj(u).split([self.heads * self.head_dim, 2 * self.kv_heads * self.head_dim], -1)
        q = q.reshape(b, length, self.heads, self.head_dim).transpose(1, 2)
        kv = torch.cat([past.to(kv.dtype), kv.reshape(b, length, 2, self.kv_heads, self.head_dim)], 1)
        known = torch.cat([known, torch.ones(b, length, dtype=torch.bool, device=u.device)], 1)
        repeat = self.heads // self.kv_heads
        k, v = (kv[:, :, i].transpose(1, 2).unsqueeze(2).expand(-1, -1, repeat, -1, -1).reshape(b, self.heads, -1, self.head_dim) for i in (0, 1))
        # Key j of the concatenation is token j - window: query i sees the window that ends at itself.
        i = torch.arange(length, device=u.device).unsqueeze(1)
        j = torch.arange(self.window + length, device=u.device).unsqueeze(0)
        mask = ((j > i) & (j <= i + self.window)) & known.unsqueeze(1)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.unsqueeze(1))
        else:
            scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(self.head_dim)
            y = scores.masked_fill(~mask.unsqueeze(1), float("-inf")).softmax(-1).to(v.dtype) @ v
        y = y.transpose(1, 2).reshape(b, length, -1)
        return self.out_proj(y), (kv[:, -self.window :].float(), known[:, -self.window :])


class Block(nn.Module):
    def __init__(self, d_model, mixer, dropout=0.0):
        super().__init__()
        self.norm = RMSNorm(d_model)
        self.mixer = mixer
        self.dropout = dropout

    def forward(self, h, state):
        y, state = self.mixer(self.norm(h), state)
        return h + F.dropout(y.float(), self.dropout, self.training), state


class Backbone(nn.Module):
    def __init__(self, config, vocab, dropout):
        super().__init__()
        d_model = config["d_model"]
        self.embedding = nn.Embedding(vocab, d_model)
        layers = []
        for index in range(config["n_layer"]):
            if index in config["attn_layer_idx"]:
                mixer = Attention(d_model, **config["attn_cfg"])
            elif index in config["mlp_layer_idx"]:
                mixer = MLP(d_model, **config["mlp_cfg"])
            else:
                mixer = Mamba2(d_model, **config["ssm_cfg"])
            layers.append(Block(d_model, mixer, dropout))
        self.layers = nn.ModuleList(layers)
        self.norm_f = RMSNorm(d_model)
        self.dropout = dropout


class Rene(nn.Module):
    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config = config
        multiple = config.get("pad_vocab_size_multiple", 16)
        vocab = -(-config["vocab_size"] // multiple) * multiple
        self.backbone = Backbone(config, vocab, dropout)
        self.tied = config.get("tie_word_embeddings", True)
        self.lm_head = None if self.tied else nn.Linear(config["d_model"], vocab, bias=False)
        nn.init.normal_(self.backbone.embedding.weight, std=0.02)
        for block in self.backbone.layers:
            # Each layer adds to the stream: smaller outputs at the start keep its size independent of depth.
            with torch.no_grad():
                block.mixer.out_proj.weight /= math.sqrt(config["n_layer"])

    def empty_state(self, batch, device):
        return [block.mixer.empty_state(batch, device) for block in self.backbone.layers]

    def hidden(self, ids, state=None):
        b = self.backbone
        if state is None:
            state = self.empty_state(ids.shape[0], ids.device)
        h = F.dropout(b.embedding(ids).float(), b.dropout, self.training)
        after = []
        for block, before in zip(b.layers, state):
            h, s = block(h, before)
            after.append(s)
        return b.norm_f(h), after

    def head(self, h):
        return F.linear(h, self.backbone.embedding.weight) if self.tied else self.lm_head(h)

    def forward(self, ids, state=None):
        h, state = self.hidden(ids, state)
        return self.head(h), state


def detached(state):
    return [None if s is None else tuple(t.detach() for t in s) for s in state]


def reset_rows(state, keep):
    """Forget everything in the rows where `keep` (a boolean for each row) is false."""
    return [None if s is None else tuple(t * keep.reshape(-1, *[1] * (t.dim() - 1)).to(t.dtype) if t.dtype != torch.bool else t & keep.unsqueeze(1) for t in s) for s in state]
