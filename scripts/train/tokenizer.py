#!/usr/bin/env python3
"""Byte-level BPE: train it, write tokenizer.json, encode the corpus.

    python3 tokenizer.py train [VOCAB]   .work/corpus/train.jsonl -> .work/tokenizer.json (default 6144 tokens)
    python3 tokenizer.py encode          .work/corpus/*.jsonl -> .work/tokens/*.bin (uint16) + tokens.json

Id 0 is <|endoftext|>, ids 1 to 256 are the single bytes, the rest are merges in order. The file is the
standard tokenizer.json (byte-level pre-tokeniser with its usual pattern), so any library that reads
that format gives the ids that the model was trained on; check-tokenizer.mjs proves it.

Needs the `regex` module (Debian: python3-regex) for the \\p{L} classes of that pattern.
"""

import array
import collections
import heapq
import json
import os
import sys

import regex

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(HERE, ".work")
PATTERN = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
END = "<|endoftext|>"


def byte_letters():
    """The usual printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 0
    for b in range(256):
        if b in plain:
            letters[b] = chr(b)
        else:
            letters[b] = chr(256 + extra)
            extra += 1
    return letters


def documents(split):
    with open(os.path.join(WORK, "corpus", split + ".jsonl"), encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def train(size):
    counts = collections.Counter()
    for document in documents("train"):
        counts.update(PATTERN.findall(document["text"]))
    # A word seen once says nothing about which pairs are common.
    words = [[list(word.encode()), n] for word, n in counts.items() if n > 1]
    print(f"{len(words)} different words", file=sys.stderr)

    symbols = [bytes([b]) for b in range(256)]
    pairs = collections.Counter()
    where = collections.defaultdict(set)
    for index, (word, n) in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += n
            where[pair].add(index)
    # Ties go to the smaller pair, so the result does not depend on hashing.
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    merges = []
    while len(merges) < size - 257:
        n, pair = heapq.heappop(heap)
        if pairs[pair] != -n:
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        new = len(symbols)
        symbols.append(symbols[pair[0]] + symbols[pair[1]])
        merges.append(pair)
        changed = collections.Counter()
        for index in where.pop(pair):
            word, times = words[index]
            merged, i = [], 0
            while i < len(word):
                if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
                    merged.append(new)
                    i += 2
                else:
                    merged.append(word[i])
                    i += 1
            if len(merged) == len(word):
                continue
            for old in zip(word, word[1:]):
                changed[old] -= times
            for fresh in zip(merged, merged[1:]):
                changed[fresh] += times
                where[fresh].add(index)
            words[index][0] = merged
        for other, delta in changed.items():
            pairs[other] += delta
            if delta and pairs[other] > 0:
                heapq.heappush(heap, (-pairs[other], other))
        pairs[pair] = 0

    letters = byte_letters()
    spell = ["".join(letters[b] for b in symbol) for symbol in symbols]
    vocab = {END: 0}
    for index, text in enumerate(spell):
        vocab[text] = index + 1
    assert len(vocab) == size, "two merges spell the same token"
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": 0, "content": END, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        ],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [f"{spell[a]} {spell[b]}" for a, b in merges],
        },
    }
    with open(os.path.join(WORK, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)


class Tokenizer:
    def __init__(self, path=os.path.join(WORK, "tokenizer.json")):
        with open(path, encoding="utf-8") as file:
            model = json.load(file)["model"]
        self.letters = byte_letters()
        back = {letter: b for b, letter in self.letters.items()}
        self.ids = model["vocab"]
        self.bytes = {i: bytes(back[c] for c in text) if text != END else b"" for text, i in self.ids.items()}
        self.rank = {tuple(m.split(" ")): r for r, m in enumerate(model["merges"])}
        self.cache = {}

    def word(self, text):
        found = self.cache.get(text)
        if found is None:
            parts = [self.letters[b] for b in text.encode()]
            while len(parts) > 1:
                best = min(range(len(parts) - 1), key=lambda i: self.rank.get((parts[i], parts[i + 1]), 1 << 30))
                if (parts[best], parts[best + 1]) not in self.rank:
                    break
                a, b = parts[best], parts[best + 1]
                out, i = [], 0
                while i < len(parts):
                    if i + 1 < len(parts) and parts[i] == a and parts[i + 1] == b:
                        out.append(a + b)
                        i += 2
                    else:
                        out.append(parts[i])
                        i += 1
                parts = out
            found = self.cache[text] = [self.ids[p] for p in parts]
        return found

    def encode(self, text):
        out = []
        for word in PATTERN.findall(text):
            out.extend(self.word(word))
        return out

    def decode(self, ids):
        return b"".join(self.bytes[i] for i in ids).decode("utf-8", "replace")


def encode():
    """Every document is preceded by the separator, as in the .txt files."""
    tokenizer = Tokenizer()
    os.makedirs(os.path.join(WORK, "tokens"), exist_ok=True)
    summary = {"vocab_size": len(tokenizer.ids)}
    for split in ("train", "validation", "test"):
        ids, starts, size = array.array("H"), [], 0
        for document in documents(split):
            starts.append([len(ids), document["source"]])
            ids.append(0)
            ids.extend(tokenizer.encode(document["text"]))
            size += len(document["text"].encode())
        with open(os.path.join(WORK, "tokens", split + ".bin"), "wb") as file:
            ids.tofile(file)
        summary[split] = {"tokens": len(ids), "documents": len(starts), "text_bytes": size, "file_bytes": size + len(END) * len(starts)}
        if split != "train":
            summary[split]["starts"] = starts
        print(f"{split}: {len(ids)} tokens, {size / len(ids):.3f} bytes a token", file=sys.stderr)
    with open(os.path.join(WORK, "tokens", "tokens.json"), "w") as file:
        json.dump(summary, file)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(int(sys.argv[2]) if len(sys.argv) > 2 else 6144)
    elif sys.argv[1:2] == ["encode"]:
        encode()
    else:
        sys.exit(__doc__)
