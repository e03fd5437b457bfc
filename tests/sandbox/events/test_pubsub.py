from __future__ import annotations

import io
import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import grpc
import pytest
from grpc_tools import protoc

from sandbox.events import pubsub_api_pb2
from tests.sandbox.conftest import Client

pb: Any = pubsub_api_pb2
EVENT = "/event/Order_Event__e"
WRONG_COUNT = "subscription.fetch.requested.events.invalid"
PROTO = Path(pubsub_api_pb2.__file__).with_name("pubsub_api.proto")
CALLS = {
    "GetTopic": ("unary_unary", "TopicRequest", "TopicInfo"),
    "GetSchema": ("unary_unary", "SchemaRequest", "SchemaInfo"),
    "Publish": ("unary_unary", "PublishRequest", "PublishResponse"),
    "PublishStream": ("stream_stream", "PublishRequest", "PublishResponse"),
    "Subscribe": ("stream_stream", "FetchRequest", "FetchResponse"),
    "ManagedSubscribe": ("stream_stream", "ManagedFetchRequest", "ManagedFetchResponse"),
}


class PubSub:
    """A bare client of the Pub/Sub API, over TLS."""

    def __init__(self, client: Client) -> None:
        sandbox = client.sandbox
        assert sandbox.ca_file
        credentials = grpc.ssl_channel_credentials(Path(sandbox.ca_file).read_bytes())
        self._channel = grpc.secure_channel(sandbox.addresses["pubsub_address"], credentials)
        token = str(client.http.headers["Authorization"]).removeprefix("Bearer ")
        self.metadata = [
            ("accesstoken", token),
            ("instanceurl", sandbox.http_url),
            ("tenantid", sandbox.state()["org_id"]),
        ]

    def call(self, name: str, request: Any, **options: Any) -> Any:
        kind, sent, got = CALLS[name]
        method = getattr(self._channel, kind)(
            f"/eventbus.v1.PubSub/{name}",
            request_serializer=getattr(pb, sent).SerializeToString,
            response_deserializer=getattr(pb, got).FromString,
        )
        return method(request, **{"metadata": self.metadata, "timeout": 30, **options})

    def schema(self, topic: str = EVENT) -> tuple[str, Any]:
        found = self.call("GetTopic", pb.TopicRequest(topic_name=topic)).schema_id
        return found, fastavro.parse_schema(
            json.loads(self.call("GetSchema", pb.SchemaRequest(schema_id=found)).schema_json)
        )

    def event(self, number: str | None, **more: Any) -> Any:
        schema_id, schema = self.schema()
        record = {each["name"]: None for each in schema["fields"]} | {"CreatedDate": 0, "CreatedById": "me"}
        packed = io.BytesIO()
        fastavro.schemaless_writer(packed, schema, {**record, "Order_Number__c": number})
        return pb.ProducerEvent(**{"id": number, "schema_id": schema_id, "payload": packed.getvalue(), **more})

    def publish(self, *numbers: str) -> list[Any]:
        events = [self.event(each) for each in numbers]
        return list(self.call("Publish", pb.PublishRequest(topic_name=EVENT, events=events)).results)

    def decoded(self, event: Any) -> dict[str, Any]:
        text = self.call("GetSchema", pb.SchemaRequest(schema_id=event.event.schema_id)).schema_json
        schema = fastavro.parse_schema(json.loads(text))
        record: Any = fastavro.schemaless_reader(io.BytesIO(event.event.payload), schema, None)
        return dict(record)

    def numbers(self, answer: Any) -> list[str]:
        return [self.decoded(each)["Order_Number__c"] for each in answer.events]


class Stream:
    """A subscription: what is asked for goes in as it is put, and answers come out."""

    def __init__(self, pubsub: PubSub, name: str, first: Any) -> None:
        self._requests: queue.Queue[Any] = queue.Queue()
        self.put(first)
        self.answers: Iterator[Any] = pubsub.call(name, iter(self._requests.get, None))

    def put(self, request: Any) -> None:
        self._requests.put(request)

    def next_with_events(self) -> Any:
        return next(each for each in self.answers if each.events)


@pytest.fixture
def pubsub(client: Client) -> PubSub:
    return PubSub(client)


def subscribe(pubsub: PubSub, count: int, topic: str = EVENT, **replay: Any) -> Stream:
    return Stream(pubsub, "Subscribe", pb.FetchRequest(topic_name=topic, num_requested=count, **replay))


def test_the_messages_are_those_of_the_definition_file(tmp_path: Path) -> None:
    assert protoc.main(["protoc", f"-I{PROTO.parent}", f"--python_out={tmp_path}", PROTO.name]) == 0
    made = [Path(pubsub_api_pb2.__file__), tmp_path / "pubsub_api_pb2.py"]
    kept, anew = ([line for line in each.read_text().splitlines() if "AddSerializedFile" in line] for each in made)
    assert kept == anew, "run `make protos`"


def test_events_are_published_and_come_as_many_as_were_asked_for(pubsub: PubSub, client: Client) -> None:
    info = pubsub.call("GetTopic", pb.TopicRequest(topic_name=EVENT))
    assert (info.can_publish, info.can_subscribe, info.topic_name) == (True, True, EVENT)
    results = pubsub.publish("O1", "O2", "O3")
    assert [each.correlation_key for each in results] == ["O1", "O2", "O3"]
    client.call("POST", "/sobjects/Order_Event__e", json={"Order_Number__c": "O4", "Amount__c": 2.5})
    stream = subscribe(pubsub, 2, replay_preset=pb.EARLIEST)
    first = stream.next_with_events()
    assert (pubsub.numbers(first), first.pending_num_requested) == (["O1", "O2"], 0)
    assert [each.replay_id for each in first.events] == [each.replay_id for each in results[:2]]
    quiet = next(stream.answers)
    assert (list(quiet.events), quiet.latest_replay_id) == ([], first.events[1].replay_id)
    stream.put(pb.FetchRequest(topic_name=EVENT, num_requested=5))
    rest = stream.next_with_events()
    assert (pubsub.numbers(rest), rest.pending_num_requested) == (["O3", "O4"], 3)
    assert pubsub.decoded(rest.events[1])["Amount__c"] == 2.5
    pubsub.publish("O5")
    assert pubsub.numbers(stream.next_with_events()) == ["O5"]
    later = subscribe(pubsub, 9, replay_preset=pb.CUSTOM, replay_id=results[2].replay_id)
    assert pubsub.numbers(later.next_with_events()) == ["O4", "O5"]


def test_a_stream_publishes_request_after_request(pubsub: PubSub) -> None:
    requests = [pb.PublishRequest(topic_name=EVENT, events=[pubsub.event(each)]) for each in ("S1", "S2")]
    answers = list(pubsub.call("PublishStream", iter(requests)))
    assert [each.results[0].correlation_key for each in answers] == ["S1", "S2"]


def test_an_event_that_cannot_be_is_refused_by_itself(pubsub: PubSub) -> None:
    events = [
        pubsub.event("good"),
        pubsub.event("bad", payload=b"\x00"),
        pubsub.event("old", schema_id="x"),
        pubsub.event(None, id="none"),
    ]
    results = pubsub.call("Publish", pb.PublishRequest(topic_name=EVENT, events=events)).results
    assert [each.HasField("error") for each in results] == [False, True, True, True]
    assert "REQUIRED_FIELD_MISSING" in results[3].error.msg and results[3].error.code == pb.PUBLISH


def test_change_events_tell_changed_fields_as_a_bitmap(pubsub: PubSub, client: Client) -> None:
    contact = client.create("Contact", LastName="Ada", Title="Dr")
    client.call("PATCH", f"/sobjects/Contact/{contact}", json={"Title": None})
    stream = subscribe(pubsub, 5, "/data/ContactChangeEvent", replay_preset=pb.EARLIEST)
    made, changed = (pubsub.decoded(each) for each in stream.next_with_events().events)
    assert (made["ChangeEventHeader"]["changeType"], made["LastName"], made["AccountId"]) == ("CREATE", "Ada", None)
    header = changed["ChangeEventHeader"]
    names = list(changed)
    bits = int(header["changedFields"][0], 16)
    assert [each for place, each in enumerate(names) if bits >> place & 1] == sorted(
        ["Title", "LastModifiedDate"], key=names.index
    )
    assert int(header["nulledFields"][0], 16) == 1 << names.index("Title")


def test_a_managed_subscription_goes_on_where_it_was_committed(pubsub: PubSub, client: Client) -> None:
    given = {"developerName": "Mine", "topicName": EVENT, "defaultReplay": "EARLIEST"}
    client.http.post(f"{client.sandbox.http_url}/_sandbox/managed-subscriptions", json=given, timeout=10)
    pubsub.publish("M1", "M2")
    stream = Stream(pubsub, "ManagedSubscribe", pb.ManagedFetchRequest(developer_name="Mine", num_requested=10))
    got = stream.next_with_events()
    commit = pb.CommitReplayRequest(commit_request_id="c1", replay_id=got.events[0].replay_id)
    stream.put(pb.ManagedFetchRequest(commit_replay_id_request=commit))
    answer = next(each for each in stream.answers if each.HasField("commit_response"))
    assert answer.commit_response.commit_request_id == "c1" and not answer.commit_response.HasField("error")
    again = Stream(pubsub, "ManagedSubscribe", pb.ManagedFetchRequest(developer_name="Mine", num_requested=10))
    assert pubsub.numbers(again.next_with_events()) == ["M2"]


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        ({"topic_name": "/event/Nope__e", "num_requested": 1}, "NOT_FOUND", "topic.not.found"),
        (
            {"topic_name": EVENT, "num_requested": 101},
            "INVALID_ARGUMENT",
            WRONG_COUNT,
        ),
        ({"topic_name": EVENT, "num_requested": 0}, "INVALID_ARGUMENT", WRONG_COUNT),
        (
            {"topic_name": EVENT, "num_requested": 1, "replay_preset": 2, "replay_id": b"x"},
            "INVALID_ARGUMENT",
            "subscription.fetch.replayid.corrupted",
        ),
        (
            {"topic_name": EVENT, "num_requested": 1, "replay_preset": 2, "replay_id": b"\x00" * 9 + b"\x01"},
            "INVALID_ARGUMENT",
            "subscription.fetch.replayid.validation.failed",
        ),
    ],
)
def test_a_subscription_that_cannot_be_ends_with_its_error_code(
    pubsub: PubSub, request_of: dict[str, Any], status: str, code: str
) -> None:
    stream = Stream(pubsub, "Subscribe", pb.FetchRequest(**request_of))
    with pytest.raises(grpc.RpcError) as caught:
        next(iter(stream.answers))
    error: Any = caught.value
    assert error.code().name == status and "rpcId: " in error.details()
    assert dict(error.trailing_metadata())["error-code"] == f"sfdc.platform.eventbus.grpc.{code}"


def test_a_caller_without_a_session_is_unauthenticated(pubsub: PubSub) -> None:
    for place in range(3):
        metadata = [(key, "wrong" if place == n else value) for n, (key, value) in enumerate(pubsub.metadata)]
        if place == 1:
            metadata.pop(1)
        with pytest.raises(grpc.RpcError) as caught:
            pubsub.call("GetTopic", pb.TopicRequest(topic_name=EVENT), metadata=metadata)
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
