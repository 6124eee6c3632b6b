"""Renders a conversation with tools by published chat templates: what test/fixtures/tool-templates is checked against.

Usage: python3 tools.py PLACE FOLDER > expected.json. PLACE: see render.py. FOLDER has conversations.json, and sources.json with
the file of each template in PLACE, and with where a text begins to count, if not at its beginning.
"""

import hashlib
import io
import json
import sys
from pathlib import Path

import jinja2
import render
import transformers


def literal(value):
    """As Python writes it, strings in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(one)}" for key, one in value.items()) + "}"
    return repr(value)


def with_written_calls(message):
    """For templates that leave calls out: as the text that the model wrote."""
    message = dict(message)
    calls = message.pop("tool_calls", None)
    if calls:
        texts = []
        for call in calls:
            function = call["function"]
            given = ", ".join(f"{key}={literal(value)}" for key, value in function["arguments"].items())
            texts.append(f"{function['name']}({given})")
        message["content"] = f"<|tool_call_start|>[{', '.join(texts)}]<|tool_call_end|>" + message["content"]
    return message


def main(place, folder):
    folder = Path(folder)
    conversations = json.loads((folder / "conversations.json").read_text("utf-8"))
    sources = json.loads((folder / "sources.json").read_text("utf-8"))
    published = {Path(name).name: text for name, text in render.templates_in(Path(place))}
    result = {"by": f"transformers {transformers.__version__}, Jinja2 {jinja2.__version__}"}
    result["specialTokens"] = render.SPECIAL_TOKENS
    now = render.NOW
    result["now"] = [now.year, now.month - 1, now.day, now.hour, now.minute, now.second]
    result["templates"] = {}
    for name, source in sources.items():
        template = published[source["file"]]
        texts = {}
        for title, case in conversations.items():
            messages = case["messages"]
            if "tool_calls" not in template:
                messages = [with_written_calls(message) for message in messages]
            arguments = {key: value for key, value in case["arguments"].items() if key in template}
            case = {**case, "messages": messages, "arguments": arguments, "documents": None}
            text = render.rendered(template, {**case, "add_generation_prompt": True})["text"]
            texts[title] = text[text.index(source.get("comparedFrom", "")) :]
        digest = hashlib.sha256(template.encode()).hexdigest()
        result["templates"][name] = {"sha256": digest, "texts": texts}
    with io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8") as output:
        json.dump(result, output, ensure_ascii=False, indent=1)


main(*sys.argv[1:])
