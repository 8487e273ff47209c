"""The status page: one file of HTML, style and script, and the policy that lets nothing else in (CSP level 3)."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files


def _hashes(tag: str, html: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


HTML = files("gtm.web").joinpath("page.html").read_text(encoding="utf-8")
CSP = (
    f"default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    f"frame-ancestors 'none'; style-src {_hashes('style', HTML)}; script-src {_hashes('script', HTML)}"
)
