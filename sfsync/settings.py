"""Every setting of sfsync. The environment is read here, once; a missing or wrong value stops the start.

Variables may also stand in a file of `NAME=value` lines, named by `SFSYNC_ENV_FILE` (default: `.env` beside
`manage.py`). `make setup` writes one with fresh keys. docs/reference/settings.md describes each.
"""

from __future__ import annotations

import os
import re
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


def _rate(name: str, default: str) -> str:
    text: str = env.str(name, default=default)
    if text and not re.fullmatch(r"[1-9][0-9]{0,8}/(second|minute|hour|day)", text):
        raise ImproperlyConfigured(f"{name} must be like '{default}' (per second, minute, hour or day), not '{text}'.")
    return text


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
    "orgs.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.humanize",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "rest_framework",
    "sfsync",
    "orgs",
    "connections",
    "syncs",
    "jobs",
]

MIDDLEWARE = [
    "sfsync.middleware.RequestNumber",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "sfsync.middleware.WholePages",
]

# Behind HTTPS: cookies go by HTTPS only, plain requests are sent there, browsers remember it for a year.
SFSYNC_HTTPS = env.bool("SFSYNC_HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = SFSYNC_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if SFSYNC_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SFSYNC_HTTPS
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]
# The proxy in front must set this header itself, and drop one that comes from outside.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SFSYNC_HTTPS else None
CSRF_TRUSTED_ORIGINS = env.list("SFSYNC_TRUSTED_ORIGINS", default=[])
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"

# Static files are served from the packages themselves: nothing has to be collected after an upgrade.
WHITENOISE_USE_FINDERS = True

# Everything comes from our own origin, and no page has script or style in its text.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}

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
# Largest file that may be uploaded in the admin or the API.
SFSYNC_UPLOAD_MB = _number("SFSYNC_UPLOAD_MB", 1000, 0.001, 1_000_000)

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
# How much of a Salesforce org's API calls, bulk batches and event publishes is ours; the rest stays for others.
SFSYNC_ORG_SHARE_PERCENT = _number("SFSYNC_ORG_SHARE_PERCENT", 80, 1, 100)
# What is known of a Salesforce org's limits is asked for anew after so long; while jobs wait, ever less often.
SFSYNC_LIMITS_SECONDS = _number("SFSYNC_LIMITS_SECONDS", 300, 0.1, 3600)
# How long Salesforce may be at work on a call whose answer was lost (its own limit for a request is ten minutes).
SFSYNC_LONGEST_CALL_SECONDS = _number("SFSYNC_LONGEST_CALL_SECONDS", 600, 0, 3600)
# A Salesforce job that does nothing for so long is aborted, and its rest goes into a new one.
SFSYNC_STUCK_HOURS = _number("SFSYNC_STUCK_HOURS", 1, 0.0001, 168)
# A failed call is tried again after 1, 2, 4, ... times this many seconds.
SFSYNC_RETRY_SECONDS = _number("SFSYNC_RETRY_SECONDS", 1, 0.01, 60)
# An approval that comes later than this is refused: the source has moved on.
SFSYNC_APPROVAL_HOURS = _number("SFSYNC_APPROVAL_HOURS", 72, 0.0001, 8760)

# How long the files of an ended job are kept: its rows, plan and log. 0 keeps them for ever.
SFSYNC_RETENTION_DAYS = _number("SFSYNC_RETENTION_DAYS", 30, 0, 36_500)

# --- Web ------------------------------------------------------------------------------------------------------------

# Where `up` and `demo` listen.
SFSYNC_BIND = env.str("SFSYNC_BIND", default="127.0.0.1:8000")
# Password of the first user, where `up` makes one and cannot ask for it.
SFSYNC_FIRST_PASSWORD = env.str("SFSYNC_FIRST_PASSWORD", default="")
# A file that workers and the beat touch while they live, for health checks from outside.
SFSYNC_ALIVE_FILE = env.str("SFSYNC_ALIVE_FILE", default="")

# --- API ------------------------------------------------------------------------------------------------------------

# How often the API may be called, such as "600/minute"; empty: as often as one likes.
SFSYNC_API_RATE = _rate("SFSYNC_API_RATE", "600/minute")
SFSYNC_API_START_RATE = _rate("SFSYNC_API_START_RATE", "60/minute")
SFSYNC_API_ANONYMOUS_RATE = _rate("SFSYNC_API_ANONYMOUS_RATE", "60/minute")
# How many proxies stand in front: that many entries of X-Forwarded-For are believed.
SFSYNC_PROXIES = int(_number("SFSYNC_PROXIES", 0, 0, 10))
# Where calls are counted. Each process counts for itself unless it is shared.
CACHES = {"default": env.cache_url("SFSYNC_CACHE_URL", default="locmemcache://")}
if CACHES["default"]["BACKEND"].endswith("LocMemCache"):
    # Throttles count here: room enough that nobody pushes a counter out by asking under other names.
    CACHES["default"]["OPTIONS"] = {"MAX_ENTRIES": 100_000}

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["orgs.api.parsers.CleanJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "orgs.api.openapi.Schema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "NUM_PROXIES": SFSYNC_PROXIES,
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
DRF_STANDARDIZED_ERRORS = {"ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True}
SPECTACULAR_SETTINGS = {
    "TITLE": "sfsync",
    "DESCRIPTION": "Keeps Salesforce objects equal to files and databases. Lists come in pages: follow `next`. Errors "
    "all have one shape. What you may not see answers as if it did not exist.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "DEFAULT_QUERY_MANAGER": "_default_manager",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "deepLinking": False, "validatorUrl": None},
    "ENUM_NAME_OVERRIDES": {
        "JobStatusEnum": "jobs.models.Status",
        "RoleEnum": "orgs.models.Role",
        "KindEnum": "connections.kinds.choices",
    },
}

# --- Row engine -----------------------------------------------------------------------------------------------------

SFSYNC_ENGINE_MEMORY_MB = int(_number("SFSYNC_ENGINE_MEMORY_MB", 320, 64, 1_000_000))
SFSYNC_ENGINE_THREADS = int(_number("SFSYNC_ENGINE_THREADS", 2, 1, 256))

# Dotted path of a function (host, port) that raises when a connection may not go to an address.
SFSYNC_ADDRESS_POLICY = env.str("SFSYNC_ADDRESS_POLICY", default="connections.addresses.allow_all")

# --- Logs -----------------------------------------------------------------------------------------------------------

SFSYNC_LOG_FORMAT = env.str("SFSYNC_LOG_FORMAT", default="plain")
if SFSYNC_LOG_FORMAT not in ("plain", "json"):
    raise ImproperlyConfigured(f"SFSYNC_LOG_FORMAT is 'plain' or 'json', not '{SFSYNC_LOG_FORMAT}'.")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "sfsync.logs.formatter", "style": SFSYNC_LOG_FORMAT}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "sfsync": {
            "handlers": ["console"],
            "level": env.str("SFSYNC_LOG_LEVEL", default="INFO"),
            "propagate": False,
        },
        # Django's own handlers mail stack traces; what it has to say goes where everything goes.
        "django": {"handlers": ["console"], "level": "WARNING", "propagate": False},
    },
}
