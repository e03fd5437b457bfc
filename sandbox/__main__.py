"""`python -m sandbox`: start a practice Salesforce org."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from sandbox.org import Settings
from sandbox.schema import SchemaError


def _port(text: str) -> int:
    """A port number; 0 is any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port between 0 and 65535")
    return int(text)


def _port_or_off(text: str) -> int:
    """A port number, or -1 for none."""
    return -1 if text == "-1" else _port(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="A practice Salesforce org over HTTP and HTTPS."
    )
    defaults = Settings(Path())
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8080, help="HTTP port; 0 takes any free one (default %(default)s)"
    )
    parser.add_argument(
        "--https-port", type=_port_or_off, default=-1, help="HTTPS port; 0 takes any free one, -1 is off (default)"
    )
    parser.add_argument(
        "--proxy-port",
        type=_port_or_off,
        default=-1,
        help="port of a proxy that leads Salesforce's hosts here; 0 takes any free one, -1 is off (default)",
    )
    parser.add_argument("--data", type=Path, help="folder to keep the org in; without it, it lives in memory")
    parser.add_argument(
        "--schema",
        type=Path,
        action="append",
        default=[],
        help="JSON file with more objects and fields; may be repeated",
    )
    parser.add_argument(
        "--import",
        type=Path,
        dest="import_file",
        metavar="EXPORT",
        help="zip file of /_sandbox/export to begin with: its schema, org id and records",
    )
    parser.add_argument(
        "--org-id", default=defaults.org_id, help="15- or 18-character id of the org (default %(default)s)"
    )
    _add_login(parser, defaults)
    parser.add_argument("--users", type=Path, help="JSON file with more users and what each of them may do")
    parser.add_argument("--apps", type=Path, help="JSON file with more connected apps")
    parser.add_argument(
        "--app-certificate", type=Path, help="PEM file with the certificate that signs the client id's JWT assertions"
    )
    parser.add_argument(
        "--daily-api-requests", type=int, default=defaults.daily_api_requests, help="default %(default)s"
    )
    parser.add_argument(
        "--bulk-delay", type=float, default=0.0, help="seconds each bulk job takes at least (default %(default)s)"
    )
    parser.add_argument(
        "--token-lifetime",
        type=float,
        default=defaults.token_lifetime,
        help="seconds without use (default %(default)s)",
    )
    _add_events(parser, defaults)
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="RULE",
        help="a fault rule to begin with, as JSON; may be repeated",
    )
    parser.add_argument("--ca-file", type=Path, help="where to write the certificate of the sandbox's own CA")
    parser.add_argument("--ready-file", type=Path, help="write a JSON file with the addresses here once listening")
    parser.add_argument("--parent-pid", type=int, help="end when this process is gone")
    return parser


def _add_login(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    """The flags of the first user and the first app."""
    parser.add_argument("--username", default=defaults.username, help="default %(default)s")
    parser.add_argument("--password", default=defaults.password, help="default %(default)s")
    parser.add_argument("--security-token", default=defaults.security_token, help="default %(default)s")
    parser.add_argument("--client-id", default=defaults.client_id, help="default %(default)s")
    parser.add_argument("--client-secret", default=defaults.client_secret, help="default %(default)s")


def _add_events(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    """The flags of events."""
    parser.add_argument(
        "--pubsub-port",
        type=_port_or_off,
        default=-1,
        help="port of the Pub/Sub API (gRPC); 0 takes any free one, -1 is off (default)",
    )
    parser.add_argument(
        "--pubsub-keep-alive",
        type=float,
        default=defaults.pubsub_keep_alive,
        help="seconds after which a subscriber hears of nothing new (default %(default)s)",
    )
    parser.add_argument(
        "--change-data",
        default="",
        help="objects, with commas between, whose changes become change events; `all` for every object (default: none)",
    )


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The settings that flags of the command line give."""
    return _parser().parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end, 2 for settings that cannot be used."""
    options = _parser().parse_args(arguments)
    if not (len(options.org_id) in (15, 18) and options.org_id.startswith("00D") and options.org_id.isalnum()):
        print(
            f"--org-id {options.org_id}: an org id starts with 00D and has 15 or 18 letters and digits", file=sys.stderr
        )
        return 2
    folder = options.data or Path(tempfile.mkdtemp(prefix="sandbox-"))
    try:
        _serve(options, _settings(options, folder))
    except OSError as error:
        print(f"cannot listen on {options.host}: {error}", file=sys.stderr)
        return 2
    except Unusable as unusable:
        print(unusable, file=sys.stderr)
        return 2
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


class Unusable(Exception):
    """Settings that cannot be used; the text names the flag and the reason."""


def _settings(options: argparse.Namespace, folder: Path) -> Settings:
    return Settings(
        folder=folder.resolve(),
        durable=options.data is not None,
        schema_files=tuple(options.schema),
        org_id=options.org_id,
        username=options.username,
        password=options.password,
        security_token=options.security_token,
        client_id=options.client_id,
        client_secret=options.client_secret,
        daily_api_requests=options.daily_api_requests,
        bulk_delay=options.bulk_delay,
        token_lifetime=options.token_lifetime,
        users_file=options.users,
        apps_file=options.apps,
        app_certificate=options.app_certificate,
        change_data=tuple(each.strip() for each in options.change_data.split(",") if each.strip()),
        pubsub_keep_alive=options.pubsub_keep_alive,
        faults=tuple(options.fault),
    )


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    """Serve until told to end. Raises Unusable, and OSError when a port is taken."""
    from sandbox.events.changes import UnknownObject
    from sandbox.faults import FaultError
    from sandbox.login.apps import AppError
    from sandbox.login.users import UserError
    from sandbox.server import Listening, serve
    from sandbox.web.archive import ArchiveError, from_export

    flags: dict[type[Exception], str] = {
        SchemaError: "--schema",
        UserError: "--users",
        AppError: "--apps or --app-certificate",
        FaultError: "--fault",
        UnknownObject: "--change-data",
        ArchiveError: "--import",
    }
    listening = Listening(
        options.host,
        options.port,
        options.https_port,
        options.ca_file,
        options.ready_file,
        options.parent_pid,
        options.proxy_port,
        options.pubsub_port,
    )
    try:
        if options.import_file:
            settings = from_export(settings, options.import_file)
        serve(settings, listening)
    except tuple(flags) as error:
        flag = next(flag for kind, flag in flags.items() if isinstance(error, kind))
        raise Unusable(f"{flag}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
