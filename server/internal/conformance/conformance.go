// SPDX-License-Identifier: Apache-2.0

// Package conformance holds, as data, the odd things that rooms, record lists and integrators have been seen to send, and
// what has to come of each. Both ends of the TalkCloud wire are tested with the same tables: the embedded room server and
// our own client.
//
// The rule behind all of them: a class is never left unrecorded, lost or recorded twice because a field, a target, an entry
// of a list or an answer is odd. What is not understood has its default, is said in the log once, is noted in the
// recording, and is passed on to others byte for byte.
//
// The package runs nothing, and knows no other: each end brings its own runner.
package conformance

// The people of the tables: each room has a teacher who sends, a student and an auditor. Told in a case lists those who
// hear of it, in this order.
const (
	Teacher   = "teacher"
	Student   = "student"
	Auditor   = "auditor"
	Everybody = "teacher student auditor"
)

// Begin is a way in which a class is begun.
type Begin struct {
	Name    string // a phrase
	Payload string // of pubMsg, JSON
	// What is recorded, in the numbers of ClassBegin.
	RecordType, Convert, Layout int
	Chat                        bool
	// Odd says that something in it is not understood: it is noted in the recording.
	Odd bool
	// Told lists who hears of it live. Recorders, and those who come later, hear of it in any case.
	Told string
}

// list is what is recorded by default: a file for each publisher.
const list = 1

// data makes a case of the data of ClassBegin, as JSON.
func data(name, data string, recordType, convert, layout int, chat, odd bool) Begin {
	return Begin{
		Name: name, Payload: `{"name":"ClassBegin","id":"ClassBegin","toID":"__all","data":` + data + `}`,
		RecordType: recordType, Convert: convert, Layout: layout, Chat: chat, Odd: odd, Told: Everybody,
	}
}

// fields makes a case of the fields of the message.
func fields(name, fields, told string, odd bool) Begin {
	return Begin{Name: name, Payload: `{` + fields + `}`, RecordType: list, Told: told, Odd: odd}
}

// Begins are the ways in which ClassBegin is published. All are classes.
func Begins() []Begin {
	const class = `"name":"ClassBegin","id":"ClassBegin"`
	return []Begin{
		data("the SDK's", `"{\"recordtype\":\"0\",\"convert\":1,\"layout\":1}"`, 0, 1, 1, false, false),
		data("the document's", `"{\"recordchat\":true,\"convert\":0}"`, list, 0, 0, true, false),
		data("an object", `{"recordtype":1,"convert":"1","recordchat":1}`, list, 1, 0, true, false),
		data("blanks inside", `{ "recordtype" : 1 ,  "convert" : 1 }`, list, 1, 0, false, false),
		data("layout 2", `"{\"recordtype\":\"1\",\"layout\":2}"`, list, 0, 0, false, true),
		data("layout 99", `"{\"layout\":99,\"convert\":1}"`, list, 1, 0, false, true),
		data("layout -1", `"{\"layout\":-1}"`, list, 0, 0, false, true),
		data("convert 3", `"{\"convert\":3}"`, list, 0, 0, false, true),
		data("convert -1", `"{\"convert\":-1}"`, list, 0, 0, false, true),
		data("recordtype 4", `"{\"recordtype\":4}"`, list, 0, 0, false, true),
		data("recordtype 8", `"{\"recordtype\":\"8\"}"`, list, 0, 0, false, true),
		data("recordtype -1", `"{\"recordtype\":-1}"`, list, 0, 0, false, true),
		data("recordtype a word", `{"recordtype":"list","convert":1}`, list, 1, 0, false, true),
		data("recordtype with a fraction", `{"recordtype":1.5}`, list, 0, 0, false, true),
		data("recordtype a whole fraction", `{"recordtype":0.0}`, 0, 0, 0, false, false),
		data("recordtype huge", `{"recordtype":1e300}`, list, 0, 0, false, true),
		data("options of other types", `{"recordtype":{},"convert":[],"layout":true,"recordchat":{}}`, list, 0, 0, false, true),
		data("options null", `{"recordtype":null,"convert":null,"layout":null,"recordchat":null}`, list, 0, 0, false, false),
		data("options empty", `{"recordtype":"","convert":" ","layout":""}`, list, 0, 0, false, false),
		data("a word", `"mp4"`, list, 0, 0, false, true),
		data("true", `true`, list, 0, 0, false, true),
		data("null", `null`, list, 0, 0, false, false),
		data("an empty object", `{}`, list, 0, 0, false, false),
		data("a number", `1.5`, list, 0, 0, false, true),
		data("a list", `[1,2]`, list, 0, 0, false, true),
		data("not JSON inside", `"{recordtype:1"`, list, 0, 0, false, true),
		data("camelCase keys", `{"recordType":0,"Convert":1}`, list, 0, 0, false, true),
		data("JSON in JSON", `"\"{\\\"recordtype\\\":\\\"0\\\",\\\"convert\\\":1}\""`, 0, 1, 0, false, false),
		data("more than options", `{"recordtype":0,"title":"Maths","teacher":{"id":7}}`, 0, 0, 0, false, false),
		data("characters of all kinds", `"{\"recordtype\":0,\"title\":\"<b>&amp; \u2028 张三 \ud83d\ude00\"}"`, 0, 0, 0, false, false),

		fields("no data", class, Everybody, false),
		fields("do_not_save empty", class+`,"do_not_save":""`, Everybody, false),
		fields("do_not_save false", class+`,"do_not_save":false,"toID":"__all"`, Everybody, false),
		fields("do_not_save null", class+`,"do_not_save":null`, Everybody, false),
		fields("do_not_save an object", class+`,"do_not_save":{"a":1}`, Everybody, false),
		fields("another id", `"name":"ClassBegin","id":"ClassBegin_1"`, Everybody, false),
		fields("a number for an id", `"name":"ClassBegin","id":7`, Everybody, false),
		fields("an object for an id", `"name":"ClassBegin","id":{"a":1}`, Everybody, false),
		fields("the name alone", `"name":"ClassBegin"`, Everybody, false),
		fields("the id alone", `"id":"ClassBegin"`, Everybody, false),
		fields("another name", `"name":"classbegin","id":"ClassBegin"`, Everybody, false),
		fields("unknown fields", class+`,"write2DB":1,"actions":[0,1],"x":{"y":null}`, Everybody, false),
		fields("fields of the server's", class+`,"fromID":"student","ts":1,"seq":-5`, Everybody, false),
		fields("expired before", class+`,"expiresabs":1000000000`, Everybody, true),
		fields("expires never", class+`,"expires":0,"expiresabs":"soon"`, Everybody, false),

		fields("to __All", class+`,"toID":"__All"`, Everybody, false),
		fields("to nobody", class+`,"toID":"__none"`, "", false),
		fields("to __None", class+`,"toID":"__None"`, "", false),
		fields("to all but the sender", class+`,"toID":"__allExceptSender"`, "student auditor", false),
		fields("to all but auditors", class+`,"toID":"__allExceptAuditor"`, "teacher student", false),
		fields("to all but auditors and the sender", class+`,"toID":"__allExceptAuditorAndSender"`, "student", false),
		fields("to super users", class+`,"toID":"__allSuperUsers"`, "teacher", false),
		fields("to a group", class+`,"toID":"__group:A"`, Everybody, false), // nobody's properties say which one is whose
		fields("to groups but the sender", class+`,"toID":"__groupExceptSender:A:B"`, "student auditor", false),
		fields("to a room", class+`,"toID":"__room:42"`, Everybody, false),
		fields("to a room but the sender", class+`,"toID":"__roomExceptSender:42"`, "student auditor", false),
		fields("to an unknown target", class+`,"toID":"__everybody"`, Everybody, true),
		fields("to one user", class+`,"toID":"student"`, "student", false),
		fields("to users", class+`,"toID":["student","teacher"]`, "teacher student", false),
		fields("to an object", class+`,"toID":{"a":1}`, Everybody, false),
		fields("to who is not there", class+`,"toID":"nobody/at all"`, "", false),
	}
}

// End is a way in which a class is ended.
type End struct {
	Name, Payload string // of delMsg
}

// Ends are the ways in which the ClassBegin of [Begins] is deleted. Everybody is told of each.
func Ends() []End {
	const class = `"name":"ClassBegin","id":"ClassBegin"`
	return []End{
		{"the SDK's", `{` + class + `,"toID":"__all","data":"{}"}`},
		{"nothing more", `{` + class + `}`},
		{"the name alone", `{"name":"ClassBegin"}`},
		{"the id alone", `{"id":"ClassBegin"}`},
		{"to nobody", `{` + class + `,"toID":"__none"}`},
		{"to one user", `{` + class + `,"toID":"teacher"}`},
		{"to who is not there", `{` + class + `,"toID":"gone"}`},
		{"to super users", `{` + class + `,"toID":"__allSuperUsers"}`},
		{"to all but the sender", `{` + class + `,"toID":"__allExceptSender"}`},
		{"to a group", `{` + class + `,"toID":"__group:A"}`},
		{"to an unknown target", `{` + class + `,"toID":"__x"}`},
		{"unsaved", `{` + class + `,"do_not_save":""}`},
		{"a JSON text", `"{\"name\":\"ClassBegin\",\"id\":\"ClassBegin\"}"`},
	}
}

// Target is a value of toID, and who is told of what goes there.
type Target struct {
	To   string // JSON
	Told string
}

// Targets are the values of toID in a room in which the student is of the group A.
func Targets() []Target {
	return []Target{
		{`""`, Everybody},
		{`null`, Everybody},
		{`"__all"`, Everybody},
		{`"__All"`, Everybody},
		{`"__ALL"`, Everybody},
		{`"__none"`, ""},
		{`"__None"`, ""},
		{`"__allExceptSender"`, "student auditor"},
		{`"__AllExceptSender"`, "student auditor"},
		{`"__allExceptAuditor"`, "teacher student"},
		{`"__allExceptAuditorAndSender"`, "student"},
		{`"__allSuperUsers"`, "teacher"},
		{`"__allsuperusers"`, "teacher"},
		{`"__group:A"`, "student"},
		{`"__group:B:A"`, "student"},
		{`"__group:B"`, ""},
		{`"__groupExceptSender:A"`, "student"},
		{`"__room:42"`, Everybody},
		{`"__roomExceptSender:42"`, "student auditor"},
		{`"__whoever"`, Everybody},
		{`"student"`, "student"},
		{`"teacher"`, "teacher"},
		{`["student","auditor"]`, "student auditor"},
		{`[]`, Everybody},
		{`{}`, Everybody},
		{`"nobody"`, ""},
		{`"no/body"`, ""},
	}
}
