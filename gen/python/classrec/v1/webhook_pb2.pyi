import datetime

from classrec.v1 import recording_pb2 as _recording_pb2
from classrec.v1 import recording_service_pb2 as _recording_service_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WebhookEvent(_message.Message):
    __slots__ = ("type", "timestamp", "data")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    type: str
    timestamp: _timestamp_pb2.Timestamp
    data: WebhookEventData
    def __init__(self, type: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., data: _Optional[_Union[WebhookEventData, _Mapping]] = ...) -> None: ...

class WebhookEventData(_message.Message):
    __slots__ = ("sequence", "recording", "event")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    recording: _recording_pb2.Recording
    event: _recording_service_pb2.ClassBeginEvent
    def __init__(self, sequence: _Optional[int] = ..., recording: _Optional[_Union[_recording_pb2.Recording, _Mapping]] = ..., event: _Optional[_Union[_recording_service_pb2.ClassBeginEvent, _Mapping]] = ...) -> None: ...
