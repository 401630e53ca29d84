// SPDX-License-Identifier: Apache-2.0

package conformance

import "strings"

// The files that most lists name.
const (
	FileA = "https://files.test/a.mp4"
	FileB = "https://files.test/b.mp4"
)

// List is an answer of getUserRecordlist, and what has to be understood of it.
type List struct {
	Name, Body string
	// Want are the URLs; BASE stands for the platform's own.
	Want []string
	// Odd says that something is not understood: a list that is made of it is
	// incomplete, and a recording that has files of it notes that.
	Odd bool
}

// Lists are answers of getUserRecordlist to a platform at an https URL.
func Lists() []List {
	a, ab := []string{FileA}, []string{FileA, FileB}
	return []List{
		{"an entry of another scheme", `["` + FileA + `","rtmp://x/y"]`, a, true},
		{"scripts and files", `["javascript:alert(1)","file:///etc/passwd","data:text/html,x","` + FileA + `"]`, a, true},
		{"a stray percent sign", `["https://files.test/100%.mp4"]`, []string{"https://files.test/100%25.mp4"}, false},
		{"a stray percent sign before letters", `["https://files.test/5%zz.mp4"]`, []string{"https://files.test/5%25zz.mp4"}, false},
		{"without a scheme", `["files.test/f/a.mp4"]`, []string{"https://files.test/f/a.mp4"}, false},
		{"without a scheme, with a port", `["files:8443/f/a.mp4"]`, []string{"https://files:8443/f/a.mp4"}, false},
		{"without a scheme, an address", `["10.0.0.7/f/a.mp4"]`, []string{"https://10.0.0.7/f/a.mp4"}, false},
		{"relative, with a dot", `["files/v1.0/a.mp4"]`, []string{"BASE/files/v1.0/a.mp4"}, false},
		{"a name alone", `["a.mp4"]`, []string{"BASE/a.mp4"}, false},
		{"backslashes", `["https:\\\\files.test\\a.mp4"]`, a, false},
		{"escaped for HTML", `["https://files.test/a?x=1&amp;y=2"]`, []string{"https://files.test/a?x=1&y=2"}, false},
		{"blanks in it", `[" https://files.test/a b.mp4 "]`, []string{"https://files.test/a%20b.mp4"}, false},
		{"not of ASCII", `["https://files.test/課.mp4"]`, []string{"https://files.test/%E8%AA%B2.mp4"}, false},
		{"in capitals", `["HTTPS://files.test/a.mp4"]`, a, false},
		{"twice", `["` + FileA + `","` + FileA + `"]`, a, false},
		{"objects with a URL", `[{"url":"` + FileA + `"},{"playpath":"` + FileB + `"}]`, ab, false},
		{"an object without", `[{"url":"` + FileA + `"},{"x":1}]`, a, true},
		{"an object alone", `{"url":"` + FileA + `"}`, a, false},
		{"an envelope with URLs", `{"result":0,"recordlist":["` + FileA + `"]}`, a, false},
		{"an envelope with another list", `{"result":"0","data":[{"https_playpath_mp4":"` + FileA + `"}]}`, a, false},
		{"an envelope with a text", `{"result":0,"recordlist":""}`, nil, false},
		{"an envelope with a list as text", `{"result":0,"recordlist":"[\"https://files.test/a.mp4\"]"}`, a, false},
		{"an envelope with something", `{"result":0,"recordlist":7}`, nil, true},
		{"an array of PHP with holes", `{"2":"` + FileB + `","0":"` + FileA + `"}`, ab, false},
		{"the same in an envelope", `{"result":0,"recordlist":{"0":"` + FileA + `"}}`, a, false},
		{"lists in a list", `[["` + FileA + `"],[["` + FileB + `"]]]`, ab, false},
		{"JSON in JSON", `"[\"https://files.test/a.mp4\"]"`, a, false},
		{"a notice before it", "<br />\n<b>Notice</b>: Undefined index: x in /a/b[3].php on line <b>3</b><br />\n[\"" + FileA + `"]`, a, false},
		{"a notice behind it", `["` + FileA + `"]<br /><b>Warning</b>`, a, false},
		{"cut off", `["` + FileA + `","https://files.test/b`, a, true},
		{"cut off, in an envelope", `{"result":0,"recordlist":["` + FileA + `",`, a, true},
		{"numbers beside it", `[1,true,"` + FileA + `"]`, a, true},
		{"nothing, as null, false, a text", `false`, nil, false},
		{"a very long one", `["https://files.test/` + strings.Repeat("x", 9000) + `","` + FileA + `"]`, a, true},
		{"no data, as -1 with an empty list", `{"result":-1,"recordlist":[]}`, nil, false},
		{"a failure", `{"result":-1}`, nil, true},
		{"frozen", `{"result":3002}`, nil, true},
		{"a wrong key", `{"result":4102}`, nil, true},
		{"HTML", `<html><script>x={}</script>[]</html>`, nil, true},
		{"no JSON", "\x00\x01[", nil, true},
		{"deep", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), nil, true},
	}
}

// RichLists are answers of getrecordlist to a platform at an https URL.
func RichLists() []List {
	return []List{
		{"an entry of another scheme", `{"result":0,"recordlist":[{"starttime":"1511860322","playpath":"rtmp://x/y","playpath_mp4":"` + FileA + `"}]}`, []string{FileA}, true},
		{"without a scheme", `{"result":0,"recordlist":[{"starttime":1511860322,"https_playpath":"files.test/a.mp4"}]}`, []string{FileA}, false},
		{"an array alone", `[{"starttime":1511860322,"playpath":"` + FileA + `"}]`, []string{FileA}, false},
		{"an array of PHP with holes", `{"result":0,"recordlist":{"1":{"playpath":"` + FileA + `"}}}`, []string{FileA}, false},
		{"another field", `{"result":0,"recordlist":[{"url":"` + FileA + `"}]}`, []string{FileA}, false},
		{"URLs", `{"result":0,"recordlist":["` + FileA + `"]}`, []string{FileA}, false},
		{"an entry that is none", `{"result":0,"recordlist":[7,{"playpath":"` + FileA + `"}]}`, []string{FileA}, true},
		{"a text", `{"result":0,"recordlist":""}`, nil, false},
		{"cut off", `{"result":0,"recordlist":[{"playpath":"` + FileA + `"},{"pl`, []string{FileA}, true},
		{"a failure", `{"result":-1}`, nil, true},
		{"an object without anything", `{}`, nil, true},
	}
}
