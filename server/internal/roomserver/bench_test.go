// SPDX-License-Identifier: Apache-2.0

//go:build bench

package roomserver_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/roomserver"
)

const (
	benchPeople = 8000
	benchBurst  = 40 // messages published without waiting
	benchPaced  = 10 // messages of which each is awaited everywhere before the next
	benchRounds = 5
)

// TestBenchRooms measures the room server in a process of its own: what an idle participant costs, and what a delivered
// room message costs, next to socket.io 2 on Node. All join in one room, or in 80 rooms of 100.
func TestBenchRooms(t *testing.T) {
	if benchtest.Role() != "" {
		serveRooms(t)
		return
	}
	for _, rooms := range []int{1, 80} {
		t.Run(fmt.Sprint(rooms), func(t *testing.T) { benchRooms(t, rooms) })
	}
}

func benchRooms(t *testing.T, rooms int) {
	ours := crowded(t, benchtest.StartSelf(t, "TestBenchRooms", "server"), rooms)
	node := crowded(t, benchtest.StartNode(t, filepath.Join("..", "socketio", "testdata", "node"), "bench-server.js"), rooms)

	where := fmt.Sprintf("room server, %d people in %d rooms", benchPeople, rooms)
	if rooms == 1 {
		where = fmt.Sprintf("room server, %d people in one room", benchPeople)
	}
	benchtest.AtMost(t, where+": idle, each", ours.idle, 8, "KiB")
	benchtest.Info(t, "socket.io 2 on Node: %.2f KiB; before garbage is given back: %.2f KiB, Node %.2f KiB", node.idle, ours.fresh, node.fresh)

	var burst, paced, ourBurst, nodeBurst, ourPaced, nodePaced []float64
	for range benchRounds {
		a, b := ours.burst(t), node.burst(t)
		ourBurst, nodeBurst, burst = append(ourBurst, a), append(nodeBurst, b), append(burst, a/b)
		a, b = ours.paced(t), node.paced(t)
		ourPaced, nodePaced, paced = append(ourPaced, a), append(nodePaced, b), append(paced, a/b)
	}
	median := func(v []float64) float64 { return benchtest.Quantile(v, 0.5) }
	benchtest.AtMost(t, where+": CPU per delivered message, of Node's", median(burst), 0.5, "")
	benchtest.Info(t, "bursts of %d messages: %.2f us, Node %.2f us; rounds %.2f", benchBurst, median(ourBurst), median(nodeBurst), burst)
	benchtest.Info(t, "each message awaited before the next: %.2f of Node's, %.2f us, Node %.2f us; rounds %.2f",
		median(paced), median(ourPaced), median(nodePaced), paced)
	ours.process.Settle()
	benchtest.Info(t, "idle after that, each: %.2f KiB", (ours.process.RSS()-ours.empty)/benchPeople)
}

// crowdedServer is a server with people in its rooms, the first of each of which publishes.
type crowdedServer struct {
	process            *benchtest.Process
	people             *benchtest.Crowd
	speakers           []*benchtest.Member
	empty, fresh, idle float64 // KiB: all of it; each
}

// crowded fills a server, after it has done everything once.
func crowded(t *testing.T, p *benchtest.Process, rooms int) *crowdedServer {
	t.Helper()
	var addr string
	p.Hear(&addr)
	join := func(prefix string, rooms int) func(int) string {
		return func(i int) string {
			return fmt.Sprintf(`420["joinRoom",{"userId":"%[1]s%08[2]d-3426-0541-c23e-06e9e5a29287","roomId":"%[1]s%[3]d","maxVideo":12,`+
				`"videofps":10,"videowidth":320,"videoheight":240,"roomtype":3,"version":2016032901,"vcodec":0,`+
				`"properties":{"role":2,"nickname":"student %[2]d","publishstate":0,"hasvideo":true,"hasaudio":true,"candraw":false}}]`, prefix, i, i%rooms)
		}
	}
	const warm = 100
	first := benchtest.NewCrowd(t, addr, "pubMsg")
	first.Enter(warm, join("warm", 1))[0].Send(t, roomMessages(benchBurst)...)
	first.Await(warm * benchBurst)
	p.Settle()
	s := &crowdedServer{process: p, empty: p.RSS(), people: benchtest.NewCrowd(t, addr, "pubMsg")}

	s.speakers = s.people.Enter(benchPeople, join("u", rooms))[:rooms]
	s.people.Drain()
	s.fresh = (p.RSS() - s.empty) / benchPeople
	p.Settle()
	s.idle = (p.RSS() - s.empty) / benchPeople
	return s
}

// burst returns the CPU time for one delivered message, in us.
func (s *crowdedServer) burst(t *testing.T) float64 {
	t.Helper()
	return s.cost(t, benchBurst, func() {
		for _, speaker := range s.speakers {
			speaker.Send(t, roomMessages(benchBurst)...)
		}
		s.people.Await(benchBurst * benchPeople)
	})
}

// paced is burst, with each message awaited everywhere before the next.
func (s *crowdedServer) paced(t *testing.T) float64 {
	t.Helper()
	return s.cost(t, benchPaced, func() {
		for range benchPaced {
			for _, speaker := range s.speakers {
				speaker.Send(t, roomMessages(1)...)
			}
			s.people.Await(benchPeople)
		}
	})
}

func (s *crowdedServer) cost(t *testing.T, messages int, work func()) float64 {
	t.Helper()
	before := s.process.CPU()
	work()
	<-time.After(100 * time.Millisecond) // what belongs to it and comes after the last message
	return float64((s.process.CPU() - before).Microseconds()) / float64(messages*benchPeople)
}

// roomMessages are messages of the usual size, each in place of the one before.
func roomMessages(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`421%d["pubMsg",{"name":"ShowPage","id":"DocumentFilePage_ShowPage","toID":"__all","data":`+
			`"{\"isMedia\":false,\"isDynamicPPT\":false,\"filedata\":{\"currpage\":%d,\"pagenum\":24,\"fileid\":90210}}"}]`, i, i)
	}
	return all
}

// serveRooms is the server in its own process.
func serveRooms(t *testing.T) {
	s, err := roomserver.New(roomserver.Config{Dir: t.TempDir(), EnterpriseKey: "bench", PingTimeout: time.Minute, MaxPerRoom: benchPeople})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- web.Serve(listener) }()
	benchtest.Serve(t, listener.Addr().String())
	if err := web.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
