"""The proxy that the environment names is used, with its password, and not where it is told to be passed by."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from thinkaudit.models.http import from_settings
from thinkaudit.types import Identity, ModelSettings, Request, Turn

REPLY = {"choices": [{"message": {"content": "Gladly."}, "finish_reason": "stop"}]}


async def _seen(monkeypatch: pytest.MonkeyPatch, *, bypass: str) -> list[web.BaseRequest]:
    """What reaches a server that is both the model and, under another name, the proxy."""
    seen: list[web.BaseRequest] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response(REPLY)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handle)
    async with TestServer(app) as server:
        monkeypatch.setenv("http_proxy", f"http://ann:pass@127.0.0.1:{server.port}")
        monkeypatch.setenv("no_proxy", bypass)
        address = f"http://localhost:{server.port}/v1"
        settings = ModelSettings(Identity("t", "m"), "m", address, key="of-the-model", key_variable="KEY")
        async with from_settings(settings) as model:
            await model.complete(Request((Turn("user", "Good morning"),)))
    return seen


async def test_a_proxy_of_the_environment_gets_its_own_password(monkeypatch: pytest.MonkeyPatch) -> None:
    (request,) = await _seen(monkeypatch, bypass="")
    assert request.raw_path.startswith("http://localhost")
    assert request.headers["Proxy-Authorization"] == "Basic YW5uOnBhc3M="
    assert request.headers["Authorization"] == "Bearer of-the-model"


async def test_a_host_that_no_proxy_names_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    (request,) = await _seen(monkeypatch, bypass="localhost")
    assert request.raw_path == "/v1/chat/completions"
    assert "Proxy-Authorization" not in request.headers
