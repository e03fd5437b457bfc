"""Every setting of sfsync. The environment is read here, once; a missing or wrong value stops the start.

Variables may also stand in a file of `NAME=value` lines, named by `SFSYNC_ENV_FILE` (default: `.env` beside
`manage.py`). `make setup` writes one with fresh keys. docs/reference/settings.md describes each.
"""

from __future__ import annotations

import os
from pathlib import Path

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from sfsync import broker

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
_env_file = Path(os.environ.get("SFSYNC_ENV_FILE", BASE_DIR / ".env"))
if _env_file.is_file():
    env.read_env(str(_env_file))


def _required(name: str, what: str) -> str:
    value = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set ({what}). Run `make setup`, or set it in the environment.")
    return value


def _number(name: str, default: float, low: float, high: float) -> float:
    text = env.str(name, default=str(default))
    try:
        value = float(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not '{text}'.") from None
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name} must lie between {low:g} and {high:g}, not {value:g}.")
    return value


def _encryption_keys() -> list[str]:
    keys = [key.strip() for key in _required("SFSYNC_ENCRYPTION_KEYS", "keys that encrypt secrets").split(",")]
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ImproperlyConfigured(
                f"Key {position} of SFSYNC_ENCRYPTION_KEYS is not a Fernet key (32 bytes, URL-safe base64). "
                "`python -m sfsync.keys` prints a new one."
            ) from None
    return keys


# --- Django ---------------------------------------------------------------------------------------------------------

SECRET_KEY = _required("SFSYNC_SECRET_KEY", "signs sessions")
DEBUG = env.bool("SFSYNC_DEBUG", default=False)
ALLOWED_HOSTS = env.list("SFSYNC_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
ROOT_URLCONF = "sfsync.urls"
WSGI_APPLICATION = "sfsync.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "sfsync",
    "orgs",
    "connections",
    "syncs",
    "jobs",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- Where things lie -----------------------------------------------------------------------------------------------

# What sfsync itself writes: database, job files, snapshots, the embedded broker's socket.
SFSYNC_DATA = Path(env.str("SFSYNC_DATA", default=str(BASE_DIR / ".sfsync"))).resolve()
# Source files: an organization reads below <root>/<its slug>/ and nowhere else.
SFSYNC_FILES = Path(env.str("SFSYNC_FILES", default=str(SFSYNC_DATA / "files"))).resolve()
SFSYNC_STORAGE = Path(env.str("SFSYNC_STORAGE", default=str(SFSYNC_DATA / "storage"))).resolve()
SFSYNC_SCRATCH = Path(env.str("SFSYNC_SCRATCH", default=str(SFSYNC_DATA / "scratch"))).resolve()

for _folder in (SFSYNC_DATA, SFSYNC_FILES, SFSYNC_STORAGE, SFSYNC_SCRATCH):
    _folder.mkdir(parents=True, exist_ok=True)

DATABASES = {"default": env.db("SFSYNC_DATABASE_URL", default=f"sqlite:///{SFSYNC_DATA / 'sfsync.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets readers go on while one writes; IMMEDIATE takes the write lock at BEGIN, where the time-out applies,
    # instead of failing at the first write.
    # Tests use a file too, so that worker processes can share it.
    DATABASES["default"]["TEST"] = {"NAME": str(SFSYNC_DATA / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=30000;",
    }

# --- Secrets --------------------------------------------------------------------------------------------------------

# The first key encrypts, all of them decrypt: that is how a key is rotated (docs/howto/rotate-keys.md).
SFSYNC_ENCRYPTION_KEYS = _encryption_keys()

# --- Workers --------------------------------------------------------------------------------------------------------

SFSYNC_BROKER_URL = env.str("SFSYNC_BROKER_URL", default="") or broker.embedded_url(SFSYNC_DATA)
# How long a worker may be silent before another one takes over its work.
SFSYNC_LEASE_SECONDS = _number("SFSYNC_LEASE_SECONDS", 60, 1, 3600)
# How often a worker looks in the database for what is due.
SFSYNC_TICK_SECONDS = _number("SFSYNC_TICK_SECONDS", 0.5, 0.05, 60)
# Largest number of Salesforce jobs that are open at once in one Salesforce org.
SFSYNC_BATCHES_AT_ONCE = int(_number("SFSYNC_BATCHES_AT_ONCE", 4, 1, 100))
# A failed call is tried again after 1, 2, 4, ... times this many seconds.
SFSYNC_RETRY_SECONDS = _number("SFSYNC_RETRY_SECONDS", 1, 0.01, 60)
# An approval that comes later than this is refused: the source has moved on.
SFSYNC_APPROVAL_HOURS = _number("SFSYNC_APPROVAL_HOURS", 72, 0.0001, 8760)

# --- Row engine -----------------------------------------------------------------------------------------------------

SFSYNC_ENGINE_MEMORY_MB = int(_number("SFSYNC_ENGINE_MEMORY_MB", 320, 64, 1_000_000))
SFSYNC_ENGINE_THREADS = int(_number("SFSYNC_ENGINE_THREADS", 2, 1, 256))

# Dotted path of a function (host, port) that raises when a connection may not go to an address.
SFSYNC_ADDRESS_POLICY = env.str("SFSYNC_ADDRESS_POLICY", default="connections.addresses.allow_all")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "sfsync": {
            "handlers": ["console"],
            "level": env.str("SFSYNC_LOG_LEVEL", default="INFO"),
            "propagate": False,
        }
    },
}
