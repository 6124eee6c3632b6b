"""Writes test/fixtures/tokenizer/rust-tokens.json: what Hugging Face's tokenizers (in Rust) make of text.

Usage: python3 scripts/make-rust-tokens.py. Needs: pip install tokenizers
"""

import json
from pathlib import Path

import tokenizers

FOLDER = Path(__file__).parent.parent / "test" / "fixtures" / "tokenizer"

# Every white space of Unicode, and characters that some languages take for it.
SPACES = [9, 10, 11, 12, 13, 0x1C, 0x1F, 0x20, 0x85, 0xA0, 0x1680, 0x180E, 0x2000, 0x2009]
SPACES += [0x200B, 0x200D, 0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF]


def byte_level(**options):
    usual = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"type": "ByteLevel", **usual, **options}


def after_digits(step):
    digits = {"type": "Digits", "individual_digits": True}
    return {"type": "Sequence", "pretokenizers": [digits, step]}


PRE_TOKENIZERS = {
    "ByteLevel": byte_level(),
    "ByteLevel with a space before the text": byte_level(add_prefix_space=True),
    "ByteLevel after digits": after_digits(byte_level()),
    "ByteLevel after digits with a space before each part": after_digits(
        byte_level(add_prefix_space=True)
    ),
    "ByteLevel without its pattern": byte_level(use_regex=False),
}


def texts():
    for c in map(chr, SPACES):
        yield f"the{c}state"
        yield f"the{c}{c} state{c}"
        yield f"{c}it's 12{c}.{c}{c}"
        # The vocabulary has tokens of two spaces and of a space before U+2028: whether c is white space
        # decides if they come.
        yield f"the  {c}state"
        yield f"the \u2028{c}"
    yield "a<|endoftext|>b the"
    yield "<|endoftext|>"
    yield " \u0085\ufeff the"
    yield "\u0085<|endoftext|>\ufeff state"


def tokens(definition):
    usual = tokenizers.Tokenizer.from_str(json.dumps(definition))
    plain = tokenizers.Tokenizer.from_str(json.dumps(definition))
    plain.encode_special_tokens = True
    for text in texts():
        case = {"text": text, "ids": usual.encode(text, add_special_tokens=False).ids}
        ids = plain.encode(text, add_special_tokens=False).ids
        yield case if ids == case["ids"] else {**case, "plain": ids}


def main():
    base = json.loads((FOLDER / "tokenizer.json").read_text())
    lines = []
    for name, step in PRE_TOKENIZERS.items():
        cases = ",\n".join(json.dumps(case) for case in tokens({**base, "pre_tokenizer": step}))
        head = f'{{"name": {json.dumps(name)}, "preTokenizer": {json.dumps(step)}, "cases": [\n'
        lines.append(f"{head}{cases}\n]}}")
    by = json.dumps(f"tokenizers {tokenizers.__version__}")
    text = f'{{\n"by": {by},\n"tokenizers": [\n' + ",\n".join(lines) + "\n]\n}\n"
    (FOLDER / "rust-tokens.json").write_text(text)


main()
