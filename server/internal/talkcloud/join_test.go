// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"testing"

	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

func mustJoin(t *testing.T, c *talkcloud.Client, opts talkcloud.JoinOptions) *talkcloud.Conn {
	t.Helper()
	conn, err := c.Join(within(t), opts)
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestConn_PublishEchoDelete(t *testing.T) {
	t.Parallel()
	for _, revision := range []int{3, 4} {
		p := talkcloudtest.New(t)
		c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.EngineIO = revision })
		conn := mustJoin(t, c, talkcloud.JoinOptions{Room: "7", UserID: "u1", Nickname: "张 & 三=+%"})
		if err := conn.Publish(within(t), talkcloud.ClassBegin{RecordType: 1, RecordChat: true}.Message()); err != nil {
			t.Fatal(err)
		}
		e := <-conn.Events()
		if e.Kind != talkcloud.Published || e.Message.Name != "ClassBegin" || e.Message.FromID != "u1" || e.Message.Seq != 1 {
			t.Fatalf("echo is %+v", e)
		}
		if err := conn.Delete(within(t), talkcloud.ClassEnd()); err != nil {
			t.Fatal(err)
		}
		if e := <-conn.Events(); e.Kind != talkcloud.Deleted || e.Message.Key() != "ClassBegin" {
			t.Fatalf("echo is %+v", e)
		}
		if form := p.Forms(talkcloud.PathCheckRoom)[0]; form.Get("nickname") != "张 & 三=+%" {
			t.Fatalf("form is %v", form)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if _, open := <-conn.Events(); open {
			t.Fatal("an event after Close")
		}
	}
}
