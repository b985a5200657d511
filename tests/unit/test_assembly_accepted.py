"""Programs that no one here wrote accept what is signed here, and refuse it when tampered with."""

from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding

from signature_connector.assembly import cades
from signature_connector.assembly.edits import applied
from signature_connector.domain.assembly import Stamp
from tests.support import assembly
from tests.support.assembly import message, tsa
from tests.support.signing import colleague, draw, pdf, root, signer, updated
from tests.support.signing_tools import tool
from tests.unit.test_assembly_messages import XML
from tests.unit.test_assembly_pades import accepted, holder

UNCHANGED = "The document is unchanged since signing."  # mutool's words
PDFS = {
    "b-b": lambda: assembly.signed(pdf()),
    "pkcs1": lambda: assembly.signed(pdf(), mechanism="rsassa_pkcs1v15"),
    "ecdsa": lambda: assembly.signed(pdf(), holder("p-384"), digest_algorithm="sha384"),
    "stamped": lambda: assembly.signed(
        pdf(),
        stamp=Stamp(("Ký bởi: Nguyễn Văn Ký", "Lý do: Phê duyệt"), page=0, box=(9, 9, 209, 69)),
    ),
    "b-t": lambda: assembly.timestamped(assembly.signed(pdf())),
    "b-lta": lambda: assembly.archived(
        assembly.long_term(assembly.timestamped(assembly.signed(pdf())))
    ),
}


def tampered(signed: bytes) -> bytes:
    """With a letter of the page changed; offsets stay."""
    at = signed.index(b"%PDF") + 9
    return signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]


@pytest.mark.parametrize("kind", PDFS)
def test_pdfsig_accepts_a_signed_pdf_and_refuses_a_tampered_one(kind: str, tmp_path: Path) -> None:
    pdfsig = tool("pdfsig")
    signed = PDFS[kind]()
    told = _run(pdfsig, tmp_path, signed, "-nocert")
    assert "Signature Validation: Signature is Valid." in told
    assert "Signature Type: ETSI.CAdES.detached" in told
    other = tampered(signed)
    assert "Signature is Valid" not in _run(pdfsig, tmp_path, other, "-nocert")
    assert not accepted(other)


MUTOOL_PDFS = {
    **{kind: PDFS[kind] for kind in ("pkcs1", "ecdsa")},
    "b-t": lambda: assembly.timestamped(assembly.signed(pdf(), colleague())),
    "stamped": lambda: assembly.signed(
        pdf(), colleague(), stamp=Stamp(("Ký bởi: Trần Thị Khác",), page=0, box=(9, 9, 209, 69))
    ),
}


@pytest.mark.parametrize("kind", MUTOOL_PDFS)
def test_mutool_accepts_a_signed_pdf_and_refuses_a_tampered_one(kind: str, tmp_path: Path) -> None:
    """It verifies by OpenSSL's PKCS #7, which knows nothing of RSA-PSS."""
    mutool = tool("mutool")
    signed = MUTOOL_PDFS[kind]()
    assert UNCHANGED in _run(mutool, tmp_path, signed, "sign", "-v")
    assert UNCHANGED not in _run(mutool, tmp_path, tampered(signed), "sign", "-v")


def test_pdfsig_accepts_every_signature_of_several_signers(tmp_path: Path) -> None:
    pdfsig = tool("pdfsig")
    document = assembly.signed(assembly.signed(pdf()), colleague())
    document = assembly.signed(document, holder("p-384"), final=True)
    told = _run(pdfsig, tmp_path, document, "-nocert")
    assert told.count("Signature is Valid") == 3
    assert told.count("Total document signed") == 1, "the seal covers the whole"


def test_a_page_drawn_over_after_signing_is_refused(tmp_path: Path) -> None:
    mutool = tool("mutool")
    signed = assembly.signed(pdf(), colleague())
    changed = updated(signed, draw)
    assert not accepted(changed)
    assert UNCHANGED in _run(mutool, tmp_path, signed, "sign", "-v")
    assert UNCHANGED not in _run(mutool, tmp_path, changed, "sign", "-v")


def _run(program, folder: Path, content: bytes, *options: str) -> str:
    paper = folder / "document.pdf"
    paper.write_bytes(content)
    told: str = program.run(*options, paper)[1]
    return told


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("person", [signer, colleague])
@pytest.mark.parametrize("stamped", [False, True])
def test_openssl_accepts_a_cades_signature_and_refuses_a_tampered_one(
    detached: bool, person, stamped: bool, tmp_path: Path
) -> None:
    openssl = tool("openssl")
    document = "Văn bản".encode() * 50
    made = message(document, person(), format="cades", detached=detached)
    if stamped:
        made = applied(made, cades.timestamped(made, tsa().token(cades.imprint(made))))
    (tmp_path / "root.pem").write_bytes(root().certificate.public_bytes(Encoding.PEM))

    def verdict(signature: bytes, content: bytes) -> int:
        (tmp_path / "signature").write_bytes(signature)
        (tmp_path / "content").write_bytes(content)
        options = ["-content", "content"] if detached else []
        status, _ = openssl.run(
            *("cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", "signature"),
            *("-CAfile", "root.pem", "-purpose", "any", "-out", "out", *options),
            cwd=tmp_path,
        )
        return status

    assert verdict(made, document) == 0
    assert (tmp_path / "out").read_bytes() == document
    if detached:
        assert verdict(made, document[::-1]) != 0
    else:
        assert verdict(made.replace("Văn".encode(), "Vằn".encode(), 1), document) != 0
    signature = cms_value(made)
    broken = signature[:-1] + bytes([signature[-1] ^ 1])
    assert verdict(made.replace(signature, broken), document) != 0


def cms_value(made: bytes) -> bytes:
    """The raw signature in a message."""
    found: bytes = cms.ContentInfo.load(made)["content"]["signer_infos"][0]["signature"].native
    return found


@pytest.mark.parametrize(
    ("kind", "how", "digest"),
    [
        ("rsa-2048", "rsassa_pkcs1v15", "sha256"),
        ("rsa-3072", "rsassa_pkcs1v15", "sha512"),
        ("p-256", "ecdsa", "sha256"),
        ("p-384", "ecdsa", "sha384"),
    ],
)
@pytest.mark.parametrize(
    "document",
    [XML, '<?xml-stylesheet href="a"?><a xmlns:ds="urn:b"><ds:c/><!-- d --></a><!-- e -->'],
)
def test_xmlsec_accepts_a_xades_signature_and_refuses_a_tampered_one(
    kind: str, how: str, digest: str, document: str, tmp_path: Path
) -> None:
    xmlsec = tool("xmlsec1")
    made = message(
        document.encode(), holder(kind), format="xades", mechanism=how, digest_algorithm=digest
    )
    (tmp_path / "root.pem").write_bytes(root().certificate.public_bytes(Encoding.PEM))
    issuing = holder(kind).chain[0].public_bytes(Encoding.PEM)
    (tmp_path / "issuing.pem").write_bytes(issuing)

    def verdict(content: bytes) -> int:
        (tmp_path / "signed.xml").write_bytes(content)
        status, _ = xmlsec.run(
            *("--verify", "--trusted-pem", "root.pem", "--untrusted-pem", "issuing.pem"),
            *("--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties"),
            *("--enabled-key-data", "x509", "signed.xml"),
            cwd=tmp_path,
        )
        return status

    assert verdict(made) == 0
    assert verdict(made.replace(b"SigningTime>20", b"SigningTime>19")) != 0
    other = made.replace(b"<ds:c/>", b"<ds:x/>").replace(b'"urn:a"', b'"urn:x"')
    assert other != made
    assert verdict(other) != 0
