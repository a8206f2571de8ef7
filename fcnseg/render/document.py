"""The frame of a page that stands alone: nothing on it is loaded from elsewhere."""

import base64
import hashlib
from collections.abc import Sequence

from fcnseg.render.markup import verbatim


def document(title: str, body: str, styles: Sequence[str], script: str = "") -> str:
    """A whole HTML page under a content security policy that lets nothing be fetched.

    Args:
        title: plain text.
        body: HTML, already escaped.
        styles: style sheets, in their order.
        script: the one script that may run; "" for none.
    """
    ran = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(script)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{verbatim(title)}</title><style>{''.join(styles)}</style></head>"
        f"<body><main>{body}</main>{ran}</body></html>\n"
    )


def policy(script: str = "") -> str:
    """The content security policy: nothing is fetched, and no script runs but ``script``."""
    allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if not script:
        return allowed
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"{allowed}; script-src 'sha256-{digest}'"


def command_box(command: str) -> str:
    """A command to be copied; a word breaks across lines only where it is wider than the page."""
    words = " ".join(f"<span>{verbatim(word)}</span>" for word in command.split(" "))
    return f'<code class="command">{words}</code>'
