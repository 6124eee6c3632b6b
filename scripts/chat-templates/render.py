"""Renders chat templates with transformers, for random conversations: what lib/chat must make of them too.

Usage: python3 render.py PLACE COUNT SEED > cases.json. PLACE is a folder of *.jinja files, or of packages (wheels, source
archives) whose templates are taken: *.jinja files, and texts of Python files that look like templates. Each line of an
expressions.txt is a template too, for one conversation.
"""

import ast
import datetime
import io
import json
import random
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils

# The time that strftime_now gives, by local clocks.
NOW = datetime.datetime(2025, 3, 9, 14, 5, 6)


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = FixedTime

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

TEXTS = [
    "",
    " ",
    "\n",
    "Hello",
    " spaces around \n",
    "What is 2 + 2?",
    "line\r\nline\n\n  indented\t",
    "it's \"quoted\" & <b>bold</b> \\ back",
    "Grüße, 你好 😀 é\u00a0\u2028\u200b",
    "<think>inner</think> after",
    "<think>\nthought\n</think>\n\nanswer",
    "only </think> closed",
    "<|im_end|>[INST]</s>",
    "{{ not }} {% a %} template",
    "a" * 300,
    "CONTINUE",
    "None",
]

VALUES = [0, 1, -3, 2.5, -0.125, 1e-7, 1.5e300, 123456789012, True, False, None, "", "text", "é😀\n\"", [], {}]
VALUES += [[1, "a", None], {"b": 1, "a": [True, 1.5]}, {"Z": {"y": {"x": "deep"}}}]

# Arguments of published templates; given to those that mention them.
ARGUMENTS = {
    "enable_thinking": [True, False],
    "thinking": [True, False],
    "thinking_budget": [-1, 0, 512, 1000],
    "preserve_thinking": [True, False],
    "keep_past_thinking": [True, False],
    "reasoning_effort": ["low", "high"],
    "model_identity": ["You are a test."],
    "builtin_tools": [["browser"], ["python", "browser"], []],
    "date_string": ["01 Jan 2025"],
    "tools_in_user_message": [True, False],
    "controls": [{"length": "short", "originality": "abstractive"}, {"citations": True}],
    "available_tools": [[{"name": "f", "description": "d"}]],
    "citations": [True, False],
    "safety_mode": ["STRICT", "NONE"],
    "title": ["A title"],
    "labels": [["a", "B", "c"], []],
}


class Conversations:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def text(self):
        return self.random.choice(TEXTS)

    def content(self):
        if self.chance(0.85):
            return self.text()
        parts = [{"type": "text", "text": self.text()} for _ in range(self.random.randrange(3))]
        if self.chance(0.2):
            parts.append({"type": "image", "url": "x.png"})
        return parts

    def arguments(self):
        names = self.random.sample(["city", "unit", "n", "Ünit", "a b", "items"], self.random.randrange(4))
        values = {name: self.random.choice(VALUES) for name in names}
        return json.dumps(values) if self.chance(0.25) else values

    def tool_call(self):
        call = {"function": {"name": self.random.choice(["get_weather", "search"]), "arguments": self.arguments()}}
        if self.chance(0.8):
            call["type"] = "function"
        if self.chance(0.6):
            call["id"] = f"call{self.random.randrange(10**5):05}"
        return call

    def tool(self):
        properties = {
            name: {"type": self.random.choice(["string", "integer"]), "description": self.text()}
            for name in self.random.sample(["city", "unit", "n"], self.random.randrange(4))
        }
        if properties and self.chance(0.4):
            next(iter(properties.values()))["enum"] = ["a", "b"]
        function = {
            "name": self.random.choice(["get_weather", "search"]),
            "description": self.text(),
            "parameters": {"type": "object", "properties": properties, "required": list(properties)[:1]},
        }
        if self.chance(0.2):
            function["return"] = {"type": "string"}
        if self.chance(0.2):
            function["strict"] = self.chance(0.5)
        return function if self.chance(0.1) else {"type": "function", "function": function}

    def assistant(self):
        message = {"role": "assistant", "content": self.content()}
        if self.chance(0.3):
            message[self.random.choice(["reasoning_content", "thinking", "reasoning"])] = self.text()
        if self.chance(0.3):
            message["tool_calls"] = [self.tool_call() for _ in range(self.random.randrange(3))]
            if self.chance(0.5):
                message["content"] = self.random.choice([None, ""])
        return message

    def answer(self, call=None):
        message = {"role": "tool", "content": self.content()}
        if self.chance(0.5):
            message["content"] = json.dumps(self.random.choice(VALUES))
        if self.chance(0.7):
            message["tool_call_id"] = (call or {}).get("id", "call00001")
        if self.chance(0.5):
            message["name"] = "get_weather"
        return message

    def ordinary(self):
        """Turns as they should be."""
        messages = [{"role": "system", "content": self.content()}] if self.chance(0.5) else []
        for _ in range(self.random.randrange(1, 4)):
            messages.append({"role": "user", "content": self.content()})
            assistant = self.assistant()
            messages.append(assistant)
            calls = assistant.get("tool_calls") or []
            messages.extend(self.answer(call) for call in calls)
            if calls and self.chance(0.8):
                messages.append({"role": "assistant", "content": self.text()})
        if self.chance(0.7):
            messages.append({"role": "user", "content": self.text()})
        return messages

    def odd(self):
        """Turns in any order, with fields that are missing or null."""
        messages = []
        for _ in range(self.random.randrange(1, 6)):
            role = self.random.choice(["system", "user", "assistant", "tool", "developer", "other", "User"])
            message = {
                "assistant": self.assistant,
                "tool": self.answer,
            }.get(role, lambda: {"role": role, "content": self.content()})()
            if self.chance(0.15):
                del message["content"]
            elif self.chance(0.1):
                message["content"] = None
            if self.chance(0.1):
                message["name"] = self.random.choice(["Ann", None])
            messages.append(message)
        return messages

    def case(self, template):
        case = {"messages": self.ordinary() if self.chance(0.6) else self.odd()}
        case["add_generation_prompt"] = self.chance(0.5)
        mentions = lambda name: re.search(rf"\b{name}\b", template) is not None
        tools = [self.tool() for _ in range(self.random.randrange(3))] if self.chance(0.5) else None
        case["tools"] = tools if mentions("tools") else None
        documents = [{"title": self.text(), "text": self.text(), "doc_id": i} for i in range(self.random.randrange(3))]
        case["documents"] = documents if mentions("documents") and self.chance(0.3) else None
        case["arguments"] = {
            name: self.random.choice(values)
            for name, values in ARGUMENTS.items()
            if mentions(name) and self.chance(0.5)
        }
        return case


def rendered(template, case):
    """What transformers' apply_chat_template gives, without a tokenizer around it."""
    try:
        messages = chat_template_utils._normalize_chat_messages(case["messages"])
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[messages],
            tools=case["tools"],
            documents=case["documents"],
            chat_template=template,
            add_generation_prompt=case["add_generation_prompt"],
            **{**SPECIAL_TOKENS, **case["arguments"]},
        )
        return {"text": texts[0]}
    except jinja2.exceptions.UndefinedError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    except jinja2.exceptions.TemplateError as error:
        name = type(error).__name__
        return {"refusal": str(error)} if name == "TemplateError" else {"error": f"{name}: {error}"}
    except Exception as error:  # whatever Python says of a template's mistake
        return {"error": f"{type(error).__name__}: {error}"}


def looks_like_template(text):
    return "{%" in text and "messages" in text and "for" in text


def templates_in_python(source):
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and looks_like_template(node.value):
            yield f"line {node.lineno}", node.value


def files_of(place):
    for path in sorted(place.rglob("*")):
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith((".jinja", ".py")):
                        yield name, archive.read(name)
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile() and member.name.endswith(".jinja"):
                        yield member.name, archive.extractfile(member).read()
        elif path.suffix == ".jinja" or path.name == "expressions.txt":
            yield str(path.relative_to(place)), path.read_bytes()


def templates_in(place):
    seen = set()
    for name, data in files_of(place):
        text = data.decode("utf-8", "replace")
        if name.endswith(".txt"):
            for number, line in enumerate(text.splitlines(), 1):
                yield f"{name} line {number}", line
            continue
        found = [("", text)] if name.endswith(".jinja") else templates_in_python(text)
        for part, template in found:
            if template not in seen:
                seen.add(template)
                yield f"{name} {part}".strip(), template


def main(place, count, seed):
    result = {"by": f"transformers {transformers.__version__}, Jinja2 {jinja2.__version__}"}
    result["now"] = [NOW.year, NOW.month - 1, NOW.day, NOW.hour, NOW.minute, NOW.second]
    result["specialTokens"] = SPECIAL_TOKENS
    result["templates"] = []
    for name, template in templates_in(Path(place)):
        conversations = Conversations(f"{seed} {name}")
        several = 1 if name.startswith("expressions.txt") else int(count)
        cases = [conversations.case(template) for _ in range(several)]
        cases = [{**case, **rendered(template, case)} for case in cases]
        result["templates"].append({"name": name, "template": template, "cases": cases})
    with io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8") as output:
        json.dump(result, output, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
