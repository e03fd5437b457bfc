"""Both listeners, HTTP and HTTPS, in one process on one org; start, ready file, and a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from sandbox.app import make_app
from sandbox.bulk.resume import resume_jobs
from sandbox.connection import TrackedProtocol
from sandbox.org import Org, Settings
from sandbox.proxy import Proxy
from sandbox.tls import ensure_certificates
from sandbox.web.archive import read_archive

PARENT_CHECK = 0.5
GRACE = 3
KEEP_ALIVE = 75
PUBSUB_GRACE = 1


@dataclass(frozen=True)
class Listening:
    """Where to listen, and whom to tell. Port 0 is any free one; -1 is off for HTTPS, the proxy and the
    Pub/Sub API. The proxy needs HTTPS, and brings it along; the Pub/Sub API speaks TLS where HTTPS is on.
    """

    host: str
    port: int
    https_port: int
    ca_file: Path | None = None
    ready_file: Path | None = None
    parent_pid: int | None = None
    proxy_port: int = -1
    pubsub_port: int = -1


class _Server(uvicorn.Server):
    """A server that leaves signals to us, since two of them share one process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, listening: Listening) -> None:
    """Serve until SIGTERM, SIGINT or the end of the parent process.

    Raises SchemaError for a bad schema file, ArchiveError for an export that does not fit, and OSError when a port is
    taken.
    """
    org = Org(settings)
    try:
        resume_jobs(org)
        if settings.import_file:
            read_archive(org, settings.import_file)
        asyncio.run(_serve(org, listening))
    finally:
        for job in list(org.jobs.values()):
            job.stop()
        org.store.close()


async def _serve(org: Org, listening: Listening) -> None:
    app = make_app(org)
    http_socket = bind(listening.host, listening.port)
    servers = [(_server(app), http_socket)]
    urls: dict[str, object] = {
        "http_url": _url("http", listening.host, http_socket),
        "https_url": None,
        "proxy_url": None,
        "ca_file": None,
        "pubsub_address": None,
        "pid": os.getpid(),
    }
    chain = key = None
    proxy: Proxy | None = None
    if listening.https_port >= 0 or listening.proxy_port >= 0:
        ca_file = (listening.ca_file or org.settings.folder / "tls" / "ca.pem").resolve()
        chain, key = ensure_certificates(org.settings.folder / "tls", ca_file)
        https_socket = bind(listening.host, max(listening.https_port, 0))
        servers.append((_server(app, chain, key), https_socket))
        urls["https_url"] = _url("https", listening.host, https_socket)
        urls["ca_file"] = str(ca_file)
        if listening.proxy_port >= 0:
            proxy_socket = bind(listening.host, listening.proxy_port)
            urls["proxy_url"] = _url("http", listening.host, proxy_socket)
            proxy = Proxy(_own_address(listening.host), https_socket.getsockname()[1], lambda: org.pubsub_port)
            await proxy.start(proxy_socket)

    pubsub = None
    if listening.pubsub_port >= 0:
        # gRPC takes long to import, so only who wants it waits for it.
        from sandbox.events.pubsub import start as start_pubsub

        secured = (chain, key) if urls["https_url"] else (None, None)
        pubsub, org.pubsub_port = start_pubsub(org, listening.host, listening.pubsub_port, *secured)
        urls["pubsub_address"] = f"{listening.host}:{org.pubsub_port}"

    def stop() -> None:
        if pubsub:
            pubsub.stop(PUBSUB_GRACE)
        for server, _ in servers:
            server.should_exit = True
        if proxy:
            proxy.stop()
        org.faults.release()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(server.serve(sockets=[each])) for server, each in servers]
    announcing = asyncio.create_task(_announce(org, listening, [server for server, _ in servers], urls))
    watching = asyncio.create_task(_watch_parent(listening.parent_pid, stop)) if listening.parent_pid else None
    try:
        await asyncio.gather(*tasks)
    finally:
        announcing.cancel()
        if watching:
            watching.cancel()


def _server(app: ASGIApp, chain: Path | None = None, key: Path | None = None) -> _Server:
    config = uvicorn.Config(
        app,
        http=TrackedProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=KEEP_ALIVE,
        ssl_certfile=chain,
        ssl_keyfile=key,
    )
    return _Server(config)


def bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio switches off the waiting for more data (Nagle) only on sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(512)
    return listener


def _own_address(host: str) -> str:
    """Where to reach ourselves: an address that means all of them is none to connect to."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _url(scheme: str, host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"


async def _announce(org: Org, listening: Listening, servers: list[_Server], urls: dict[str, object]) -> None:
    while not all(server.started for server in servers):
        await asyncio.sleep(0.01)
    if listening.ready_file:
        temporary = listening.ready_file.with_name(listening.ready_file.name + ".part")
        temporary.write_text(json.dumps(urls), encoding="utf-8")
        temporary.replace(listening.ready_file)
    named = {"HTTP": "http_url", "HTTPS": "https_url", "CA certificate": "ca_file", "HTTPS_PROXY": "proxy_url"}
    named["Pub/Sub API"] = "pubsub_address"
    org.addresses.update({name: str(urls[key]) for name, key in named.items() if urls[key]})
    print(_banner(org, urls), flush=True)


def _banner(org: Org, urls: dict[str, object]) -> str:
    settings = org.settings
    lines = [
        "",
        "  A practice Salesforce org is listening.",
        "",
        f"    HTTP            {urls['http_url']}   (open it in a browser to see what arrives)",
    ]
    if urls["https_url"]:
        lines += [f"    HTTPS           {urls['https_url']}", f"    CA certificate  {urls['ca_file']}"]
    if urls["proxy_url"]:
        lines += [f"    HTTPS_PROXY     {urls['proxy_url']}   (leads Salesforce's hosts here, and no others)"]
    if urls["pubsub_address"]:
        lines.append(f"    Pub/Sub API     {urls['pubsub_address']}   ({'TLS' if urls['https_url'] else 'no TLS'})")
    lines += [
        f"    org id          {org.org_id}",
        f"    username        {settings.username}",
        f"    password        {settings.password}   security token {settings.security_token}",
        f"    client id       {settings.client_id}   client secret {settings.client_secret}",
        f"    data            {settings.folder if settings.durable else 'in memory, gone when this ends'}",
        "",
        "  End it with Ctrl+C.",
        "",
    ]
    return "\n".join(lines)


async def _watch_parent(pid: int, stop: object) -> None:
    """End when the process that started us is gone, so that a killed test leaves no server behind."""
    assert callable(stop)
    while True:
        await asyncio.sleep(PARENT_CHECK)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            stop()
            return
        except PermissionError:
            continue
        if _is_zombie(pid):
            stop()
            return


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
