"""Several services in one process: one that does not start takes nothing else with it."""

import socket

import pytest
from fastapi import FastAPI

from backbone.assembly import serving
from common.settings import ServerSettings


async def test_a_taken_port_is_told_and_the_others_go_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServerSettings(host="127.0.0.1", port=taken.getsockname()[1])
        others = ServerSettings(host="127.0.0.1", port=0)
        async with serving(FastAPI(title="other"), others):
            with pytest.raises(RuntimeError, match="gateway did not start"):
                async with serving(FastAPI(title="gateway"), settings):
                    pass
