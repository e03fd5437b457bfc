"""The Pub/Sub API over gRPC (Pub/Sub API guide)."""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import grpc

from sandbox.events import avro, pubsub_api_pb2
from sandbox.events.bus import ALL, NEW, STEP, Event, UnknownReplay
from sandbox.events.calls import MANAGED
from sandbox.events.channels import topics_of
from sandbox.events.publish import publish
from sandbox.org import Org
from sandbox.rows.write import split_error

SERVICE = "eventbus.v1.PubSub"
PREFIX = "sfdc.platform.eventbus.grpc."
MOST_REQUESTED = 100
MOST_PUBLISHED = 200
MOST_BYTES = 4 * 1024 * 1024
REPLAY_BYTES = 10
STREAMS = 64
STREAM_IDLE = 70.0

# Messages are made by protobuf's own machinery, and gRPC has no types: no type checker knows either.
Message = Any
Context = Any
pb: Any = pubsub_api_pb2


class Refused(Exception):
    """An error as the Pub/Sub API tells it: gRPC status, error code (without its common start), message."""

    def __init__(self, status: grpc.StatusCode, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def start(org: Org, host: str, port: int, chain: Path | None, key: Path | None) -> tuple[grpc.Server, int]:
    """Start the server; with a certificate chain and key it speaks TLS. Returns it and the port it listens on."""
    server = grpc.server(
        ThreadPoolExecutor(STREAMS, "pubsub"),
        options=[("grpc.max_receive_message_length", MOST_BYTES), ("grpc.so_reuseport", 0)],
    )
    server.add_generic_rpc_handlers((_handlers(PubSub(org)),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if chain and key:
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
        bound = server.add_secure_port(address, credentials)
    else:
        bound = server.add_insecure_port(address)
    if not bound:
        raise OSError(f"the Pub/Sub API cannot listen on {address}")
    server.start()
    return server, bound


def _handlers(service: PubSub) -> Any:
    """The calls of the service with their messages."""

    def way(kind: str, handler: Any, request: Any, answer: Any) -> Any:
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(handler, request_deserializer=request.FromString, response_serializer=answer.SerializeToString)

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "GetTopic": way("unary_unary", service.get_topic, pb.TopicRequest, pb.TopicInfo),
            "GetSchema": way("unary_unary", service.get_schema, pb.SchemaRequest, pb.SchemaInfo),
            "Publish": way("unary_unary", service.publish, pb.PublishRequest, pb.PublishResponse),
            "PublishStream": way("stream_stream", service.publish_stream, pb.PublishRequest, pb.PublishResponse),
            "Subscribe": way("stream_stream", service.subscribe, pb.FetchRequest, pb.FetchResponse),
            "ManagedSubscribe": way(
                "stream_stream", service.managed_subscribe, pb.ManagedFetchRequest, pb.ManagedFetchResponse
            ),
        },
    )


def replay_bytes(replay_id: int) -> bytes:
    """A replay id as subscribers get it."""
    return replay_id.to_bytes(REPLAY_BYTES, "big")


class PubSub:
    """The calls. Each checks its session first; an error ends the call with a status and its `error-code`."""

    def __init__(self, org: Org) -> None:
        self._org = org

    # Unary calls

    def get_topic(self, request: Message, context: Context) -> Message:
        return self._answer(context, lambda: self._topic_info(request.topic_name))

    def get_schema(self, request: Message, context: Context) -> Message:
        return self._answer(context, lambda: self._schema_info(request.schema_id))

    def publish(self, request: Message, context: Context) -> Message:
        return self._answer(context, lambda: self._publish(request, context))

    def _answer(self, context: Context, act: Any) -> Message:
        try:
            self._log_in(context)
            return act()
        except Refused as refused:
            _abort(context, refused)

    # Streams

    def publish_stream(self, requests: Iterator[Message], context: Context) -> Iterator[Message]:
        """Each request is answered by itself; after 70 seconds without one the stream ends."""
        try:
            self._log_in(context)
            incoming = _Incoming(requests)
            while (request := incoming.next(STREAM_IDLE)) is not None:
                yield self._publish(request, context)
            if not incoming.ended:
                raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "publish.stream.idle", "no request for 70 seconds")
        except Refused as refused:
            _abort(context, refused)

    def subscribe(self, requests: Iterator[Message], context: Context) -> Iterator[Message]:
        """Send events as long as the client asks for more of them."""
        try:
            self._log_in(context)
            incoming = _Incoming(requests)
            first = incoming.next(None)
            if first is None:
                return
            topic = first.topic_name
            topics = self._topics(topic)
            after = self._start(first.replay_preset, first.replay_id)
            stream = _Stream(self._org, context, incoming, topics, after)

            def asked(request: Message) -> None:
                if request.topic_name not in ("", topic):
                    raise _invalid("subscription.fetch.topic.changed", "the topic of a subscription cannot change")
                stream.ask_for(request.num_requested)

            asked(first)
            for events in stream.batches(asked):
                yield pb.FetchResponse(
                    events=[self._consumer_event(each) for each in events],
                    latest_replay_id=replay_bytes(stream.after),
                    rpc_id=_rpc_id(),
                    pending_num_requested=stream.wanted,
                )
        except Refused as refused:
            _abort(context, refused)

    def managed_subscribe(self, requests: Iterator[Message], context: Context) -> Iterator[Message]:
        """A subscription whose place the org remembers: it goes on after the replay id that was committed last."""
        try:
            self._log_in(context)
            incoming = _Incoming(requests)
            first = incoming.next(None)
            if first is None:
                return
            key, kept = self._managed(first)
            topics = self._topics(kept["topicName"])
            committed = kept.get("committed")
            preset = {"LATEST": NEW, "EARLIEST": ALL}[kept["defaultReplay"]]
            after = self._org.bus.start_of(preset) if committed is None else int(committed)
            stream = _Stream(self._org, context, incoming, topics, after)
            commits: list[Message] = []

            def asked(request: Message) -> None:
                if request.HasField("commit_replay_id_request"):
                    commits.append(self._commit(key, kept, request.commit_replay_id_request))
                    stream.wake = True
                if request.num_requested:
                    stream.ask_for(request.num_requested)

            asked(first)
            for events in stream.batches(asked):
                done, commits[:] = list(commits), []
                for commit in done or [None]:
                    answer = pb.ManagedFetchResponse(
                        events=[self._consumer_event(each) for each in events],
                        latest_replay_id=replay_bytes(stream.after),
                        rpc_id=_rpc_id(),
                        pending_num_requested=stream.wanted,
                    )
                    if commit is not None:
                        answer.commit_response.CopyFrom(commit)
                    yield answer
                    events = []
        except Refused as refused:
            _abort(context, refused)

    # What they do

    def _log_in(self, context: Context) -> Any:
        given = {key.lower(): value for key, value in context.invocation_metadata()}
        session = self._org.sessions.find(str(given.get("accesstoken", "")))
        tenant = str(given.get("tenantid", ""))
        if session is None or tenant[:15] != self._org.org_id[:15] or not given.get("instanceurl"):
            message = "Authentication failed: check the metadata accesstoken, instanceurl and tenantid."
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "service.auth.error", message)
        return session.user

    def _topics(self, topic_name: str) -> list[str]:
        topics = topics_of(self._org, topic_name)
        if topics is None:
            message = f"The topic {topic_name!r} does not exist, or you have no access to it."
            raise Refused(grpc.StatusCode.NOT_FOUND, "topic.not.found", message)
        return topics

    def _topic_info(self, topic_name: str) -> Message:
        topics = self._topics(topic_name)
        is_change = topic_name.startswith("/data/")
        schema = avro.schema_id(avro.topic_schema(self._org, topics[0])) if len(topics) == 1 else ""
        return pb.TopicInfo(
            topic_name=topic_name,
            tenant_guid=f"core/sandbox/{self._org.org_id}",
            can_publish=not is_change,
            can_subscribe=True,
            schema_id=schema,
            rpc_id=_rpc_id(),
        )

    def _schema_info(self, schema_id: str) -> Message:
        found = avro.find_schema(self._org, schema_id)
        if found is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, "schema.not.found", f"There is no schema {schema_id!r}.")
        return pb.SchemaInfo(schema_json=json.dumps(found), schema_id=schema_id, rpc_id=_rpc_id())

    def _publish(self, request: Message, context: Context) -> Message:
        user = self._log_in(context)
        topics = self._topics(request.topic_name)
        if request.topic_name.startswith("/data/"):
            message = "Change events are published by Salesforce only."
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "publish.not.allowed", message)
        if not 1 <= len(request.events) <= MOST_PUBLISHED:
            raise _invalid("publish.events.count", f"A request takes 1 to {MOST_PUBLISHED} events.")
        event = self._org.schema.event_named(topics[0])
        assert event is not None
        schema = avro.topic_schema(self._org, event.name)
        own_id = avro.schema_id(schema)
        rows: list[dict[str, str | None]] = []
        results: list[Message] = []
        for each in request.events:
            result = pb.PublishResult(correlation_key=each.id)
            results.append(result)
            try:
                if each.schema_id != own_id:
                    raise ValueError(f"the schema id is {each.schema_id!r}, and that of the topic {own_id!r}")
                rows.append(avro.cells(self._org, event.name, avro.decode(schema, each.payload)))
            except ValueError as error:
                result.error.CopyFrom(pb.Error(code=pb.PUBLISH, msg=str(error)))
        made = iter(publish(self._org, user, event, rows) if rows else [])
        for result in results:
            if result.HasField("error"):
                continue
            outcome = next(made)
            if outcome.error is None and outcome.replay_id is not None:
                result.replay_id = replay_bytes(outcome.replay_id)
            else:
                told = split_error(str(outcome.error))
                result.error.CopyFrom(pb.Error(code=pb.PUBLISH, msg=f"{told['code']}: {told['message']}"))
        return pb.PublishResponse(results=results, schema_id=own_id, rpc_id=_rpc_id())

    def _start(self, preset: int, replay_id: bytes) -> int:
        """The replay id to start after."""
        if preset == pb.LATEST:
            return self._org.bus.start_of(NEW)
        if preset == pb.EARLIEST:
            return self._org.bus.start_of(ALL)
        return self._replay_id(replay_id)

    def _replay_id(self, given: bytes) -> int:
        if len(given) != REPLAY_BYTES:
            raise _invalid("subscription.fetch.replayid.corrupted", "The replay id is not one that was given out.")
        number = int.from_bytes(given, "big")
        try:
            return self._org.bus.start_of(number) if number % STEP == 0 and number < 2**62 else _unknown(number)
        except UnknownReplay:
            message = "The replay id is not known, or its events are no longer kept."
            raise _invalid("subscription.fetch.replayid.validation.failed", message) from None

    def _managed(self, request: Message) -> tuple[str, dict[str, Any]]:
        for kept in self._org.store.documents(MANAGED):
            if kept["developerName"] == request.developer_name or kept["id"] == request.subscription_id:
                return kept["developerName"], kept
        message = f"There is no managed subscription {request.developer_name or request.subscription_id!r}."
        raise Refused(grpc.StatusCode.NOT_FOUND, "managed.subscription.not.found", message)

    def _commit(self, key: str, kept: dict[str, Any], request: Message) -> Message:
        """Remember how far the subscriber has come."""
        answer = pb.CommitReplayResponse(
            commit_request_id=request.commit_request_id,
            replay_id=request.replay_id,
            process_time=round(self._org.clock.time() * 1000),
        )
        try:
            kept["committed"] = self._replay_id(request.replay_id)
        except Refused as refused:
            answer.error.CopyFrom(pb.Error(code=pb.COMMIT, msg=str(refused)))
            return answer
        with self._org.store.writing() as cursor:
            self._org.store.put_document(cursor, MANAGED, key, kept)
        return answer

    def _consumer_event(self, event: Event) -> Message:
        schema = avro.topic_schema(self._org, event.topic)
        payload = avro.encode(self._org, event, schema)
        made = pb.ProducerEvent(id=event.uuid, schema_id=avro.schema_id(schema), payload=payload)
        return pb.ConsumerEvent(event=made, replay_id=replay_bytes(event.replay_id))


class _Incoming:
    """The requests of a stream, read by a thread of their own so that waiting for them holds up nothing."""

    def __init__(self, requests: Iterator[Message]) -> None:
        self._queue: queue.Queue[Message | None] = queue.Queue()
        self.arrived = threading.Event()
        self.ended = False
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()

    def _read(self, requests: Iterator[Message]) -> None:
        try:
            for request in requests:
                self._queue.put(request)
                self.arrived.set()
        except Exception:
            # The client is gone; gRPC has no class of its own for that.
            pass
        self.ended = True
        self._queue.put(None)
        self.arrived.set()

    def next(self, seconds: float | None) -> Message | None:
        """The next request; None when the client is done, or nothing came for so long."""
        try:
            return self._queue.get(timeout=seconds)
        except queue.Empty:
            return None

    def waiting(self) -> list[Message]:
        """The requests that have come meanwhile."""
        self.arrived.clear()
        found: list[Message] = []
        while True:
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                return found
            if request is not None:
                found.append(request)


class _Stream:
    """What a subscriber has asked for and got so far."""

    def __init__(self, org: Org, context: Context, incoming: _Incoming, topics: list[str], after: int) -> None:
        self._org = org
        self._context = context
        self._incoming = incoming
        self._topics = topics
        self.after = after
        self.wanted = 0
        # Set when there is something to answer beside events.
        self.wake = False

    def ask_for(self, count: int) -> None:
        """Raise how many events the subscriber still wants."""
        if not 1 <= count <= MOST_REQUESTED:
            message = f"num_requested must be from 1 to {MOST_REQUESTED}, not {count}."
            raise _invalid("subscription.fetch.requested.events.invalid", message)
        self.wanted += count

    def batches(self, asked: Any) -> Iterator[list[Event]]:
        """The events to send, as they come; an empty list now and then, so that the connection stays alive."""
        news = self._incoming.arrived
        self._org.bus.listen(news.set)
        last_sent = time.monotonic()
        keep_alive = self._org.settings.pubsub_keep_alive
        try:
            while self._context.is_active() and not (self._incoming.ended and self.wanted == 0):
                for request in self._incoming.waiting():
                    asked(request)
                limit = min(self.wanted, MOST_REQUESTED)
                events = self._org.bus.read(self._topics, self.after, limit) if limit else []
                if events:
                    self.after = events[-1].replay_id
                    self.wanted -= len(events)
                if events or self.wake or time.monotonic() - last_sent >= keep_alive:
                    self.wake = False
                    last_sent = time.monotonic()
                    yield events
                else:
                    news.wait(min(1.0, keep_alive))
        finally:
            self._org.bus.leave(news.set)


def _rpc_id() -> str:
    return str(uuid.uuid4())


def _invalid(code: str, message: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, code, message)


def _unknown(number: int) -> NoReturn:
    raise UnknownReplay(str(number))


def _abort(context: Context, refused: Refused) -> NoReturn:
    """End the call with an error, as the guide describes it: the code in a trailer, the rpc id in the message."""
    context.set_trailing_metadata((("error-code", PREFIX + refused.code),))
    context.abort(refused.status, f"{refused} rpcId: {_rpc_id()}")
    raise AssertionError("abort raises")
