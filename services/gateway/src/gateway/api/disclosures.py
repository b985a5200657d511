"""Files that come in, and answers that hand something out: put down in the message log before
the answer is sent.

Which answers matter is said in ``docs/message-log.md``.
"""

import hashlib

from fastapi import Response

from common.auth import Principal
from common.blobs import Stored
from gateway.api.parts import Gateway
from gateway.use_cases.downloads import Download

PERSONAL = "dossiers:personal"


async def noted_reading(
    gateway: Gateway, principal: Principal, code: str, purpose: str | None, answer: Response
) -> Response:
    """A dossier as it is answered; where it shows personal data in clear it is put down first.

    Raises:
        Busy, NotReady: it could not be put down, so it is not answered.
    """
    if purpose is not None and PERSONAL in principal.scopes and answer.status_code == 200:
        await gateway.log_works.log.note(
            "GET /v1/dossiers/{code}",
            client_id=principal.client_id,
            answer_digest=hashlib.sha256(answer.body).hexdigest(),
            subject=code,
        )
    return answer


async def noted_upload(
    gateway: Gateway, principal: Principal, form: str, file: Stored, answer: Response
) -> Response:
    """The answer to a file that was taken in, put down first.

    Raises:
        Busy, NotReady: it could not be put down; the file stays, and may be sent again.
    """
    await gateway.log_works.log.note(
        form,
        client_id=principal.client_id,
        digest=file.digest,
        size=file.size,
        status=answer.status_code,
        answer_digest=hashlib.sha256(answer.body).hexdigest(),
        subject=file.digest,
    )
    return answer


async def note_download(gateway: Gateway, file: Download) -> None:
    """Put down that a file is handed out; by a link, nobody is named.

    Raises:
        Busy, NotReady: it could not be put down, so it is not handed out.
    """
    await gateway.log_works.log.note(
        "GET /v1/files/{sha256}",
        client_id=file.to or "",
        answer_digest=file.digest,
        subject=file.digest,
    )
