//go:build bench

package socketio_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

func benchProfile() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(os.Stderr, "HeapAlloc %d HeapInuse %d HeapIdle-Rel %d StackInuse %d MSpan %d GCSys %d OtherSys %d goroutines %d objects %d\n", m.HeapAlloc/8000, m.HeapInuse/8000, (m.HeapIdle-m.HeapReleased)/8000, m.StackInuse/8000, m.MSpanInuse/8000, m.GCSys/8000, m.OtherSys/8000, runtime.NumGoroutine(), m.HeapObjects)
	f, _ := os.Create("/tmp/socketio.heap")
	pprof.Lookup("heap").WriteTo(f, 0)
	f.Close()
}
