// SPDX-License-Identifier: Apache-2.0

// Package talkcloud speaks the wire of the TalkCloud (拓课云) platform: its room messages, its HTTP
// calls and its signaling socket.
//
// It holds three things. The wire types ([Message], [MessageList], [ClassBegin], [JoinRoom],
// [JoinReply], [CheckRoomReply], …) decode leniently and encode exactly: the platform is a foreign
// system whose answers are only partly documented, so a number may come as a string, an object as a
// JSON text, and anything may be missing. The same types serve the other end of the wire, the
// embedded room server. [Client] makes the HTTP calls and joins rooms; [Conn] is one signaling
// connection in one room.
//
// Guarantees. A success is never guessed: an answer without evidence of success is an error. Every
// failure is an [*Error] with a [Kind]; context errors stay visible to errors.Is. Nothing hangs:
// every call has an own timeout besides the caller's context, every body and frame is bounded.
// The enterprise key and room passwords never stand in an error, a log record or a formatted value.
//
// It leaves to others: keeping a session alive over drops, sharing it and diffing its state
// (package room), and deciding what a message means for a recording (package recording).
package talkcloud

// RoomID names a room. The platform calls it "serial"; digits in practice, but a string.
type RoomID string

// UserID names a participant of a room.
type UserID string

// Names of room messages that have a meaning to the platform.
const (
	// MessageClassBegin is name and id of the message whose life is the class: recording begins
	// when it is published and ends when it is deleted.
	MessageClassBegin = "ClassBegin"
	// MessageAllAll, when deleted, clears all saved messages of the room.
	MessageAllAll = "__AllAll"
	// MessageUpdateTime, published unsaved to oneself, comes back with the platform's clock in ts.
	MessageUpdateTime = "UpdateTime"
)

// Values of toID that name a group instead of a user.
const (
	ToAll              = "__all"
	ToAllExceptSender  = "__allExceptSender"
	ToAllExceptAuditor = "__allExceptAuditor"
	ToNone             = "__none"
	ToAllSuperUsers    = "__allSuperUsers" // teachers and assistants
	// ToAllExceptAuditorAndSender is what white-label clients send.
	ToAllExceptAuditorAndSender = "__allExceptAuditorAndSender"
	ToGroup                     = "__group"             // and :A:B, the groups
	ToGroupExceptSender         = "__groupExceptSender" // and :A
	ToRoom                      = "__room"              // and :ID
	ToRoomExceptSender          = "__roomExceptSender"  // and :ID
)

// Socket events that a participant sends. Those that the platform sends on as well
// (EventPubMsg, EventDelMsg, EventSendMessage, EventSetProperty) have the same names both ways.
const (
	EventJoinRoom               = "joinRoom"
	EventPubMsg                 = "pubMsg"
	EventDelMsg                 = "delMsg"
	EventSendMessage            = "sendMessage"
	EventSetProperty            = "setProperty"
	EventGetUser                = "getUser"
	EventEvictParticipant       = "evictParticipant"
	EventPublish                = "publish"
	EventUnpublish              = "unpublish"
	EventSubscribe              = "subscribe"
	EventUnsubscribe            = "unsubscribe"
	EventSignalingMessage       = "signaling_message"
	EventSendDataStream         = "sendDataStream"
	EventUpdateStreamAttributes = "updateStreamAttributes"
)

// Socket events that only the platform sends.
const (
	EventMsgList                      = "msgList"
	EventParticipantJoined            = "participantJoined"
	EventParticipantLeft              = "participantLeft"
	EventParticipantEvicted           = "participantEvicted"
	EventForceReconnect               = "forceReconnect"
	EventAddStream                    = "onAddStream"
	EventRemoveStream                 = "onRemoveStream"
	EventSignalingMessageMediaServer  = "signaling_message_mediaserver"
	EventPublishFailed                = "publish_failed"
	EventSubscribeFailed              = "subscribe_failed"
	EventSignalingMessagePeer         = "signaling_message_peer"
	EventUpdateStreamAttributesNotice = "onUpdateAttributeStream"
)

// Paths of the platform's HTTP calls.
const (
	PathWhere             = "/where.html"
	PathGetServerArea     = "/ClientAPI/getserverarea"
	PathCheckRoom         = "/ClientAPI/checkroom"
	PathGetConfig         = "/ClientAPI/getconfig"
	PathGetRoomFile       = "/ClientAPI/getroomfile"
	PathEquipment         = "/ClientAPI/equipment"
	PathNetworkEquipment  = "/ClientAPI/networkequipment"
	PathRoomStart         = "/ClientAPI/roomstart"
	PathRoomOver          = "/ClientAPI/roomover"
	PathSystemTime        = "/ClientAPI/systemtime"
	PathGetUserRecordList = "/ClientAPI/getUserRecordlist"
	PathGetRecordList     = "/WebAPI/getrecordlist"
	PathBatchGetRecord    = "/WebAPI/batchGetRecord"
	PathDeleteRecords     = "/WebAPI/deleteRecords"
	PathRoomCreate        = "/WebAPI/roomcreate"
	PathRoomModify        = "/WebAPI/roommodify"
	PathRoomDelete        = "/WebAPI/roomdelete"
	PathGetRoom           = "/WebAPI/getroom"
	PathGetRoomList       = "/WebAPI/getroomlist"
	PathGetRoomByTime     = "/WebAPI/getroombytime"
)

// Roles of a participant, as roomrole in the answer to checkroom and role in its properties.
const (
	RolePlayback  = -1
	RoleTeacher   = 0
	RoleAssistant = 1
	RoleStudent   = 2
	RoleAuditor   = 3
	RolePatrol    = 4 // hidden from the class
)

// Reasons for which the platform evicts a participant.
const (
	EvictedSameUser     = 400 // the same user id joined elsewhere
	EvictedRoomOver     = 401
	EvictedRoomDisabled = 402
)
