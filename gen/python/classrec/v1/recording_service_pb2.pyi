import datetime

from classrec.v1 import recording_pb2 as _recording_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassBeginAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLASS_BEGIN_ACTION_UNSPECIFIED: _ClassVar[ClassBeginAction]
    CLASS_BEGIN_ACTION_ADD: _ClassVar[ClassBeginAction]
    CLASS_BEGIN_ACTION_REMOVE: _ClassVar[ClassBeginAction]
CLASS_BEGIN_ACTION_UNSPECIFIED: ClassBeginAction
CLASS_BEGIN_ACTION_ADD: ClassBeginAction
CLASS_BEGIN_ACTION_REMOVE: ClassBeginAction

class StartRecordingRequest(_message.Message):
    __slots__ = ("room", "user_id", "nickname", "room_password", "format", "record_type", "layout", "record_chat", "max_duration", "request_id")
    ROOM_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NICKNAME_FIELD_NUMBER: _ClassVar[int]
    ROOM_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    RECORD_TYPE_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    RECORD_CHAT_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    room: str
    user_id: str
    nickname: str
    room_password: str
    format: _recording_pb2.RecordingFormat
    record_type: _recording_pb2.RecordType
    layout: _recording_pb2.RecordingLayout
    record_chat: bool
    max_duration: _duration_pb2.Duration
    request_id: str
    def __init__(self, room: _Optional[str] = ..., user_id: _Optional[str] = ..., nickname: _Optional[str] = ..., room_password: _Optional[str] = ..., format: _Optional[_Union[_recording_pb2.RecordingFormat, str]] = ..., record_type: _Optional[_Union[_recording_pb2.RecordType, str]] = ..., layout: _Optional[_Union[_recording_pb2.RecordingLayout, str]] = ..., record_chat: _Optional[bool] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class StartRecordingResponse(_message.Message):
    __slots__ = ("recording",)
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    recording: _recording_pb2.Recording
    def __init__(self, recording: _Optional[_Union[_recording_pb2.Recording, _Mapping]] = ...) -> None: ...

class StopRecordingRequest(_message.Message):
    __slots__ = ("name", "room", "room_password")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    ROOM_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    name: str
    room: str
    room_password: str
    def __init__(self, name: _Optional[str] = ..., room: _Optional[str] = ..., room_password: _Optional[str] = ...) -> None: ...

class StopRecordingResponse(_message.Message):
    __slots__ = ("recording",)
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    recording: _recording_pb2.Recording
    def __init__(self, recording: _Optional[_Union[_recording_pb2.Recording, _Mapping]] = ...) -> None: ...

class GetRecordingRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetRecordingResponse(_message.Message):
    __slots__ = ("recording",)
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    recording: _recording_pb2.Recording
    def __init__(self, recording: _Optional[_Union[_recording_pb2.Recording, _Mapping]] = ...) -> None: ...

class ListRecordingsRequest(_message.Message):
    __slots__ = ("room", "user_id", "record_time", "page_size", "page_token")
    ROOM_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RECORD_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    room: str
    user_id: str
    record_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, room: _Optional[str] = ..., user_id: _Optional[str] = ..., record_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRecordingsResponse(_message.Message):
    __slots__ = ("recordings", "next_page_token", "incomplete")
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    recordings: _containers.RepeatedCompositeFieldContainer[_recording_pb2.Recording]
    next_page_token: str
    incomplete: _status_pb2.Status
    def __init__(self, recordings: _Optional[_Iterable[_Union[_recording_pb2.Recording, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., incomplete: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class WatchClassBeginRequest(_message.Message):
    __slots__ = ("room", "after_sequence", "room_password")
    ROOM_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ROOM_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    room: str
    after_sequence: int
    room_password: str
    def __init__(self, room: _Optional[str] = ..., after_sequence: _Optional[int] = ..., room_password: _Optional[str] = ...) -> None: ...

class WatchClassBeginResponse(_message.Message):
    __slots__ = ("event", "synced", "heartbeat")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    event: ClassBeginEvent
    synced: WatchSynced
    heartbeat: WatchHeartbeat
    def __init__(self, event: _Optional[_Union[ClassBeginEvent, _Mapping]] = ..., synced: _Optional[_Union[WatchSynced, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchHeartbeat, _Mapping]] = ...) -> None: ...

class ClassBeginEvent(_message.Message):
    __slots__ = ("sequence", "action", "room", "recording", "message_id", "time", "in_list", "from_user_id", "data")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    IN_LIST_FIELD_NUMBER: _ClassVar[int]
    FROM_USER_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    action: ClassBeginAction
    room: str
    recording: _recording_pb2.Recording
    message_id: str
    time: _timestamp_pb2.Timestamp
    in_list: bool
    from_user_id: str
    data: str
    def __init__(self, sequence: _Optional[int] = ..., action: _Optional[_Union[ClassBeginAction, str]] = ..., room: _Optional[str] = ..., recording: _Optional[_Union[_recording_pb2.Recording, _Mapping]] = ..., message_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., in_list: _Optional[bool] = ..., from_user_id: _Optional[str] = ..., data: _Optional[str] = ...) -> None: ...

class WatchSynced(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class WatchHeartbeat(_message.Message):
    __slots__ = ("sequence", "time")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
