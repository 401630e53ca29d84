// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"net/url"
	"slices"
	"strconv"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// fileIDs returns what identifies each of the URLs that a platform lists for one
// recording: the path, whatever the host, port, scheme and query are. Where one
// answer has several files of one path, they differ by their queries, and so each
// is identified by its place among them too: a signature that is made anew for
// each answer does not make another file.
func fileIDs(urls []string) []string {
	ids := make([]string, len(urls))
	queries := map[string][]string{} // by path
	for i, raw := range urls {
		path, query := pathOf(raw)
		place := -1
		for j, known := range queries[path] {
			if known == query {
				place = j
			}
		}
		if place < 0 {
			place = len(queries[path])
			queries[path] = append(queries[path], query)
		}
		ids[i] = path
		if place > 0 {
			ids[i] += "\x00" + strconv.Itoa(place)
		}
	}
	return ids
}

func pathOf(raw string) (path, query string) {
	u, err := url.Parse(raw)
	if err != nil {
		return raw, ""
	}
	return u.Path, u.RawQuery
}

func idsOf(files []*classrecv1.RecordingFile) []string {
	urls := make([]string, len(files))
	for i, f := range files {
		urls[i] = f.GetUrl()
	}
	return fileIDs(urls)
}

// once returns the files without those that are listed twice: by http and by
// https, say. The first counts, or the first by https.
func once(files []*classrecv1.RecordingFile) []*classrecv1.RecordingFile {
	at := map[string]int{}
	var kept []*classrecv1.RecordingFile
	for i, id := range idsOf(files) {
		j, has := at[id]
		switch {
		case !has:
			at[id] = len(kept)
			kept = append(kept, files[i])
		case !isHTTPS(kept[j].GetUrl()) && isHTTPS(files[i].GetUrl()):
			kept[j] = files[i]
		}
	}
	return kept
}

func isHTTPS(raw string) bool { return len(raw) > 6 && raw[:6] == "https:" }

// merged returns known files as they are listed now, and after them those that
// are new. What is not listed any more stays as it was.
func merged(known, now []*classrecv1.RecordingFile) (files []*classrecv1.RecordingFile, fresh []*classrecv1.RecordingFile) {
	byID := map[string]*classrecv1.RecordingFile{}
	ids := idsOf(now)
	for i, id := range ids {
		byID[id] = now[i]
	}
	have := map[string]bool{}
	for i, id := range idsOf(known) {
		have[id] = true
		if f := byID[id]; f != nil {
			files = append(files, f)
			continue
		}
		files = append(files, known[i])
	}
	for i, id := range ids {
		if !have[id] {
			files, fresh = append(files, now[i]), append(fresh, now[i])
		}
	}
	return files, fresh
}

// without returns the files that none of the others are.
func without(files, others []*classrecv1.RecordingFile) []*classrecv1.RecordingFile {
	taken := map[string]bool{}
	for _, id := range idsOf(others) {
		taken[id] = true
	}
	var kept []*classrecv1.RecordingFile
	for i, id := range idsOf(files) {
		if !taken[id] {
			kept = append(kept, files[i])
		}
	}
	return kept
}

func sameFiles(a, b []*classrecv1.RecordingFile) bool {
	one, two := idsOf(a), idsOf(b)
	if len(one) != len(two) {
		return false
	}
	for i := range one {
		if one[i] != two[i] {
			return false
		}
	}
	return true
}

func sameURLs(a, b []*classrecv1.RecordingFile) bool {
	return slices.EqualFunc(a, b, func(a, b *classrecv1.RecordingFile) bool { return a.GetUrl() == b.GetUrl() })
}

// fileIndex tells the files that are known from others, in a list that does not
// say of which recording they are. A file whose path and query are known is
// known. Of those whose query is another one than before, as it is signed anew,
// as many are known as there are known files of that path that the list does not
// have otherwise.
type fileIndex struct {
	queries map[string]map[string]bool // of each path
	files   map[string]int             // how many there are of each path
}

// add takes the files of one recording, under all the URLs that they were seen
// with.
func (x *fileIndex) add(files []*classrecv1.RecordingFile, otherwise ...*classrecv1.RecordingFile) {
	if x.queries == nil {
		x.queries, x.files = map[string]map[string]bool{}, map[string]int{}
	}
	all, _ := merged(files, otherwise)
	for _, f := range all {
		path, _ := pathOf(f.GetUrl())
		x.files[path]++
	}
	for _, f := range slices.Concat(files, otherwise) {
		path, query := pathOf(f.GetUrl())
		if x.queries[path] == nil {
			x.queries[path] = map[string]bool{}
		}
		x.queries[path][query] = true
	}
}

// unknown returns those of a list that are not in the index.
func (x *fileIndex) unknown(urls []string) (left []string) {
	found, others := map[string]int{}, map[string]int{}
	for _, u := range urls {
		if path, query := pathOf(u); x.queries[path][query] {
			found[path]++
		} else {
			others[path]++
		}
	}
	for _, u := range urls {
		path, query := pathOf(u)
		if x.queries[path][query] || others[path] <= x.files[path]-found[path] {
			continue
		}
		left = append(left, u)
	}
	return left
}
