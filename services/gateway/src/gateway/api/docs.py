"""``/docs``: the OpenAPI document to read and try, without the internet.

The assets are Swagger UI's own, from an installed package. The page may load and ask nothing but
this gateway: its policy (CSP) names no other place, and no script stands in the page itself.
"""

from functools import cache
from importlib import resources

from fastapi import APIRouter, Response

from common.errors import NotFound

router = APIRouter(include_in_schema=False)

_ASSETS = "fastapi_swagger.resources"
_TYPES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="vi">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Liên thông · API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="document">Trang này cần JavaScript · This page needs JavaScript</div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Relative to the page, as a gateway may stand below a path of its own. Swagger UI would show the
# document to a validator on the internet unless told not to.
_START = """"use strict";
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#document",
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
  filter: true,
  displayRequestDuration: true,
});
"""


@router.get("/docs")
async def docs() -> Response:
    """The page."""
    return _answer(_PAGE.encode(), "text/html; charset=utf-8", seconds=0)


@router.get("/docs/start.js")
async def docs_start() -> Response:
    """What starts Swagger UI."""
    return _answer(_START.encode(), "text/javascript; charset=utf-8")


@router.get("/docs/{name}")
async def docs_asset(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in _TYPES:
        raise NotFound("Không có tệp này", "There is no such file")
    return _answer(_asset(name), _TYPES[name])


@cache
def _asset(name: str) -> bytes:
    return (resources.files(_ASSETS) / name).read_bytes()


def _answer(content: bytes, kind: str, seconds: int = 3600) -> Response:
    headers = {
        "content-type": kind,
        "content-security-policy": _POLICY,
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "x-frame-options": "DENY",
        "cache-control": f"public, max-age={seconds}" if seconds else "no-cache",
    }
    return Response(content, headers=headers)
