# SPDX-License-Identifier: Apache-2.0
"""Records a class, and watches it begin and end.

    PYTHONPATH=gen/python python docs/clients/python/main.py localhost:9090 42
"""

import sys
import uuid

import grpc
from classrec.v1 import recording_pb2 as r
from classrec.v1 import recording_service_pb2 as api
from classrec.v1.recording_service_pb2_grpc import RecordingServiceStub
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details
from grpc_status import rpc_status


def events(stream):
    """The class events of a watch, without what else it says."""
    for message in stream:
        if message.HasField("event"):
            yield message.event


def show(event) -> None:
    action = api.ClassBeginAction.Name(event.action).removeprefix("CLASS_BEGIN_ACTION_")
    print(f"event {action} {event.recording.name}")


def refused(what: str, call, request) -> None:
    """Prints what an error says: its code, its reason, what it names, and when to try again."""
    try:
        call(request)
        print(what + ": OK")
    except grpc.RpcError as error:
        words = [what + ":", error.code().name]
        status = rpc_status.from_call(error)  # None when there are no details
        for detail in status.details if status else ():
            info, bad, retry = details.ErrorInfo(), details.BadRequest(), details.RetryInfo()
            if detail.Unpack(info):
                words.append(info.reason)
                words += [f"{k}={v}" for k, v in sorted(info.metadata.items())]
            elif detail.Unpack(bad):
                words += [f"field={v.field}" for v in bad.field_violations]
            elif detail.Unpack(retry):
                words.append(f"retry={retry.retry_delay.ToTimedelta().total_seconds():g}s")
        print(" ".join(words))


def main(server: str, room: str) -> None:
    with grpc.insecure_channel(server) as channel:
        stub = RecordingServiceStub(channel)
        stream = stub.WatchClassBegin(api.WatchClassBeginRequest(room=room))
        next(m for m in stream if m.HasField("synced"))
        print("watching")

        start = api.StartRecordingRequest(
            room=room,
            request_id=str(uuid.uuid4()),  # the same id starts the same recording
            format=r.RECORDING_FORMAT_WEBM,
            max_duration=Duration(seconds=3600),
        )
        recording = stub.StartRecording(start, timeout=30).recording
        print("started", recording.name, r.RecordingState.Name(recording.state))
        show(next(events(stream)))

        refused("start again", stub.StartRecording, api.StartRecordingRequest(room=room))
        refused("start for -1 s", stub.StartRecording,
                api.StartRecordingRequest(room=room, max_duration=Duration(seconds=-1)))
        # Where --max-recordings does not forbid it, it is over by itself.
        refused("start in another room", stub.StartRecording,
                api.StartRecordingRequest(room=room + "-2", max_duration=Duration(seconds=1)))

        stopped = stub.StopRecording(api.StopRecordingRequest(name=recording.name), timeout=30).recording
        print("stopped", stopped.name, r.EndReason.Name(stopped.end_reason))
        show(next(events(stream)))
        stream.cancel()

        for one in stub.ListRecordings(api.ListRecordingsRequest(room=room)).recordings:
            print("listed", one.name)
        refused("get", stub.GetRecording, api.GetRecordingRequest(name=f"rooms/{room}/recordings/1"))


if __name__ == "__main__":
    main(*sys.argv[1:])
