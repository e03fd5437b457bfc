"""The page at /: what has arrived in the org, for people."""

from __future__ import annotations

from sandbox.call import Answer, Call
from sandbox.org import Org


def home(org: Org, call: Call) -> Answer:
    return Answer(200, "<html><body>sandbox</body></html>")
