"""Bodies that come compressed: read as what they are, within the same limit, and never a bomb."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import aiohttp
import brotli
import pytest
import zstandard

from tests.e2e.running import Running, fake, running

LIMIT = 100_000


def body(**more: Any) -> bytes:
    asked = {"model": "auto", "messages": [{"role": "user", "content": "grüß dich"}], **more}
    return json.dumps(asked, ensure_ascii=False).encode()


async def post(gateway: Running, data: bytes, encoding: str) -> tuple[int, dict[str, Any]]:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    async with (
        aiohttp.ClientSession() as http,
        # aiohttp would compress once more.
        http.post(f"{gateway.url}/v1/chat/completions", data=data, headers=headers, compress=None) as reply,
    ):
        return reply.status, await reply.json()


def tree() -> dict[str, Any]:
    only = fake("only", generalist=True, options={"reply": "you said {prompt}"})
    return {"pool": {"experts": [only]}, "server": {"max_body_bytes": LIMIT}}


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.compress),
    ],
)
async def test_a_compressed_body_is_read(encoding: str, compress: Any) -> None:
    async with running(tree()) as gateway:
        status, answer = await post(gateway, compress(body(padding="x" * 6_000)), encoding)
        assert status == 200
        assert answer["choices"][0]["message"]["content"] == "you said grüß dich"


async def test_a_bomb_is_refused_before_it_goes_off() -> None:
    async with running(tree()) as gateway:
        bomb = gzip.compress(b" " * 200_000_000, 9)
        assert len(bomb) > LIMIT, "refused as it comes"
        assert (await post(gateway, bomb, "gzip"))[0] == 413
        small = gzip.compress(b" " * 20_000_000, 9)
        assert len(small) < LIMIT, "refused as it inflates"
        status, answer = await post(gateway, small, "gzip")
        assert (status, answer["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "data",
    [b"plain text", gzip.compress(body())[:-9], gzip.compress(body()) + b"more", gzip.compress(body())[:5], b""],
    ids=["plain", "cut", "more behind", "head alone", "nothing"],
)
async def test_what_is_not_compressed_as_it_says_is_refused(data: bytes) -> None:
    async with running(tree()) as gateway:
        status, answer = await post(gateway, data, "gzip")
        assert (status, answer["error"]["param"]) == (400, "content-encoding")


@pytest.mark.parametrize(("encoding", "compress"), [("br", brotli.compress), ("zstd", zstandard.compress)])
async def test_the_newer_encodings_are_bounded_like_the_older(encoding: str, compress: Any) -> None:
    whole = compress(body())
    async with running(tree()) as gateway:
        for data in (whole[:-2], whole + b"more", b"plain text", b""):
            status, answer = await post(gateway, data, encoding)
            assert (status, answer["error"]["param"]) == (400, "content-encoding")
        status, answer = await post(gateway, compress(b" " * 20_000_000), encoding)
        assert (status, answer["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("encoding", ["compress", "gzip, gzip", "x" * 500])
async def test_an_encoding_we_do_not_read_is_named(encoding: str) -> None:
    async with running(tree()) as gateway:
        status, answer = await post(gateway, gzip.compress(body()), encoding)
        assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")
        assert "gzip, deflate" in answer["error"]["message"]
