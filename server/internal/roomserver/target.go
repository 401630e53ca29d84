// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// target is whom a message is for: toID, understood. The zero value is everybody.
type target struct {
	none          bool // the server alone
	exceptSender  bool
	exceptAuditor bool
	leaders       bool     // teachers and assistants alone
	groups        []string // those in one of these alone
	users         []talkcloud.UserID
	// unknown says that toID is none of the known targets: everybody is told.
	unknown bool
}

// everybody is the target of what nobody may miss.
func everybody() target { return target{} }

func onlyUser(id talkcloud.UserID) target { return target{users: []talkcloud.UserID{id}} }

// parseTarget reads toID. Names of groups of people are taken in any case, as clients write them (__all, __All); one that
// is not known is everybody. Whatever does not begin with two underscores is a user, who need not be there.
func parseTarget(to string) target {
	name, rest, _ := strings.Cut(to, ":")
	is := func(known string) bool { return strings.EqualFold(name, known) }
	switch {
	case to == "", is(talkcloud.ToAll):
		return target{}
	case !strings.HasPrefix(to, "__"):
		return onlyUser(talkcloud.UserID(to))
	case is(talkcloud.ToNone):
		return target{none: true}
	case is(talkcloud.ToAllExceptSender):
		return target{exceptSender: true}
	case is(talkcloud.ToAllExceptAuditor):
		return target{exceptAuditor: true}
	case is(talkcloud.ToAllExceptAuditorAndSender), is("__allExceptSenderAndAuditor"):
		return target{exceptAuditor: true, exceptSender: true}
	case is(talkcloud.ToAllSuperUsers):
		return target{leaders: true}
	case is(talkcloud.ToGroup):
		return target{groups: groupNames(rest)}
	case is(talkcloud.ToGroupExceptSender):
		return target{groups: groupNames(rest), exceptSender: true}
	case is(talkcloud.ToRoom): // rooms have no relations here: it is this one
		return target{}
	case is(talkcloud.ToRoomExceptSender):
		return target{exceptSender: true}
	}
	return target{unknown: true}
}

// decodeTarget reads toID whatever its JSON type is: a list is those that it names together.
func decodeTarget(raw json.RawMessage) target {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '[' {
		return parseTarget(scalar(raw).String())
	}
	var list []talkcloud.Scalar
	if json.Unmarshal(raw, &list) != nil {
		return target{unknown: true}
	}
	var all target
	for i, one := range list {
		t := parseTarget(one.String())
		if len(t.users) == 0 { // a group of people among users: as if it stood alone
			return t
		}
		if i < maxTargets {
			all.users = append(all.users, t.users...)
		}
	}
	return all
}

// maxTargets bounds the users that one message names.
const maxTargets = 1000

func groupNames(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ":"), func(name string) bool { return name == "" })
}

// public reports whether everybody may know, but for the sender and auditors.
func (t target) public() bool {
	return !t.none && !t.leaders && len(t.groups) == 0 && len(t.users) == 0
}

// whom returns what tells those who are meant from the others in a room. A group is meant only where somebody in the
// room has said which one is his own; elsewhere nobody knows what groups there are, and all are meant. The room's mutex
// is held.
func (r *room) whom(t target, sender *participant) func(*participant) bool {
	groups := t.groups
	if len(groups) > 0 && !slices.ContainsFunc(r.list, func(p *participant) bool { return len(p.groups) > 0 }) {
		groups = nil
	}
	return func(p *participant) bool {
		switch {
		case t.none, t.exceptSender && p == sender, t.exceptAuditor && p.role == talkcloud.RoleAuditor, t.leaders && !p.leads():
			return false
		case len(t.users) > 0:
			return slices.Contains(t.users, p.id)
		case len(groups) > 0:
			return slices.ContainsFunc(p.groups, func(name string) bool { return slices.Contains(groups, name) })
		}
		return true
	}
}

// groupsIn are the groups that a participant's properties say it is of.
func groupsIn(raw json.RawMessage) []string {
	var properties map[string]json.RawMessage
	if !bytes.Contains(bytes.ToLower(raw), []byte("group")) || json.Unmarshal(raw, &properties) != nil {
		return nil
	}
	var names []string
	for key, value := range properties {
		switch strings.ToLower(key) {
		case "group", "groupid", "groups", "groupids":
			names = append(names, scalars(value)...)
		}
	}
	return names
}

// scalars reads a text or number, a list of them, or a JSON text of a list.
func scalars(raw json.RawMessage) []string {
	var list []talkcloud.Scalar
	if inner := unquote(raw); len(inner) == 0 || inner[0] != '[' || json.Unmarshal(inner, &list) != nil {
		list = []talkcloud.Scalar{scalar(raw)}
	}
	var texts []string
	for _, one := range list {
		if text := one.String(); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}
