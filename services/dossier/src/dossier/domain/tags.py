"""Entity tags of a dossier (RFC 9110 section 8.8.3) and the condition ``If-Match`` on a step.

A tag names the dossier's version: the number of its last step, with an ``e`` once its personal data
was erased. What makes the representation another one, such as personal data in clear, follows
behind a dot, so that tags are strong; a condition looks at the version alone.
"""

import re

from common.errors import Problem
from dossier.domain.model import Dossier
from dossier.errors import DossierChanged

_ANY = "*"
_TAG = re.compile(r'(W/)?"([^"]*)"')


def version_of(dossier: Dossier) -> str:
    """The version as it stands in tags."""
    return f"{dossier.steps}e" if dossier.erased else str(dossier.steps)


def tag_of(dossier: Dossier, representation: str = "") -> str:
    """The entity tag of a representation; empty for the plain one."""
    return f'"{version_of(dossier)}{"." if representation else ""}{representation}"'


def unmet(dossier: Dossier, expected: str | None) -> Problem | None:
    """Why a step does not go on from what its sender had seen; None where it does.

    Args:
        expected: the value of ``If-Match``; weak tags match nothing (RFC 9110 section 13.1.1).
    """
    if expected is None or expected.strip() == _ANY:
        return None
    version = version_of(dossier)
    for weak, tag in _TAG.findall(expected):
        if not weak and tag.partition(".")[0] == version:
            return None
    return DossierChanged(
        f"Hồ sơ đã thay đổi, nay ở phiên bản {version}: hãy đọc lại rồi quyết định bước tiếp theo",
        f"The dossier has changed, its version is {version} now: read it again and decide anew",
    )
