"""When a token says that it was issued."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from gateway.domain.clients import Client
from gateway.use_cases.tokens import SigningKey, Tokens
from tests.support.gateway import signing_key

TOKENS = Tokens(SigningKey(SecretStr(signing_key())), "issuer", "audience", 600)


def issued(**times: Any) -> int:
    client = Client("one", "", (), ("H56",), active=True, **times)
    claims = jwt.decode(TOKENS.issue(client, ()), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 600
    return int(claims["iat"])


@pytest.mark.parametrize("which", ["void_before", "changed_at"])
def test_a_token_of_the_second_in_which_others_became_void_is_good(which: str) -> None:
    moment = datetime.now(UTC)
    assert issued(**{which: moment}) > moment.timestamp()


def test_a_clock_that_is_far_ahead_does_not_lead_tokens_into_the_future() -> None:
    assert issued(void_before=datetime.now(UTC) + timedelta(hours=1)) <= time.time() + 3


def test_otherwise_it_is_now() -> None:
    assert abs(issued(void_before=datetime.now(UTC) - timedelta(hours=1)) - time.time()) < 2
