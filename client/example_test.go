// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
)

// exampleServer runs classrec in this process; a program has its address from
// somewhere else.
func exampleServer() (address string, stop func()) {
	dir, err := os.MkdirTemp("", "classrec")
	if err != nil {
		return err.Error(), func() {}
	}
	s, err := server.New(context.Background(), server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", DataDir: dir,
	})
	if err != nil {
		return err.Error(), func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s.GRPCAddr().String(), func() {
		cancel()
		<-ended
		_ = os.RemoveAll(dir)
	}
}

// A class is recorded, waited for, and its files are fetched.
func Example() {
	address, stop := exampleServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c, err := client.Dial(address, client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	recording, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(recording.GetState())

	if _, err = c.Stop(ctx, &classrecv1.StopRecordingRequest{Room: "42"}); err != nil {
		fmt.Println(err)
		return
	}
	if recording, err = c.Wait(ctx, recording.GetName(), client.WaitOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	files, err := c.Download(ctx, recording, client.DownloadOptions{Dir: os.TempDir()})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Nobody was in the room: there is nothing to fetch.
	fmt.Println(recording.GetState(), len(files))
	// Output:
	// RECORDING_STATE_RECORDING
	// RECORDING_STATE_AVAILABLE 0
}

// Errors are matched with errors.Is, and say more by errors.As.
func ExampleError() {
	address, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(address, client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	first, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
	if errors.Is(err, client.ErrAlreadyBegun) {
		var e *client.Error
		errors.As(err, &e)
		fmt.Println(e.Code, e.Reason, e.Recording() == first.GetName())
	}
	// Output:
	// AlreadyExists CLASS_ALREADY_BEGUN true
}

// A list goes over all pages by itself.
func ExampleClient_List() {
	address, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(address, client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	for range 3 {
		if _, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"}); err != nil {
			fmt.Println(err)
			return
		}
		if _, err := c.Stop(ctx, &classrecv1.StopRecordingRequest{Room: "42"}); err != nil {
			fmt.Println(err)
			return
		}
	}
	n := 0
	for recording, err := range c.List(ctx, &classrecv1.ListRecordingsRequest{Room: "42", PageSize: 2}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		n++
		_ = recording.GetName()
	}
	fmt.Println(n, "recordings")
	// Output:
	// 3 recordings
}

// A watch tells each class that begins or ends once, over any number of
// connections.
func ExampleClient_Watch() {
	address, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(address, client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	for m, err := range c.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if m.GetSynced() != nil { // from here on it is live
			if _, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"}); err != nil {
				fmt.Println(err)
				return
			}
		}
		if event := m.GetEvent(); event != nil {
			fmt.Println(event.GetAction(), event.GetRoom())
			break
		}
	}
	// Output:
	// CLASS_BEGIN_ACTION_ADD 42
}

// A connection with TLS both ways and a token, all from files that may be
// replaced while the program runs.
func ExampleLoadTLS() {
	tls, err := client.LoadTLS(client.TLSFiles{CA: "ca.pem", Cert: "me.pem", Key: "me.key"})
	if err != nil {
		fmt.Println("there are no such files here")
		return
	}
	c, err := client.Dial("classrec.example:9090", client.Config{TLS: tls, TokenFile: "token"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	// Output:
	// there are no such files here
}
