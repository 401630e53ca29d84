// SPDX-License-Identifier: Apache-2.0

// Program classrec starts, stops, shows and watches recordings of a classrec
// server. See `classrec --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, time.Now))
}
