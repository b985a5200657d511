"""XML as signatures need it: read without what it names elsewhere, canonical, and narrow."""

import base64
import copy
from typing import Any

from lxml import etree  # has no types of its own

from signature_connector.domain.findings import Refusal

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
XADES141 = "{http://uri.etsi.org/01903/v1.4.1#}"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
C14N = {
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": (False, False),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments": (False, True),
    "http://www.w3.org/2006/12/xml-c14n11": (False, False),
    "http://www.w3.org/2006/12/xml-c14n11#WithComments": (False, True),
    _EXCLUSIVE: (True, False),
    f"{_EXCLUSIVE}WithComments": (True, True),
}
"""Exclusive, with comments. Of 1.1 the two differ only in ``xml:base`` and ``xml:id``."""
_DEFAULTC14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_DEEPEST = 200

Element = Any  # lxml has no types


def parsed(content: bytes) -> Element:
    """The root of a document that names nothing elsewhere and is not too deep.

    Raises:
        Refusal: it is not so. What is no XML raises what the parser does.
    """
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_pis=False,
        collect_ids=False,
    )
    root = etree.fromstring(content, parser)
    if root.getroottree().docinfo.doctype:
        raise Refusal("unreadable", "document type declaration")
    depth, here = 0, 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        here += 1 if event == "start" else -1
        depth = max(depth, here)
    if depth > _DEEPEST:
        raise Refusal("unreadable", "depth")
    return root


def qualifying(element: Element) -> bool:
    """Whether an object of a signature holds its properties rather than content."""
    return element.find(f"{XADES}QualifyingProperties") is not None


def one_child(parent: Element, name: str) -> Element:
    """The only child of a name, of XMLDSig.

    Raises:
        Refusal: there is none, or there are several.
    """
    found = parent.findall(f"{DS}{name}")
    if len(found) != 1:
        raise Refusal("signature-unreadable", name)
    return found[0]


def decoded(element: Element) -> bytes:
    """An element's Base64.

    Raises:
        Refusal: there are elements in it.
    """
    if len(element):
        raise Refusal("signature-unreadable", "base64")
    return base64.b64decode("".join((element.text or "").split()), validate=True)


def canonical(node: Element, method: Element | None) -> bytes:
    """An element, or a whole document, in canonical form.

    Args:
        method: element that names the algorithm; None: inclusive, without comments.

    Raises:
        Refusal: the algorithm is not on the list.
    """
    algorithm = _DEFAULTC14N if method is None else method.get("Algorithm")
    if algorithm not in C14N:
        raise Refusal("transform-refused", "canonicalisation")
    exclusive, comments = C14N[algorithm]
    prefixes = None
    if method is not None and exclusive:
        listed = method.find(f"{{{_EXCLUSIVE}}}InclusiveNamespaces")
        prefixes = listed.get("PrefixList", "").split() if listed is not None else None
    return bytes(
        etree.tostring(
            node,
            method="c14n",
            exclusive=exclusive,
            with_comments=comments,
            inclusive_ns_prefixes=prefixes,
        )
    )


def without_signature(root: Element, signature: Element, target: Element) -> Element:
    """The target in a copy of the document that lacks the signature.

    Raises:
        Refusal: it is in the signature itself, or that is the whole document.
    """
    tree = root.getroottree()
    own, wanted = tree.getelementpath(signature), tree.getelementpath(target)
    copied = copy.deepcopy(tree)
    removed, found = copied.find(own), copied.find(wanted)
    parent = removed.getparent()
    if parent is None or found is removed or removed in found.iterancestors():
        raise Refusal("transform-refused", "enveloped")
    before = removed.getprevious()
    tail = removed.tail or ""
    if before is not None:
        before.tail = (before.tail or "") + tail
    else:
        parent.text = (parent.text or "") + tail
    parent.remove(removed)
    return found
