"""What is told to the portal and how it is keyed."""

PARTNER = "national-portal"
DOSSIER, STEP = "dossier", "step"
"""Kinds of items: a dossier as it now stands, and one line of its history."""
ANSWER = "answer"
"""The kind of an answer to a question that was asked on the portal."""

_EPOCH_BITS = 40


def version_of(stream: str, sequence: int) -> int:
    """The version of a snapshot: the place of its event, a later epoch above any earlier one.

    Args:
        stream: ``<producer>/<epoch>/<dossier code>``.
    """
    _, epoch, _ = stream.split("/", 2)
    return int(epoch) << _EPOCH_BITS | sequence


def sequence_of(version: int) -> int:
    """The place in the stream that a version was made of."""
    return version & ((1 << _EPOCH_BITS) - 1)


def step_key(code: str, number: int) -> str:
    """The key of a step."""
    return f"{code}/{number}"


def step_number(key: str) -> int:
    """The number of the step that a key stands for."""
    return int(key.rpartition("/")[2])
