#!/usr/bin/env python3
"""Draws the loss curve: python3 plot.py LOG [LOG ...] --json FILE --svg FILE

The logs are log.jsonl files of train.py, in order (a run that was resumed has two). --json keeps them as one
list of points; the drawing needs nothing but Python.
"""

import argparse
import json
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 400, 64, 20, 44, 52


def points(paths):
    head, by_step = None, {}
    for path in paths:
        with open(path) as file:
            for line in file:
                entry = json.loads(line)
                if "step" in entry:
                    by_step[entry["step"]] = entry
                elif head is None:
                    head = entry
    return head, [by_step[step] for step in sorted(by_step)]


def draw(entries, path):
    shown = [e for e in entries if e["step"] >= 150]
    last = max(e["step"] for e in shown)
    low, high = 2.5, 4.5
    x = lambda step: LEFT + (WIDTH - LEFT - RIGHT) * step / last
    y = lambda loss: TOP + (HEIGHT - TOP - BOTTOM) * (high - min(loss, high)) / (high - low)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" fill="#1f2328">Loss in training, nats a token</text>',
    ]
    for i in range(int((high - low) / 0.5) + 1):
        value = low + 0.5 * i
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e4e7eb"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#57606a">{value:.1f}</text>')
    tokens = entries[-1]["tokens"] / entries[-1]["step"]
    for i in range(0, math.floor(last * tokens / 1e8) + 1):
        at = x(i * 1e8 / tokens)
        out.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#57606a">{i * 100}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle" fill="#57606a">million tokens read</text>')
    curve = " ".join(f"{x(e['step']):.1f},{y(e['train_loss']):.1f}" for e in shown)
    out.append(f'<polyline points="{curve}" fill="none" stroke="#8ab4e8" stroke-width="1.5"/>')
    marks = [e for e in shown if "validation_loss" in e]
    curve = " ".join(f"{x(e['step']):.1f},{y(e['validation_loss']):.1f}" for e in marks)
    out.append(f'<polyline points="{curve}" fill="none" stroke="#b3400f" stroke-width="2"/>')
    for e in marks:
        out.append(f'<circle cx="{x(e["step"]):.1f}" cy="{y(e["validation_loss"]):.1f}" r="3" fill="#b3400f"/>')
    end = marks[-1]
    out.append(f'<text x="{x(end["step"]) - 6:.1f}" y="{y(end["validation_loss"]) - 12:.1f}" text-anchor="end" fill="#b3400f">{end["validation_loss"]:.2f}</text>')
    at = WIDTH - RIGHT - 290
    out.append(f'<line x1="{at}" x2="{at + 24}" y1="58" y2="58" stroke="#8ab4e8" stroke-width="2"/><text x="{at + 32}" y="62" fill="#1f2328">training (with dropout, mean of 50 steps)</text>')
    out.append(f'<line x1="{at}" x2="{at + 24}" y1="78" y2="78" stroke="#b3400f" stroke-width="2"/><text x="{at + 32}" y="82" fill="#1f2328">validation</text>')
    out.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("logs", nargs="+")
    p.add_argument("--json")
    p.add_argument("--svg")
    args = p.parse_intermixed_args()
    head, entries = points(args.logs)
    if args.json:
        with open(args.json, "w") as file:
            lines = ",\n  ".join(json.dumps(e) for e in entries)
            file.write("{\n " + json.dumps("run") + ": " + json.dumps(head) + ',\n "points": [\n  ' + lines + "\n ]\n}\n")
    if args.svg:
        draw(entries, args.svg)


if __name__ == "__main__":
    main()
