// SPDX-License-Identifier: Apache-2.0

package talkcloud

// classify returns the class of a non-zero code and what it means, "" when it is not documented. A
// code is keyed by where it came from. Codes of a wrong enterprise key or signature are
// KindServerConfig: the key is configuration of this service, so no caller can authenticate better.
func classify(source Source, code int) (Kind, string) {
	switch source {
	case SourceEviction:
		return classifyEviction(code)
	case SourceSocket:
		return KindUnavailable, "connection failed"
	case SourceCheckRoom, SourceGetConfig, SourceJoin, SourceSignaling, SourceUserRecordList, SourceRecordList, SourceFile, SourceConfig:
	}
	switch {
	case source == SourceCheckRoom && code == CodeCheckRoomFailed,
		source == SourceGetConfig && code == CodeGetConfigFailed:
		return KindUnavailable, "connection failed"
	}
	return classifyEnvelope(code)
}

func classifyEviction(reason int) (Kind, string) {
	switch reason {
	case EvictedSameUser:
		return KindEvicted, "the same user joined elsewhere"
	case EvictedRoomOver:
		return KindEvicted, "the room is over"
	case EvictedRoomDisabled:
		return KindPermissionDenied, "the room is disabled"
	}
	return KindEvicted, "put out of the room"
}

// classifyEnvelope knows the codes of the HTTP envelope {"result": code}.
func classifyEnvelope(code int) (Kind, string) {
	switch code {
	case -1:
		return KindInternal, "failure"
	case 3001:
		return KindFailedPrecondition, "the platform's service license is overdue"
	case 3002:
		return KindPermissionDenied, "the company is frozen"
	case 3003, 4007:
		return KindNotFound, "the room is missing, deleted or expired"
	case 4001:
		return KindServerConfig, "the company is unknown"
	case 4002, 4111:
		return KindUnauthenticated, "user name or password wrong"
	case 4003, 4004, 4005, 4006, 4009, 4010, 4011:
		return KindInvalidArgument, "a field is missing or malformed"
	case 4008, 4012, 4110, 5007, 5200, 5201, 5203, 5204:
		return KindPermissionDenied, "the room password is wrong, unfit for the role, or needed"
	case 4020:
		return KindFailedPrecondition, "the lesson is canceled"
	case 4101, 4102:
		return KindServerConfig, "the enterprise key is missing or wrong"
	case 4103, 4106, 4112, 4113, 5009, 5011, 5020, 6002, 6003:
		return KindResourceExhausted, "a quota or balance is used up"
	case 4105:
		return KindNotFound, "no matching data"
	case 4107, 5206:
		return KindInternal, "the platform's database failed"
	case 4108:
		return KindPermissionDenied, "no permission"
	case 4109, 5300, 5301:
		return KindServerConfig, "signature or login key wrong"
	case 5208:
		return KindFailedPrecondition, "the user is already logged in"
	}
	switch {
	case code >= 4200 && code <= 4202,
		code >= 5000 && code <= 5006, code == 5008, code == 5010, code >= 5012 && code <= 5019,
		code >= 5100 && code <= 5102, code == 5205, code == 5207, code == 6000, code == 6001:
		return KindInvalidArgument, "a required field is missing or malformed"
	}
	return KindInternal, ""
}
