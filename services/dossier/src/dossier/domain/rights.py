"""Whether a client deals with a dossier's procedure: judged where the dossier lives.

The gateway judges as well, by what it has heard of the dossier. That can be less than is known here
(old dossiers, dossiers of before it kept their procedure) or be overtaken: a code whose submission
is refused is free for a dossier of another procedure.
"""

from collections.abc import Collection

from common.errors import Forbidden
from dossier.domain.model import Dossier, Refusal


def without_right(before: Dossier | None, procedures: Collection[str] | None) -> Refusal | None:
    """Why a client may do nothing to a dossier, if it may not.

    Args:
        before: the dossier; what is about to begin was judged where it was taken in.
        procedures: one of which it has to be of; None for any.
    """
    if before is None or procedures is None or before.state.procedure.code in procedures:
        return None
    return Refusal(
        Forbidden(
            "Hệ thống này không có quyền với thủ tục của hồ sơ",
            "This client does not deal with the dossier's procedure",
        )
    )
