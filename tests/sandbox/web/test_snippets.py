"""The lines that the first page offers do log in."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import requests

from tests.sandbox_process import SandboxProcess


def _snippets(sandbox: SandboxProcess) -> dict[str, str]:
    page = requests.get(sandbox.http_url, timeout=10).text
    found = re.findall(r"<h3>([^<]+)</h3><div class=\"copyable\"><pre[^>]*>([^<]*)</pre>", page)
    return {name: html.unescape(text) for name, text in found}


def test_the_lines_for_curl_and_python_clients_work(sandbox: SandboxProcess, tmp_path: Path) -> None:
    snippets = _snippets(sandbox)
    assert list(snippets) == ["curl", "simple-salesforce", "jsforce", "sf (Salesforce CLI)", "salesforce-bulk"]
    # The tests' own environment may name another CA bundle, which would win.
    setup = "import os\nfor each in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'): os.environ.pop(each, None)\n"
    trust = f"os.environ['REQUESTS_CA_BUNDLE'] = {sandbox.ca_file!r}\n"
    script = tmp_path / "both.py"
    script.write_text(
        f"{setup}{snippets['simple-salesforce']}\nprint(sf.Contact.create({{'LastName': 'A'}})['success'])\n"
        f"{trust}{snippets['salesforce-bulk']}\nprint(bulk.create_query_job('Contact')[:3])\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert ran.stdout.split() == ["True", "750"], ran.stderr
    command = snippets["curl"].replace("curl ", "curl -s --noproxy '*' ", 1)
    told = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "access_token" in told.stdout, told.stderr
