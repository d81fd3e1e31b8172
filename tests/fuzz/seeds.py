"""What the fuzzer starts from, and the words it is given: a few of everything that the parsers know."""

from __future__ import annotations

from typing import Final

_CHAT: Final = b"\x01\x00"
_NAMED: Final = b"\x03\x02"
_FLAGS: Final = b"\x05\x00"
_COMPLETIONS: Final = b"\x00\x00"
_MESSAGES, _COUNT, _RESPONSES, _EMBEDDINGS, _RERANK, _SCORE = (bytes([(n << 5) | 4, 0]) for n in range(1, 7))
_CUTS: Final = bytes([10, 40, 80, 120, 160, 200, 230, 250])


def _posted(path: bytes, body: bytes) -> bytes:
    head = b"POST /v1/%b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return _CUTS[:4] + head % (path, len(body)) + body


SEEDS: Final[dict[str, tuple[bytes, ...]]] = {
    "request": (
        _CHAT + b'{"model":"auto","messages":[{"role":"user","content":"hello"}]}',
        _CHAT + b'{"model":"auto","messages":[{"role":"user","content":[{"type":"text","text":"what is it"},'
        b'{"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]}],"stream":true,"max_tokens":5}',
        _CHAT + b'{"model":"auto","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"1+2"}],'
        b'"routing":{"max_energy_j":1.5,"weights":{"cost":0.5},"experts":["a"],"session":"s","cache":"no-store",'
        b'"evidence":{"max_calls":2},"priority":"high","deadline_ms":500,"local_only":true,"min_quality":0.5}}',
        _CHAT + b'{"model":"auto","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":'
        b'"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"4"}],"tools":[{"type":'
        b'"function","function":{"name":"f","parameters":{"properties":{"model":{"type":"string"}}}}}],'
        b'"response_format":{"type":"json_object"},"logprobs":true}',
        _NAMED + b'0.5{"model":"auto","messages":[{"role":"user","content":"hello"}]}',
        _FLAGS + b'{"model":"auto","messages":[{"role":"user","content":"hello [Flag: smallest model]"}]}',
        _COMPLETIONS + b'{"model":"an/expert-7b","prompt":["a","b"],"max_tokens":5}',
        _COMPLETIONS + b'{"prompt":[1,2,3],"metadata":{"model":"x"},"model":"auto"}',
        _MESSAGES + b'{"model":"auto","max_tokens":5,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user",'
        b'"content":[{"type":"text","text":"[Flag: smallest model] hi"},{"type":"image","source":{"type":"base64",'
        b'"media_type":"image/png","data":"aa"}}]},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":'
        b'"f","input":{"model":"x"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":'
        b'"4"}]}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"},"routing":{}}',
        _COUNT + b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}',
        _RESPONSES + b'{"model":"auto","instructions":"s","input":[{"role":"user","content":[{"type":"input_text",'
        b'"text":"[Flag: smallest model] hi"},{"type":"input_image","image_url":"x"}]},{"type":"function_call",'
        b'"call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"4"},{"type":"reasoning",'
        b'"id":"rs_1","encrypted_content":"x"}],"tools":[{"type":"function","name":"f"}],"text":{"format":{"type":'
        b'"json_object"}},"max_output_tokens":5,"previous_response_id":"resp_1","routing":{}}',
        _EMBEDDINGS + b'{"model":"auto","input":["[Flag: smallest model]",[1,2]],"encoding_format":null}',
        _RERANK + b'{"model":"auto","query":"q","documents":["a",{"text":"b","model":"x"}],"routing":{}}',
        _SCORE + b'{"model":"auto","text_1":"q","text_2":["a"]}',
    ),
    "translated": (
        b"a" + b'data: {"id":"1","created":1,"choices":[{"index":0,"delta":{"role":"assistant","reasoning":"hm"}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\ndata: {"choices":[{"index":0,"delta":{"tool_'
        b'calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\ndata: [DONE]\n\n',
        b"\xff" + b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\ndata: {"error":{"message":"no"}}\n\n',
        b"a" + b'{"id":"1","created":1,"choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":'
        b'null,"tool_calls":[{"id":"t","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":'
        b'{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}',
    ),
    "events": (
        _CUTS + b": a comment\n\n"
        b'data: {"id":"1","model":"inner","choices":[{"index":0,"delta":{"content":"h\xc3\xa9"}}]}\n\n'
        b'data: {"id":"1","model":"inner","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        b'data: {"id":"1","model":"inner","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
        b"data: [DONE]\n\n",
        _CUTS + b'data: {"model":"other","of":{"model":"other"}}\r\n\r\ndata: {"model": "other"}\n\ndata:[DONE]',
        _CUTS + b'event: error\ndata: {"error":{"message":"no"}}\n\nid: 1\ndata: {"usage": {"prompt_tokens":1}}\n\n',
        _CUTS + b'{"id":"1","model":"inner","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    ),
    "response": (
        _CUTS[:4] + b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\nhello",
        _CUTS[:4] + b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nx-sum: 1\r\n\r\n",
        _CUTS[:4] + b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        b"HTTP/1.0 429 No\r\nretry-after: 5\r\nconnection: close, x-a\r\n\r\nslow",
        _CUTS[:4] + b"HTTP/1.1 204 No Content\r\nkeep-alive: 5\r\nx-a: b\r\n c\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        _CUTS[:4] + b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ),
    "connection": (
        _posted(b"chat/completions", b'{"model":"auto","messages":[{"role":"user","content":"hello"}]}'),
        _posted(b"chat/completions", b'{"model":"only","messages":[{"role":"user","content":"a"}],"stream":true}'),
        _posted(b"completions", b'{"model":"auto","prompt":"hello","routing":{"max_cost_usd":1}}'),
        _posted(b"messages", b'{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}'),
        _posted(b"responses", b'{"model":"auto","input":[{"role":"user","content":"hello"}]}'),
        _posted(b"embeddings", b'{"model":"only","input":["hello"]}'),
        _posted(b"route", b'{"messages":[{"role":"user","content":"hello"}]}'),
        _posted(b"feedback", b'{"decision_id":"dec_00000000000000000000000000000000","quality":1}'),
        _CUTS[:4] + b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\nGET /ready HTTP/1.0\r\n\r\n",
        _CUTS[:4] + b"GET http://other.example/metrics?a=%2e%2e#b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        _CUTS[:4] + b"POST /v1/chat/completions HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2;a=b\r\n{}\r\n0\r\nx-late: 1\r\n\r\n",
        _CUTS[:4] + b"POST /v1/route HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}",
        _CUTS[:4] + b"POST /v1/chat/completions HTTP/1.1\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
    ),
}  # fmt: skip

WORDS: Final[tuple[bytes, ...]] = (
    b'"model"', b'"model":"inner"', b'"mod\\u0065l":"x"', b'"messages":[', b'"role":"user"', b'"content":',
    b'"prompt":', b'"stream":true', b'"routing":{', b'"weights":{', b'"max_cost_usd":', b'"session":"s"',
    b'"type":"text"', b'"text":', b'"tools":[', b'"usage":{', b'"prompt_tokens":', b'"completion_tokens":', b"null",
    b"true", b"1e999", b"-1", b"0.0", b"18446744073709551616", b"\\ud800", b"\\u0000", b"\xf0\x9f\x98\x80", b"\xff",
    b"[Flag:", b"[[[[[[[[", b"{", b"}", b"]", b",", b"data: ", b"data:", b"data: [DONE]", b"event: error", b"\n",
    b"\r", b"\n\n", b"\r\n", b"\r\n\r\n", b": ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 304 \r\n", b"HTTP/1.1 999 X\r\n", b"content-length: ", b"content-length: 0\r\n",
    b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n",
    b"5\r\nhello\r\n", b"connection: upgrade\r\n", b"upgrade: h2c\r\n", b"\x00",
)  # fmt: skip
