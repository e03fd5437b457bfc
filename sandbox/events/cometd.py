"""The Streaming API: Bayeux over long polling (Streaming API guide; Bayeux protocol 1.0)."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool

from sandbox.call import Answer, Call
from sandbox.events import avro
from sandbox.events.bus import ALL, NEW, Event, UnknownReplay
from sandbox.events.changes import CHANGE_SUFFIX
from sandbox.events.channels import topics_of
from sandbox.events.push_topics import TOPIC

if TYPE_CHECKING:
    from starlette.requests import Request

    from sandbox.org import Org

MOST_AT_ONCE = 100
# How long a connect waits for events; clients may ask for less (Streaming API guide, "Timeouts").
CONNECT_SECONDS = 110.0
MOST_CLIENTS = 1000
COOKIE = "BAYEUX_BROWSER"
RECONNECT = {"reconnect": "retry", "interval": 0}
HANDSHAKE = {"reconnect": "handshake", "interval": 0}
NONE = {"reconnect": "none", "interval": 0}

Message = dict[str, Any]


@dataclass
class Client:
    """Somebody who shook hands: channel -> the topics it leads to, and after which replay id it goes on."""

    id: str
    token: str
    channels: dict[str, list[str]] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)


class Clients:
    """All clients of the Streaming API; they do not outlive a restart, and shake hands anew."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def add(self, token: str) -> Client:
        """A new client; the oldest goes when there are too many."""
        while len(self._clients) >= MOST_CLIENTS:
            self._clients.pop(next(iter(self._clients)))
        client = Client(secrets.token_hex(16), token)
        self._clients[client.id] = client
        return client

    def find(self, client_id: Any) -> Client | None:
        return self._clients.get(str(client_id))

    def remove(self, client: Client) -> None:
        self._clients.pop(client.id, None)

    def clear(self) -> None:
        self._clients.clear()


async def handle(org: Org, call: Call, request: Request) -> Answer:
    """POST /cometd/XX.0: a list of messages; one answer each, and the events that are due."""
    body = await request.body()
    messages = _messages(request, body)
    if messages is None:
        return Answer(400, [{"successful": False, "error": "400::Bad request, not a list of Bayeux messages"}])
    answers: list[Message] = []
    for message in messages:
        answers += await _answer(org, call, message)
    own_cookie = [] if COOKIE in request.cookies else [f"{COOKIE}={secrets.token_hex(8)}; Path=/; HttpOnly"]
    return Answer(200, answers, {"Set-Cookie": own_cookie[0]} if own_cookie else {})


def _messages(request: Request, body: bytes) -> list[Message] | None:
    """The messages of a request: JSON, or a form with the field `message`."""
    text = body.decode("utf-8", "replace")
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        text = (parse_qs(text).get("message") or [""])[0]
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    given = [given] if isinstance(given, dict) else given
    if not isinstance(given, list) or not given or not all(isinstance(each, dict) for each in given):
        return None
    return given


async def _answer(org: Org, call: Call, message: Message) -> list[Message]:
    channel = message.get("channel")
    answer: Message = {"channel": channel, "successful": True}
    if "id" in message:
        answer["id"] = message["id"]
    if org.sessions.find(call.token) is None:
        failure = {"sfdc": {"failureReason": "401::Authentication invalid"}, "replay": True}
        told = {"error": "401::Authentication invalid", "advice": NONE, "ext": failure}
        return [{**answer, "successful": False, **told}]
    if channel == "/meta/handshake":
        return [_shake_hands(org, call, message, answer)]
    client = org.streaming.find(message.get("clientId"))
    if client is None or client.token != call.token:
        return [{**answer, "successful": False, "error": "403::Unknown client", "advice": HANDSHAKE}]
    answer["clientId"] = client.id
    if channel == "/meta/connect":
        return await _connect(org, client, message, answer)
    if channel == "/meta/subscribe":
        return [await run_in_threadpool(_subscribe, org, client, message, answer)]
    if channel == "/meta/unsubscribe":
        answer["subscription"] = message.get("subscription")
        for each in _names(message.get("subscription")):
            client.channels.pop(each, None)
        return [answer]
    if channel == "/meta/disconnect":
        org.streaming.remove(client)
        return [answer]
    return [{**answer, "successful": False, "error": f"403::Publishing to {channel} is not allowed"}]


def _shake_hands(org: Org, call: Call, message: Message, answer: Message) -> Message:
    wanted = message.get("supportedConnectionTypes")
    if isinstance(wanted, list) and "long-polling" not in wanted:
        told = {"error": "412::only long-polling is supported", "advice": NONE}
        return {**answer, "successful": False, "supportedConnectionTypes": ["long-polling"], **told}
    client = org.streaming.add(str(call.token))
    ext = {"replay": True, "payload.format": True}
    own = {"version": "1.0", "minimumVersion": "1.0", "clientId": client.id, "ext": ext, "advice": RECONNECT}
    return {**answer, "supportedConnectionTypes": ["long-polling"], **own}


def _names(given: Any) -> list[str]:
    return [str(each) for each in given] if isinstance(given, list) else [str(given)]


def _subscribe(org: Org, client: Client, message: Message, answer: Message) -> Message:
    """Subscribe to channels, each from the replay id that `ext.replay` names; -1 is what comes from now on."""
    answer["subscription"] = message.get("subscription")
    ext = message.get("ext")
    replay = ext.get("replay") if isinstance(ext, dict) else None
    for channel in _names(message.get("subscription")):
        topics = _topics(org, channel)
        if topics is None:
            return {**answer, "successful": False, "error": f"404::Unknown channel: {channel}"}
        given = replay.get(channel, NEW) if isinstance(replay, dict) else NEW
        try:
            if not isinstance(given, int) or isinstance(given, bool) or given < ALL:
                raise UnknownReplay
            client.after[channel] = org.bus.start_of(given)
        except UnknownReplay:
            error = (
                f"400::The replayId {{{given}}} you provided was invalid. Please provide a valid ID, -2 to replay all"
                " events, or -1 to replay only new events."
            )
            return {**answer, "successful": False, "error": error}
        client.channels[channel] = topics
    return answer


def _topics(org: Org, channel: str) -> list[str] | None:
    if channel.startswith("/topic/"):
        return [TOPIC + channel.removeprefix("/topic/")] if org.push_topics.has(channel[len("/topic/") :]) else None
    return topics_of(org, channel)


async def _connect(org: Org, client: Client, message: Message, answer: Message) -> list[Message]:
    """Answer with the events that are due; wait for some when there are none, as long as the client and we may."""
    answer["advice"] = RECONNECT
    advice = message.get("advice")
    given = advice.get("timeout") if isinstance(advice, dict) else None
    patience = CONNECT_SECONDS
    if isinstance(given, int | float) and not isinstance(given, bool) and given >= 0:
        patience = min(patience, given / 1000)
    news = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(news.set)

    org.bus.listen(tell)
    try:
        deadline = loop.time() + patience
        while True:
            news.clear()
            events = await run_in_threadpool(_due, org, client)
            left = deadline - loop.time()
            if events or left <= 0:
                return [*events, answer]
            try:
                await asyncio.wait_for(news.wait(), left)
            except TimeoutError:
                return [answer]
    finally:
        org.bus.leave(tell)


def _due(org: Org, client: Client) -> list[Message]:
    """The next events of each channel of a client."""
    found = []
    for channel, topics in list(client.channels.items()):
        for event in org.bus.read(topics, client.after[channel], MOST_AT_ONCE):
            client.after[channel] = event.replay_id
            found.append({"channel": channel, "data": _data(org, event)})
    return found


def _data(org: Org, event: Event) -> Message:
    """An event as the Streaming API shows it."""
    if event.topic.startswith(TOPIC):
        return {"event": {**event.body["event"], "replayId": event.replay_id}, "sobject": event.body["sobject"]}
    about = {"replayId": event.replay_id, "EventUuid": event.uuid}
    schema = avro.schema_id(avro.topic_schema(org, event.topic))
    if event.topic.endswith(CHANGE_SUFFIX):
        # The lists of fields as names, and diffs not at all (CDC guide, "Subscribe with CometD").
        header = {key: value for key, value in event.body["ChangeEventHeader"].items() if key != "diffFields"}
        return {"schema": schema, "payload": {**event.body, "ChangeEventHeader": header}, "event": about}
    made = {"CreatedDate": event.created_date, "CreatedById": event.user_id}
    return {"schema": schema, "payload": {**event.body, **made}, "event": about}
