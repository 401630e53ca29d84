// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	return serveExample(server.Config{DataDir: dir})
}

// serveExample runs a server on free ports; stop removes its DataDir.
func serveExample(cfg server.Config) (address string, stop func()) {
	cfg.GRPCListen, cfg.HTTPListen, cfg.RoomListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	s, err := server.New(context.Background(), cfg)
	if err != nil {
		return err.Error(), func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s.GRPCAddr().String(), func() {
		cancel()
		<-ended
		_ = os.RemoveAll(cfg.DataDir)
	}
}

// exampleSecureServer is classrec.example, which lets the holder of the
// certificate of timetable.example start recordings. dir has ca.pem, that
// certificate as me.pem, and me.key.
func exampleSecureServer() (address, dir string, stop func()) {
	dir, err := os.MkdirTemp("", "classrec")
	if err != nil {
		return err.Error(), "", func() {}
	}
	a := &authority{dir: dir}
	err = errors.Join(
		a.write("ca", nil), a.write("server", []string{"classrec.example"}), a.write("me", []string{"timetable.example"}),
		os.WriteFile(a.file("auth.yaml"), []byte("certificates: [{name: timetable.example, scopes: [start]}]"), 0o600),
	)
	if err != nil {
		return err.Error(), dir, func() { _ = os.RemoveAll(dir) }
	}
	address, stop = serveExample(server.Config{
		DataDir: dir, TLSCertFile: a.file("server.pem"), TLSKeyFile: a.file("server.key"),
		TLSClientCAFile: a.file("ca.pem"), AuthFile: a.file("auth.yaml"),
	})
	return address, dir, stop
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

// A connection with TLS both ways, all from files that may be replaced while the
// program runs. Where the service asks for a token instead, [client.Config] has it.
func ExampleLoadTLS() {
	address, dir, stop := exampleSecureServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	files := client.TLSFiles{
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "me.pem"), Key: filepath.Join(dir, "me.key"),
		ServerName: "classrec.example", // where the address has another name
	}
	tls, err := client.LoadTLS(files)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.Dial(address, client.Config{TLS: tls})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	recording, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
	fmt.Println(recording.GetState(), err)

	// Who shows no certificate is nobody.
	files.Cert, files.Key = "", ""
	if tls, err = client.LoadTLS(files); err != nil {
		fmt.Println(err)
		return
	}
	stranger, err := client.Dial(address, client.Config{TLS: tls})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stranger.Close()
	_, err = stranger.Start(ctx, &classrecv1.StartRecordingRequest{Room: "43"})
	fmt.Println(errors.Is(err, client.ErrUnauthenticated))
	// Output:
	// RECORDING_STATE_RECORDING <nil>
	// true
}
