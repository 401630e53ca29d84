// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // of a failure in an example
	"google.golang.org/protobuf/encoding/protojson"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/webhook"
)

// The examples of docs/webhooks.md are bodies, one of each type.
func TestDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, example := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1) {
		ev := new(classrecv1.WebhookEvent)
		if err := protojson.Unmarshal(example[1], ev); err != nil {
			t.Errorf("%v: %s", err, example[1])
		}
		types = append(types, ev.GetType())
		if hasEvent := ev.GetData().GetEvent() != nil; hasEvent != (ev.GetType() == webhook.ClassBegin || ev.GetType() == webhook.ClassEnd) {
			t.Errorf("%s: event %v", ev.GetType(), hasEvent)
		}
	}
	if !slices.Equal(types, webhook.Types()) {
		t.Errorf("examples of %v", types)
	}
}
