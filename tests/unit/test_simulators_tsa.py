"""The timestamp authority that misbehaves on request."""

import hashlib
from pathlib import Path

import httpx
from asn1crypto import tsp

from simulators.tsa import Response, TimestampAuthority

DIGEST = hashlib.sha256(b"content").digest()


def request(nonce: int = 7) -> bytes:
    return bytes(
        tsp.TimeStampReq(
            {
                "version": "v1",
                "message_imprint": {
                    "hash_algorithm": {"algorithm": "sha256"},
                    "hashed_message": DIGEST,
                },
                "nonce": nonce,
                "cert_req": True,
            }
        ).dump()
    )


def client(program: TimestampAuthority) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=program), base_url="http://tsa")


async def asked(http: httpx.AsyncClient, content: bytes | None = None) -> Response:
    answer = await http.post("/", content=request() if content is None else content)
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "application/timestamp-reply",
    )
    response: Response = Response.load(answer.content)
    return response


def told(response: Response) -> tsp.TSTInfo:
    signed = response["time_stamp_token"]["content"]
    return signed["encap_content_info"]["content"].parsed


async def test_it_stamps_and_keeps_books() -> None:
    program = TimestampAuthority()
    async with client(program) as http:
        info = told(await asked(http))
        assert info["message_imprint"]["hashed_message"].native == DIGEST
        assert info["nonce"].native == 7
        await asked(http)
        books = (await http.get("/_books")).json()
        assert (books["stamped"], books["repeated"]) == (1, 1)
        assert (await http.get("/_books/stamped")).json()["items"] == [
            {"digest": DIGEST.hex(), "times": 2}
        ]


async def test_what_is_no_request_is_rejected_in_the_protocols_own_form() -> None:
    program = TimestampAuthority()
    async with client(program) as http:
        answer = await asked(http, b'{"json": true}')
        assert answer["status"]["status"].native == "rejection"
        assert (await http.get("/_books")).json()["by_service"] == {
            "timestamp": {"refused rejection": 1}
        }


async def test_each_fault_is_visible_in_the_token() -> None:
    program = TimestampAuthority()
    async with client(program) as http:
        right = told(await asked(http))
        for kind, rule in (
            ("other_content", {}),
            ("other_nonce", {}),
            ("skewed", {"seconds": 7200, "back": True}),
            ("stranger", {}),
        ):
            posted = await http.post("/_faults", json={"kind": kind, "times": 1, **rule})
            assert posted.status_code == 200, posted.text
            wrong = told(await asked(http))
            differs = {
                "other_content": wrong["message_imprint"]["hashed_message"].native != DIGEST,
                "other_nonce": wrong["nonce"].native != 7,
                "skewed": (right["gen_time"].native - wrong["gen_time"].native).total_seconds()
                > 7000,
                "stranger": wrong["tsa"].native != right["tsa"].native,
            }
            assert [name for name, differed in differs.items() if differed] == [kind]


async def test_its_keys_survive_a_restart(tmp_path: Path) -> None:
    first = TimestampAuthority(state=tmp_path)
    async with client(first) as http:
        root = (await http.get("/root.pem")).content
        await asked(http)
    first.books.close()
    again = TimestampAuthority(state=tmp_path)
    async with client(again) as http:
        assert (await http.get("/root.pem")).content == root == (tmp_path / "root.pem").read_bytes()
        assert (await http.get("/_books")).json()["stamped"] == 1
        await asked(http)
    again.books.close()
