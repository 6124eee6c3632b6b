#!/usr/bin/env python3
"""Trains a Rene model on .work/tokens: python3 train.py --out FOLDER [options]

The text is read as a stream: every epoch the documents are shuffled and joined, the stream is cut into
as many rows as the batch has, and each step reads the next `--length` tokens of every row. The state at the
end of a step is the (detached) state at the start of the next, so the model meets contexts of any
length; with probability 0.1 a row starts the step from the empty state instead.

Matrices inside the layers are trained with Muon (momentum whose update is orthogonalised by a few
Newton-Schulz steps), everything else with AdamW. Learning rates rise linearly, stay, and fall linearly
to zero over the last part (--decay). Validation loss is measured over the whole validation split.

The model is shipped in 4 bits. In the last quarter (--quantise-last) every second step therefore computes its
gradients with the matrices rounded to 4 bits, and applies them to the unrounded ones; the steps between
keep the unrounded model good.

Writes FOLDER/log.jsonl while running and FOLDER/weights.pt at the end (float32). With --checkpoint FILE
everything needed to go on is saved every 500 steps and at the end; --resume FILE goes on from there.
"""

import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import quantise
from model import Rene, detached, reset_rows

HERE = os.path.dirname(os.path.abspath(__file__))


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--config", default=os.path.join(HERE, "config.json"))
    p.add_argument("--set", action="append", default=[], help="KEY=JSON, overrides a key of the config")
    p.add_argument("--tokens", default=os.path.join(HERE, ".work", "tokens"))
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--length", type=int, default=1024)
    p.add_argument("--warmup", type=int, default=150)
    p.add_argument("--decay", type=float, default=0.6)
    p.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    p.add_argument("--lr", type=float, default=0.003, help="AdamW")
    p.add_argument("--muon-lr", type=float, default=0.02)
    p.add_argument("--weight-decay", type=float, default=0.1, help="AdamW, matrices only")
    p.add_argument("--muon-weight-decay", type=float, default=0.05)
    p.add_argument("--dropout", type=float, default=0.1)
    p.add_argument("--quantise-last", type=float, default=0.25, help="part of the run, at its end, that rounds weights every second step")
    p.add_argument("--quantise-bits", type=int, default=4)
    p.add_argument("--quantise-group", type=int, default=64)
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--validate-every", type=int, default=250)
    p.add_argument("--no-compile", action="store_true")
    p.add_argument("--checkpoint")
    p.add_argument("--resume")
    return p.parse_args()


class Stream:
    """Rows of consecutive tokens, documents in a new order each epoch."""

    def __init__(self, tokens, batch, length, seed, device):
        self.tokens, self.batch, self.length, self.seed, self.device = tokens, batch, length, seed, device
        self.starts = np.flatnonzero(tokens == 0)
        self.ends = np.append(self.starts[1:], len(tokens))
        self.steps = (len(tokens) // batch - 1) // length
        self.epoch = -1

    def at(self, step):
        """Inputs and targets of a step, and whether an epoch begins with it."""
        epoch, inside = divmod(step, self.steps)
        if epoch != self.epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.starts))
            joined = np.concatenate([self.tokens[self.starts[i] : self.ends[i]] for i in order])
            size = len(joined) // self.batch
            rows = torch.from_numpy(joined[: size * self.batch].astype(np.int32).reshape(self.batch, size))
            self.rows = rows.to(self.device)
            self.epoch = epoch
        at = inside * self.length
        block = self.rows[:, at : at + self.length + 1].long()
        return block[:, :-1], block[:, 1:], inside == 0


def orthogonal(G, steps=5):
    """Nearest semi-orthogonal matrix, roughly: five steps of the quintic Newton-Schulz iteration that Muon uses."""
    X = G.bfloat16()
    tall = X.shape[-2] > X.shape[-1]
    if tall:
        X = X.transpose(-1, -2)
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.transpose(-1, -2)
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * (A @ A)) @ X
    return X.transpose(-1, -2) if tall else X


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, weight_decay, momentum=0.95):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(tuple(p.shape), []).append(p)
            # Matrices of one shape go through the iteration together.
            for (rows, columns), params in shapes.items():
                updates = []
                for p in params:
                    buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    buffer.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(buffer, group["momentum"]))
                scale = max(1.0, rows / columns) ** 0.5
                for p, update in zip(params, orthogonal(torch.stack(updates))):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.to(p.dtype), alpha=-group["lr"] * scale)


def optimizers(model, args):
    matrices, embeddings, rest = [], [], []
    for name, p in model.named_parameters():
        if "embedding" in name or "lm_head" in name:
            embeddings.append(p)
        elif p.dim() == 2:
            matrices.append(p)
        else:
            rest.append(p)
    fused = dict(fused=True) if torch.cuda.is_available() else {}
    adam = lambda groups: torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), eps=1e-10, **fused)
    small = [dict(params=embeddings, weight_decay=args.weight_decay), dict(params=rest, weight_decay=0.0)]
    if args.optimizer == "adamw":
        return [adam([dict(params=matrices, weight_decay=args.weight_decay), *small])]
    return [Muon(matrices, args.muon_lr, args.muon_weight_decay), adam(small)]


def rate(step, args):
    """Warm-up, constant, linear decay to zero."""
    fall = args.decay * args.steps
    return min((step + 1) / args.warmup, 1.0, (args.steps - step) / fall)


class Trainer:
    """One training step's forward pass, each layer compiled by itself: layers of a kind share the code."""

    def __init__(self, model, compile_it):
        wrap = torch.compile if compile_it else (lambda f: f)
        self.model = model
        self.blocks = [wrap(block) for block in model.backbone.layers]
        self.loss = wrap(self._loss)

    def _loss(self, h, targets):
        logits = self.model.head(self.model.backbone.norm_f(h))
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1))

    def __call__(self, ids, targets, state):
        b = self.model.backbone
        h = F.dropout(b.embedding(ids).float(), b.dropout, self.model.training)
        after = []
        for block, before in zip(self.blocks, state):
            h, s = block(h, before)
            after.append(s)
        return self.loss(h, targets), detached(after)


@torch.no_grad()
def validate(model, tokens, device, rows=32, length=1024):
    """Mean loss over the whole split, each row reading on with its state."""
    model.eval()
    size = len(tokens) // rows
    data = torch.from_numpy(tokens[: size * rows].astype(np.int64).reshape(rows, size)).to(device)
    state, total, count = None, 0.0, 0
    for at in range(0, size - 1, length):
        block = data[:, at : at + length + 1]
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits, state = model(block[:, :-1], state)
        total += F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), block[:, 1:].reshape(-1), reduction="sum").item()
        count += block.shape[0] * (block.shape[1] - 1)
    model.train()
    return total / count


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(args.seed)
    with open(args.config) as file:
        config = json.load(file)
    for change in args.set:
        key, value = change.split("=", 1)
        config[key] = json.loads(value)
    train = np.fromfile(os.path.join(args.tokens, "train.bin"), np.uint16)
    validation = np.fromfile(os.path.join(args.tokens, "validation.bin"), np.uint16)
    with open(os.path.join(args.tokens, "tokens.json")) as file:
        summary = json.load(file)["validation"]
    bits = summary["tokens"] / summary["text_bytes"] / math.log(2)

    model = Rene(config, args.dropout).to(device).train()
    parameters = sum(p.numel() for p in model.parameters())
    matrices = [p for p in model.parameters() if p.dim() == 2]
    round_trip = quantise.round_trip
    opts = optimizers(model, args)
    for opt in opts:
        for group in opt.param_groups:
            group["base"] = group["lr"]
    stream = Stream(train, args.batch, args.length, args.seed, device)
    state = model.empty_state(args.batch, device)
    first, spent = 0, 0.0
    if args.resume:
        saved = torch.load(args.resume, map_location=device, weights_only=False)
        model.load_state_dict(saved["model"])
        for opt, s in zip(opts, saved["optimizers"]):
            opt.load_state_dict(s)
        first, spent, state = saved["step"], saved["seconds"], saved["state"]
        torch.set_rng_state(saved["rng"].cpu())
    trainer = Trainer(model, device == "cuda" and not args.no_compile)
    generator = torch.Generator().manual_seed(args.seed + 1000 * first)

    log = open(os.path.join(args.out, "log.jsonl"), "a")

    def note(entry):
        log.write(json.dumps(entry) + "\n")
        log.flush()
        print(json.dumps(entry), flush=True)

    if not first:
        options = {k: v for k, v in vars(args).items() if k not in ("out", "config", "tokens", "checkpoint", "resume")}
        where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        note({"parameters": parameters, "train_tokens": len(train), "steps_an_epoch": stream.steps, "device": where, "torch": torch.__version__, "options": options, "config": config})
    began = mark = time.time()
    losses, marked = [], first
    for step in range(first, args.steps):
        ids, targets, fresh = stream.at(step)
        keep = torch.rand(args.batch, generator=generator) >= 0.1
        if fresh:
            keep[:] = False
        state = reset_rows(state, keep.to(device))
        rounded = step >= (1 - args.quantise_last) * args.steps and step % 2 == 0
        if rounded:
            with torch.no_grad():
                exact = [p.clone() for p in matrices]
                for p in matrices:
                    p.copy_(round_trip(p, args.quantise_bits, args.quantise_group))
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss, state = trainer(ids, targets, state)
        loss.backward()
        if rounded:
            with torch.no_grad():
                for p, e in zip(matrices, exact):
                    p.copy_(e)
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        factor = rate(step, args)
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = group["base"] * factor
            opt.step()
            opt.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        if (step + 1) % 50 == 0 or step + 1 == args.steps:
            mean = torch.stack(losses).mean().item()
            losses = []
            now = time.time()
            entry = {
                "step": step + 1,
                "tokens": (step + 1) * args.batch * args.length,
                "epoch": round((step + 1) / stream.steps, 3),
                "train_loss": round(mean, 4),
                "lr": round(factor, 4),
                "tokens_a_second": round((step + 1 - marked) * args.batch * args.length / (now - mark)),
                "seconds": round(spent + now - began, 1),
            }
            if (step + 1) % args.validate_every == 0 or step + 1 == args.steps:
                value = validate(model, validation, device)
                entry["validation_loss"] = round(value, 4)
                entry["validation_bits_per_byte"] = round(value * bits, 4)
            note(entry)
            mark, marked = time.time(), step + 1
            if not math.isfinite(mean):
                raise SystemExit("the loss is not finite")
        if args.checkpoint and ((step + 1) % 500 == 0 or step + 1 == args.steps):
            saved = {
                "model": model.state_dict(),
                "optimizers": [opt.state_dict() for opt in opts],
                "step": step + 1,
                "seconds": spent + time.time() - began,
                "state": state,
                "rng": torch.get_rng_state(),
            }
            torch.save(saved, args.checkpoint + ".new")
            os.replace(args.checkpoint + ".new", args.checkpoint)
    torch.save({"config": config, "model": model.state_dict()}, os.path.join(args.out, "weights.pt"))


if __name__ == "__main__":
    main()
