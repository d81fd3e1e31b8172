"""Keys: kept as hashes, replaced without a gap, refused when they end, and for what their role opens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from yarl import URL

from pointsman.gateway.access.keys import Pepper, new_key
from pointsman.gateway.cli.keys import keys
from pointsman.gateway.settings import Settings
from tests.e2e.running import TRANSPORTS, Running, fake, running

PEPPER = "a pepper that nobody guesses"
ENV = {"PEPPER": PEPPER, "METRICS": "sk-metrics", "OPERATOR": "sk-operator", "OTHER": "sk-other", "OLD": "sk-old"}
OLD_KEY, NEW_KEY = new_key(), new_key()
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}


def hashed(key: str) -> str:
    return Pepper(PEPPER.encode()).written(key)


def tree(**auth: Any) -> dict[str, Any]:
    keys = [
        {"name": "rotating", "hashes": [hashed(OLD_KEY), hashed(NEW_KEY)]},
        {"name": "ended", "key_env": "OLD", "expires": "2026-01-01T00:00:00Z"},
        {"name": "off", "hashes": [hashed("sk-off")], "disabled": True},
        {"name": "other", "key_env": "OTHER", "expires": "2996-01-01T00:00:00+02:00"},
        {"name": "scraper", "key_env": "METRICS", "role": "metrics"},
        {"name": "boss", "key_env": "OPERATOR", "role": "operator"},
    ]
    return {
        "pool": {"experts": [fake("only", generalist=True)]},
        "auth": {"keys": keys, "pepper_env": "PEPPER", **auth},
    }


async def status_of(gateway: Running, headers: dict[str, str], path: str = "/v1/chat/completions") -> tuple[int, Any]:
    method = "POST" if path == "/v1/chat/completions" else "GET"
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, gateway.url + path, json=CHAT if method == "POST" else None, headers=headers) as reply,
    ):
        return reply.status, await reply.json(content_type=None) if path != "/metrics" else None


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(Settings.model_validate(tree()).model_dump(), ENV, transport=request.param) as gateway:
        yield gateway


ways = pytest.mark.parametrize("gateway", TRANSPORTS, indirect=True)


@ways
async def test_keys_are_known_by_their_hashes_and_two_at_once_while_one_is_replaced(gateway: Running) -> None:
    for key in (OLD_KEY, NEW_KEY, "sk-other", "sk-operator"):
        assert (await status_of(gateway, bearer(key)))[0] == 200
        assert (await status_of(gateway, {"x-api-key": key}))[0] == 200, "as Anthropic's clients send it"
    for likeness in (hashed(NEW_KEY), hashed(NEW_KEY).removeprefix("pmh1:"), NEW_KEY[:-1], NEW_KEY + "a", ""):
        assert (await status_of(gateway, bearer(likeness)))[0] == 401
    for likeness in ({}, {"authorization": "Bearer"}, {"authorization": NEW_KEY}, {"api-key": ""}):
        assert (await status_of(gateway, likeness))[0] == 401
    status, told = await status_of(gateway, {**bearer("sk-not-ours"), "x-api-key": "sk-nor-this"})
    assert status == 401
    assert "sk-no" not in str(told), "no key is said again"


@ways
@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key"])
async def test_a_key_of_ours_is_found_wherever_a_client_puts_it(gateway: Running, name: str) -> None:
    """Azure's clients send a token of their own in the one header, and the key in the other."""
    for headers in (
        {name: NEW_KEY},
        {**bearer("a token for another gateway"), name: NEW_KEY},
        {**bearer(NEW_KEY), name: "a key for another provider"},
        {"authorization": f"bearer  {NEW_KEY}"},
    ):
        assert (await status_of(gateway, headers))[0] == 200
        assert (await status_of(gateway, headers, "/v1/models"))[0] == 200


@ways
async def test_a_key_that_ended_or_is_switched_off_says_so(gateway: Running) -> None:
    for key, reason in (("sk-old", "key_expired"), ("sk-off", "key_disabled")):
        status, body = await status_of(gateway, bearer(key))
        assert (status, body["error"]["code"], body["error"]["reason"]) == (401, "invalid_api_key", reason)


@ways
async def test_a_role_opens_what_it_is_for(gateway: Running) -> None:
    chat, metrics = "/v1/chat/completions", "/metrics"
    for key, path, status in [
        ("sk-metrics", metrics, 200),
        ("sk-metrics", chat, 403),
        ("sk-metrics", "/v1/models", 403),
        ("sk-operator", metrics, 200),
        ("sk-operator", chat, 200),
        ("sk-other", metrics, 403),
        ("wrong", metrics, 401),
        ("wrong", "/ready", 200),
    ]:
        assert (await status_of(gateway, bearer(key), path))[0] == status, (key, path)
    assert (await status_of(gateway, {}, metrics))[0] == 401


@ways
async def test_operators_read_every_tenants_decisions_and_others_their_own(gateway: Running) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"{gateway.url}/v1/chat/completions"
        async with http.post(url, json=CHAT, headers=bearer("sk-other")) as reply:
            path = f"/v1/decisions/{reply.headers['x-pointsman-decision']}"
    assert (await status_of(gateway, bearer("sk-other"), path))[0] == 200
    assert (await status_of(gateway, bearer("sk-operator"), path))[0] == 200
    assert (await status_of(gateway, bearer(NEW_KEY), path))[0] == 404


@ways
@pytest.mark.parametrize("name", ["key", "api_key", "api-key", "apikey", "access_token", "Authorization"])
async def test_a_key_in_the_query_string_is_refused_even_beside_a_good_one(gateway: Running, name: str) -> None:
    for path in ("/v1/models", "/v1/chat/completions", "/metrics"):
        status, body = await status_of(gateway, bearer("sk-operator"), f"{path}?a=b&{name}=sk-operator")
        assert status == 401
        assert "query string" in body["error"]["message"]
    assert (await status_of(gateway, bearer("sk-operator"), "/v1/models?monkey=1"))[0] == 200


@ways
@pytest.mark.parametrize(
    "target",
    [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/../admin/keys",
        "/admin/keys",
        "/%61dmin/keys",
        "/v1/chat/completions/../../../metrics",
        "/health/../metrics",
        "/health%2f..%2fmetrics",
        "/metrics/",
        "/metrics%00",
        "http://x/metrics",
        "/v1/%63hat/completions",
        "/health;/metrics",
    ],
)
async def test_no_spelling_of_a_path_opens_what_a_key_guards(gateway: Running, target: str) -> None:
    address = URL(gateway.url)
    for method, key in (("GET", ""), ("POST", ""), ("GET", "authorization: Bearer sk-metrics\r\n")):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(
            f"{method} {target} HTTP/1.1\r\nhost: x\r\n{key}content-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        reply = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        status = int(reply.split(b" ", 2)[1])
        scraped = key and target == "http://x/metrics"
        assert status in ({200} if scraped else {400, 401, 403, 404, 405}), reply[:200]
        assert b"pointsman_requests" not in reply or scraped
    assert gateway.fake("only").stats.started == 0


def test_the_command_makes_a_key_that_its_hash_admits() -> None:
    made = CliRunner().invoke(keys, ["new", "alice"], env={"POINTSMAN_PEPPER": PEPPER})
    key = made.stdout.strip()
    assert (made.exit_code, len(key)) == (0, 47)
    assert f'hashes: ["{hashed(key)}"]' in made.stderr
    assert key not in made.stderr, "what is pasted into settings holds no key"
    again = CliRunner().invoke(keys, ["hash"], input=f"{key}\n", env={"POINTSMAN_PEPPER": PEPPER})
    assert again.stdout.strip() == hashed(key)
    other = CliRunner().invoke(keys, ["hash"], input=f"{key}\n", env={"POINTSMAN_PEPPER": "another"})
    assert other.stdout.strip() != hashed(key)
    without = CliRunner().invoke(keys, ["new", "alice"], env={"POINTSMAN_PEPPER": None})
    assert without.exit_code == 1
    assert "POINTSMAN_PEPPER is not set" in without.stderr


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        ({"pepper_env": None}, "hashes need pepper_env or pepper_file"),
        ({"tenants": {"nobody": {}}}, "no key belongs to this tenant"),
        ({"keys": [{"name": "a", "key_env": "K", "experts": ["nowhere"]}]}, "names an expert that is not in the pool"),
        ({"keys": [{"name": "a", "key_env": "K", "experts": []}]}, "names no expert"),
        ({"keys": [{"name": "a", "key_env": "K", "limits": {"usd_per_hour": 0}}]}, "greater than 0"),
        ({"keys": [{"name": "a", "hashes": ["sha256:abc"]}]}, "should match pattern"),
        ({"keys": [{"name": n, "hashes": [hashed("x")]} for n in "ab"]}, "the same hash is stated twice"),
    ],
)
def test_settings_that_could_not_work_are_refused(auth: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Settings.model_validate(tree(**auth))
