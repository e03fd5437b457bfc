"""Prints fresh keys: `python -m sfsync.keys` one encryption key, `--env` the lines of a new `.env` file."""

from __future__ import annotations

import secrets
import sys

from cryptography.fernet import Fernet


def env_lines() -> str:
    """The settings that sfsync cannot start without, each with a fresh value."""
    return f"SFSYNC_SECRET_KEY={secrets.token_urlsafe(50)}\nSFSYNC_ENCRYPTION_KEYS={Fernet.generate_key().decode()}\n"


if __name__ == "__main__":
    sys.stdout.write(env_lines() if "--env" in sys.argv[1:] else Fernet.generate_key().decode() + "\n")
