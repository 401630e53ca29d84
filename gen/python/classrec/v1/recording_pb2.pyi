import datetime

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

class RecordingFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDING_FORMAT_UNSPECIFIED: _ClassVar[RecordingFormat]
    RECORDING_FORMAT_MKV: _ClassVar[RecordingFormat]
    RECORDING_FORMAT_WEBM: _ClassVar[RecordingFormat]
    RECORDING_FORMAT_MP4: _ClassVar[RecordingFormat]

class RecordType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORD_TYPE_UNSPECIFIED: _ClassVar[RecordType]
    RECORD_TYPE_FILE: _ClassVar[RecordType]
    RECORD_TYPE_LIST: _ClassVar[RecordType]
    RECORD_TYPE_MP3: _ClassVar[RecordType]
    RECORD_TYPE_MIX: _ClassVar[RecordType]

class RecordingLayout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDING_LAYOUT_UNSPECIFIED: _ClassVar[RecordingLayout]
    RECORDING_LAYOUT_LANDSCAPE: _ClassVar[RecordingLayout]
    RECORDING_LAYOUT_PORTRAIT: _ClassVar[RecordingLayout]

class RecordingState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDING_STATE_UNSPECIFIED: _ClassVar[RecordingState]
    RECORDING_STATE_STARTING: _ClassVar[RecordingState]
    RECORDING_STATE_RECORDING: _ClassVar[RecordingState]
    RECORDING_STATE_STOPPING: _ClassVar[RecordingState]
    RECORDING_STATE_PROCESSING: _ClassVar[RecordingState]
    RECORDING_STATE_AVAILABLE: _ClassVar[RecordingState]
    RECORDING_STATE_FAILED: _ClassVar[RecordingState]

class RecordingOrigin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDING_ORIGIN_UNSPECIFIED: _ClassVar[RecordingOrigin]
    RECORDING_ORIGIN_API: _ClassVar[RecordingOrigin]
    RECORDING_ORIGIN_ROOM: _ClassVar[RecordingOrigin]
    RECORDING_ORIGIN_PLATFORM: _ClassVar[RecordingOrigin]

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_STOPPED: _ClassVar[EndReason]
    END_REASON_STOPPED_IN_ROOM: _ClassVar[EndReason]
    END_REASON_MAX_DURATION: _ClassVar[EndReason]
    END_REASON_ENDED_WHILE_AWAY: _ClassVar[EndReason]
    END_REASON_ROOM_CLOSED: _ClassVar[EndReason]
    END_REASON_START_FAILED: _ClassVar[EndReason]
    END_REASON_STOP_NOT_CONFIRMED: _ClassVar[EndReason]

class ParticipantRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PARTICIPANT_ROLE_UNSPECIFIED: _ClassVar[ParticipantRole]
    PARTICIPANT_ROLE_TEACHER: _ClassVar[ParticipantRole]
    PARTICIPANT_ROLE_ASSISTANT: _ClassVar[ParticipantRole]
    PARTICIPANT_ROLE_STUDENT: _ClassVar[ParticipantRole]
    PARTICIPANT_ROLE_AUDITOR: _ClassVar[ParticipantRole]
    PARTICIPANT_ROLE_PATROL: _ClassVar[ParticipantRole]

class MediaKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEDIA_KIND_UNSPECIFIED: _ClassVar[MediaKind]
    MEDIA_KIND_AUDIO: _ClassVar[MediaKind]
    MEDIA_KIND_VIDEO: _ClassVar[MediaKind]
RECORDING_FORMAT_UNSPECIFIED: RecordingFormat
RECORDING_FORMAT_MKV: RecordingFormat
RECORDING_FORMAT_WEBM: RecordingFormat
RECORDING_FORMAT_MP4: RecordingFormat
RECORD_TYPE_UNSPECIFIED: RecordType
RECORD_TYPE_FILE: RecordType
RECORD_TYPE_LIST: RecordType
RECORD_TYPE_MP3: RecordType
RECORD_TYPE_MIX: RecordType
RECORDING_LAYOUT_UNSPECIFIED: RecordingLayout
RECORDING_LAYOUT_LANDSCAPE: RecordingLayout
RECORDING_LAYOUT_PORTRAIT: RecordingLayout
RECORDING_STATE_UNSPECIFIED: RecordingState
RECORDING_STATE_STARTING: RecordingState
RECORDING_STATE_RECORDING: RecordingState
RECORDING_STATE_STOPPING: RecordingState
RECORDING_STATE_PROCESSING: RecordingState
RECORDING_STATE_AVAILABLE: RecordingState
RECORDING_STATE_FAILED: RecordingState
RECORDING_ORIGIN_UNSPECIFIED: RecordingOrigin
RECORDING_ORIGIN_API: RecordingOrigin
RECORDING_ORIGIN_ROOM: RecordingOrigin
RECORDING_ORIGIN_PLATFORM: RecordingOrigin
END_REASON_UNSPECIFIED: EndReason
END_REASON_STOPPED: EndReason
END_REASON_STOPPED_IN_ROOM: EndReason
END_REASON_MAX_DURATION: EndReason
END_REASON_ENDED_WHILE_AWAY: EndReason
END_REASON_ROOM_CLOSED: EndReason
END_REASON_START_FAILED: EndReason
END_REASON_STOP_NOT_CONFIRMED: EndReason
PARTICIPANT_ROLE_UNSPECIFIED: ParticipantRole
PARTICIPANT_ROLE_TEACHER: ParticipantRole
PARTICIPANT_ROLE_ASSISTANT: ParticipantRole
PARTICIPANT_ROLE_STUDENT: ParticipantRole
PARTICIPANT_ROLE_AUDITOR: ParticipantRole
PARTICIPANT_ROLE_PATROL: ParticipantRole
MEDIA_KIND_UNSPECIFIED: MediaKind
MEDIA_KIND_AUDIO: MediaKind
MEDIA_KIND_VIDEO: MediaKind

class Recording(_message.Message):
    __slots__ = ("name", "room", "user_id", "format", "record_type", "layout", "record_chat", "record_time", "stop_time", "state", "end_reason", "origin", "urls", "files", "gaps", "failure", "create_time", "update_time", "max_duration", "warnings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    RECORD_TYPE_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    RECORD_CHAT_FIELD_NUMBER: _ClassVar[int]
    RECORD_TIME_FIELD_NUMBER: _ClassVar[int]
    STOP_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    room: str
    user_id: str
    format: RecordingFormat
    record_type: RecordType
    layout: RecordingLayout
    record_chat: bool
    record_time: _timestamp_pb2.Timestamp
    stop_time: _timestamp_pb2.Timestamp
    state: RecordingState
    end_reason: EndReason
    origin: RecordingOrigin
    urls: _containers.RepeatedScalarFieldContainer[str]
    files: _containers.RepeatedCompositeFieldContainer[RecordingFile]
    gaps: _containers.RepeatedCompositeFieldContainer[RecordingGap]
    failure: _status_pb2.Status
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    max_duration: _duration_pb2.Duration
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., room: _Optional[str] = ..., user_id: _Optional[str] = ..., format: _Optional[_Union[RecordingFormat, str]] = ..., record_type: _Optional[_Union[RecordType, str]] = ..., layout: _Optional[_Union[RecordingLayout, str]] = ..., record_chat: _Optional[bool] = ..., record_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stop_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[RecordingState, str]] = ..., end_reason: _Optional[_Union[EndReason, str]] = ..., origin: _Optional[_Union[RecordingOrigin, str]] = ..., urls: _Optional[_Iterable[str]] = ..., files: _Optional[_Iterable[_Union[RecordingFile, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[RecordingGap, _Mapping]]] = ..., failure: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class RecordingFile(_message.Message):
    __slots__ = ("url", "user_id", "size", "duration", "media_type", "start_offset", "nickname", "role", "video_codec", "audio_codec", "width", "height", "frame_rate", "sample_rate", "sha256")
    URL_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    NICKNAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    VIDEO_CODEC_FIELD_NUMBER: _ClassVar[int]
    AUDIO_CODEC_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    url: str
    user_id: str
    size: int
    duration: _duration_pb2.Duration
    media_type: str
    start_offset: _duration_pb2.Duration
    nickname: str
    role: ParticipantRole
    video_codec: str
    audio_codec: str
    width: int
    height: int
    frame_rate: float
    sample_rate: int
    sha256: str
    def __init__(self, url: _Optional[str] = ..., user_id: _Optional[str] = ..., size: _Optional[int] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., media_type: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., nickname: _Optional[str] = ..., role: _Optional[_Union[ParticipantRole, str]] = ..., video_codec: _Optional[str] = ..., audio_codec: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., frame_rate: _Optional[float] = ..., sample_rate: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class RecordingGap(_message.Message):
    __slots__ = ("start_time", "end_time", "reason", "user_id", "kind")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    reason: str
    user_id: str
    kind: MediaKind
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., user_id: _Optional[str] = ..., kind: _Optional[_Union[MediaKind, str]] = ...) -> None: ...
