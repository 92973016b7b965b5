"""What people do with the openai package, on the server at the port that is given. An assertion that fails says what.

The second argument is a file for an answer that can be repeated, as the package writes it.
"""

import sys

import openai
from openai import OpenAI

client = OpenAI(base_url=f"http://127.0.0.1:{sys.argv[1]}/v1", api_key="secret", max_retries=0)
MESSAGES = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}]


def models():
    (model,) = client.models.list().data
    assert model.id == "org/tiny" and model.object == "model", model
    assert client.models.retrieve("org/tiny").id == "org/tiny"


def chat():
    answer = client.chat.completions.create(model="org/tiny", messages=MESSAGES, max_completion_tokens=8, temperature=0)
    (choice,) = answer.choices
    assert choice.message.role == "assistant" and choice.finish_reason == "length", choice
    usage = answer.usage
    assert usage.completion_tokens == 8 and usage.total_tokens == usage.prompt_tokens + 8, usage
    assert usage.prompt_tokens_details.cached_tokens == 0, usage
    return choice.message.content


def stream(text):
    chunks = list(
        client.chat.completions.create(
            model="org/tiny", messages=MESSAGES, max_tokens=8, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(it.choices[0].delta.content or "" for it in chunks[:-1]) == text
    assert chunks[-2].choices[0].finish_reason == "length" and chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 8, chunks[-1]
    # The helper that makes events of a stream.
    with client.chat.completions.stream(model="org/tiny", messages=MESSAGES, max_tokens=8, temperature=0) as events:
        assert "".join(it.delta for it in events if it.type == "content.delta") == text
    # One that is left early.
    endless = client.chat.completions.create(
        model="org/tiny", messages=MESSAGES, max_tokens=3000, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(endless))
    endless.close()


def completions():
    answer = client.completions.create(
        model="org/tiny", prompt=["a", "b"], n=2, max_tokens=5, seed=3, stop=["never"], logit_bias={"2": -100},
        extra_body={"top_k": 50, "min_p": 0.01, "repetition_penalty": 1.1},
    )
    assert [it.index for it in answer.choices] == [0, 1, 2, 3], answer
    echo = client.completions.create(model="org/tiny", prompt=[1, 75, 104], max_tokens=1, echo=True, logprobs=2)
    logprobs = echo.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == 4, logprobs
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
    text = "".join(it.choices[0].text for it in client.completions.create(
        model="org/tiny", prompt="a", max_tokens=5, temperature=0, stream=True))
    assert text == client.completions.create(model="org/tiny", prompt="a", max_tokens=5, temperature=0).choices[0].text


def logprobs():
    answer = client.chat.completions.create(
        model="org/tiny", messages=MESSAGES, max_tokens=4, logprobs=True, top_logprobs=3, seed=1
    )
    for token in answer.choices[0].logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3, token
        assert bytes(token.bytes).decode(errors="ignore") in token.token or token.token.startswith("bytes:"), token


def replay():
    answer = client.chat.completions.create(
        model="org/tiny", messages=MESSAGES, max_tokens=6, logprobs=True, extra_body={"replay": True, "ignore_eos": True}
    )
    with open(sys.argv[2], "w") as file:
        file.write(answer.to_json())


def errors():
    def fails(kind, code, param, call):
        try:
            call()
        except kind as error:
            assert (error.code, error.param) == (code, param), error
        else:
            raise AssertionError(f"{kind} was not raised")

    create = client.chat.completions.create
    fails(openai.NotFoundError, "model_not_found", "model", lambda: create(model="gpt-4", messages=MESSAGES))
    fails(openai.BadRequestError, None, "messages", lambda: create(model="org/tiny", messages=[]))
    fails(openai.BadRequestError, None, "n", lambda: create(model="org/tiny", messages=MESSAGES, n=100))
    fails(openai.BadRequestError, "unsupported", "tools", lambda: create(
        model="org/tiny", messages=MESSAGES, tools=[{"type": "function", "function": {"name": "f"}}]))
    stranger = client.with_options(api_key="wrong")
    fails(openai.AuthenticationError, "invalid_api_key", None, lambda: stranger.models.list())


models()
stream(chat())
completions()
logprobs()
replay()
errors()
print("all is well")
