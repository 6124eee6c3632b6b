#!/usr/bin/env python3
"""Continues prompts: python3 generate.py MODEL [--temperature 0.8] [--top-p 0.95] [--penalty 1.1] [--tokens 120] [PROMPT ...]

Temperature 0 takes the likeliest token and reports whether the text falls into a loop within --tokens tokens.
The penalty divides (or, below zero, multiplies) the logits of the tokens among the last 64.
"""

import argparse
import os

import torch

import quantise
from evaluate import load
from model import Rene
from tokenizer import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = [
    "The old man looked at the sea and",
    "Once upon a time there was a little girl who",
    "It is the duty of the government to",
    "The most important thing in life is",
    "When the database server starts, it",
    "My fellow citizens, the state of our Union",
    "In the morning they went down to the river, and",
    '"I do not believe you," said',
    "A function returns",
    "There was once a king who",
    "The history of the world shows that",
    "If you want to install the package,",
]


def loops(ids):
    """Is some run of tokens at least 4 long repeated at once (or three times, if shorter)?"""
    for period in range(1, len(ids) // 2 + 1):
        times = 2 if period >= 4 else 4
        for at in range(len(ids) - times * period + 1):
            if all(ids[at + i] == ids[at + i % period] for i in range(times * period)):
                return True
    return False


@torch.no_grad()
def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("prompts", nargs="*")
    p.add_argument("--temperature", type=float, default=0.8)
    p.add_argument("--top-p", type=float, default=0.95)
    p.add_argument("--penalty", type=float, default=1.1)
    p.add_argument("--tokens", type=int, default=100)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--bits", type=int, default=0, help="quantise first, to see what the shipped file writes")
    p.add_argument("--group", type=int, default=64)
    p.add_argument("--tokenizer", default=os.path.join(HERE, ".work", "tokenizer.json"))
    args = p.parse_intermixed_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    config, weights = load(args.model)
    model = Rene(config).to(device).eval()
    if args.bits:
        weights = quantise.quantised(weights, args.bits, args.group)
    model.load_state_dict(weights)
    tokenizer = Tokenizer(args.tokenizer)
    for prompt in args.prompts or PROMPTS:
        ids = [0] + tokenizer.encode(prompt)
        start = len(ids)
        logits, state = model(torch.tensor([ids], device=device))
        while len(ids) < start + args.tokens:
            last = logits[0, -1].float().cpu()
            recent = torch.tensor(sorted(set(ids[-64:])))
            seen = last[recent]
            last[recent] = torch.where(seen > 0, seen / args.penalty, seen * args.penalty)
            if args.temperature == 0:
                token = int(last.argmax())
            else:
                chances, order = (last / args.temperature).softmax(0).sort(descending=True)
                chances[chances.cumsum(0) - chances > args.top_p] = 0
                token = int(order[torch.multinomial(chances, 1)])
            if token == 0:
                break
            ids.append(token)
            logits, state = model(torch.tensor([[token]], device=device), state)
        mark = ""
        if args.temperature == 0:
            mark = "  [LOOP]" if loops(ids[start:]) else "  [no loop]"
        print(f"* {prompt}|{tokenizer.decode(ids[start:])}{mark}\n", flush=True)


if __name__ == "__main__":
    main()
