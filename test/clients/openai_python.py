"""OpenAI's own client for Python, as its users have it, against running servers.

Arguments: JSON with the address of each server. Prints a line of JSON for each test: its name, and what failed.
"""

import json
import sys
import threading
import time
import traceback
import urllib.request

import openai
from openai import OpenAI

URLS = json.loads(sys.argv[1])
MODEL = "rene-tiny"
MESSAGES = [{"role": "user", "content": "Tell me about the sea"}]
ASKED = {"model": MODEL, "messages": MESSAGES, "max_tokens": 12, "seed": 1}
# Until somebody stops it: the end of the text cannot be drawn.
ENDLESS = {**ASKED, "max_tokens": 30_000, "logit_bias": {"0": -100}}
WEATHER = {
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}


def client(server="plain", key="none"):
    return OpenAI(base_url=f"{URLS[server]}/v1", api_key=key, max_retries=0, timeout=60)


def until_nothing_runs(server, key):
    """The server hears a moment later that somebody has gone."""
    headers = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{URLS[server]}/metrics", headers=headers)
    while "\nssm_metal_texts 0\n" not in urllib.request.urlopen(request).read().decode():
        time.sleep(0.005)


def raises(error, call, **fields):
    try:
        call()
    except error as caught:
        for name, value in fields.items():
            assert getattr(caught, name) == value, (name, getattr(caught, name))
        return
    raise AssertionError(f"no {error.__name__}")


def test_streams_give_what_is_given_whole():
    whole = client().chat.completions.create(**ASKED)
    assert whole.choices[0].finish_reason == "length"
    stream = client().chat.completions.create(
        **ASKED, stream=True, stream_options={"include_usage": True}
    )
    text, usage = "", None
    for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage.completion_tokens == 12
    assert usage.total_tokens == whole.usage.total_tokens


def test_seeds():
    texts = [
        client().chat.completions.create(**{**ASKED, "seed": seed}).choices[0].message.content
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_cached_tokens():
    first = client().chat.completions.create(**ASKED)
    answer = {"role": "assistant", "content": first.choices[0].message.content}
    messages = [*MESSAGES, answer, {"role": "user", "content": "And the sky?"}]
    usage = client().chat.completions.create(**{**ASKED, "messages": messages}).usage
    assert usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens


def test_stop_n_and_logprobs():
    choices = (
        client()
        .chat.completions.create(
            **{**ASKED, "max_tokens": 200}, n=3, stop=[".", "\n"], logprobs=True, top_logprobs=2
        )
        .choices
    )
    assert [choice.index for choice in choices] == [0, 1, 2]
    for choice in choices:
        assert not set(choice.message.content) & set(".\n")
        assert len(choice.logprobs.content[0].top_logprobs) == 2
        assert choice.logprobs.content[0].logprob <= 0


def test_json_schema():
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "deep": {"type": "boolean"}},
        "required": ["name", "deep"],
    }
    response_format = {
        "type": "json_schema",
        "json_schema": {"name": "sea", "schema": schema, "strict": True},
    }
    fields = {**ASKED, "max_tokens": 100, "response_format": response_format}
    value = json.loads(client().chat.completions.create(**fields).choices[0].message.content)
    assert isinstance(value["name"], str) and isinstance(value["deep"], bool)


def test_abort_frees_the_place():
    # It has one place and no queue.
    one = client("guarded", "a")
    with one.chat.completions.create(**ENDLESS, stream=True) as stream:
        for _, _ in zip(range(5), stream):
            pass
        raises(openai.RateLimitError, lambda: one.chat.completions.create(**ASKED), status_code=429)
    until_nothing_runs("guarded", "a")
    assert one.chat.completions.create(**ASKED).usage.completion_tokens == 12


def test_several_threads():
    results = []

    def run():
        results.append(client().chat.completions.create(**ASKED).choices[0].message.content)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(set(results)) == 1


def test_errors():
    create = client().chat.completions.create
    wrong = lambda: create(**ASKED, temperature=2.5)
    raises(openai.BadRequestError, wrong, status_code=400, param="temperature")
    other = lambda: create(**{**ASKED, "model": "gpt-9"})
    raises(openai.NotFoundError, other, status_code=404, code="model_not_found")
    unknown = lambda: create(**ASKED, extra_body={"tempreature": 1})
    raises(openai.BadRequestError, unknown, param="tempreature")
    key = lambda: client("guarded", "b").chat.completions.create(**ASKED)
    raises(openai.AuthenticationError, key, status_code=401, code="invalid_api_key")


def test_models():
    assert [model.id for model in client().models.list()] == [MODEL]
    assert client().models.retrieve(MODEL).object == "model"
    raises(openai.NotFoundError, lambda: client().models.retrieve("gpt-9"))


def test_completions():
    fields = {"model": MODEL, "max_tokens": 6, "seed": 1}
    whole = client().completions.create(**fields, prompt=["Once", "Twice"], logprobs=1)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert len(whole.choices[0].logprobs.tokens) == 6
    stream = client().completions.create(**fields, prompt="Once", stream=True)
    text = "".join(choice.text for chunk in stream for choice in chunk.choices)
    assert text == whole.choices[0].text


def test_responses():
    fields = {"model": MODEL, "input": "Hello", "max_output_tokens": 8}
    whole = client().responses.create(**fields, temperature=0)
    assert whole.output_text != ""
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage.output_tokens == 8
    types, text = [], ""
    with client().responses.create(**fields, temperature=0, stream=True) as stream:
        for event in stream:
            types.append(event.type)
            if event.type == "response.output_text.delta":
                text += event.delta
    assert text == whole.output_text
    assert (types[0], types[-1]) == ("response.created", "response.incomplete")


def test_json_schema_of_responses():
    schema = {"type": "object", "properties": {"deep": {"type": "boolean"}}, "required": ["deep"]}
    text = {"format": {"type": "json_schema", "name": "sea", "schema": schema, "strict": True}}
    fields = {"model": MODEL, "input": "Hello", "max_output_tokens": 100, "text": text}
    # Of a text that ends by itself: the client has no final response of another.
    with client().responses.stream(**fields) as stream:
        response = stream.get_final_response()
    assert isinstance(json.loads(response.output_text)["deep"], bool)


def test_tools():
    tools = [{"type": "function", "function": WEATHER}]
    calling = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}
    fields = {**ASKED, "max_tokens": 100, **calling}
    choice = client("tools").chat.completions.create(**fields).choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    with client("tools").chat.completions.stream(**fields) as stream:
        [streamed] = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed.function.arguments == call.function.arguments
    result = {"role": "tool", "tool_call_id": call.id, "content": "20 degrees"}
    messages = [*MESSAGES, choice.message, result]
    next_turn = {**ASKED, "messages": messages, "tools": tools}
    assert client("tools").chat.completions.create(**next_turn).usage.completion_tokens > 0


def test_tools_of_responses():
    fields = {
        "model": MODEL,
        "input": "Weather?",
        "max_output_tokens": 100,
        "tools": [{"type": "function", **WEATHER}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    [call] = client("tools").responses.create(**fields).output
    assert (call.type, call.name) == ("function_call", "weather")
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")


def main():
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test()
            failure = None
        except Exception:
            failure = traceback.format_exc()
        print(json.dumps({"name": name.removeprefix("test_"), "failure": failure}), flush=True)


main()
