// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Part is a part, for the tests of their order.
type Part struct {
	Name      string
	Run, Stop func(context.Context) error
	Begun     <-chan struct{}
}

// RunParts runs parts as a server does.
func RunParts(ctx context.Context, timeout time.Duration, list ...Part) error {
	var p parts
	for _, part := range list {
		p.add(toPart(part))
	}
	return p.run(ctx, timeout)
}

func toPart(p Part) part { return part{name: p.Name, run: p.Run, begun: p.Begun, stop: p.Stop} }

// ErrorLog is a logger as the servers of HTTP have it.
func ErrorLog(logger *slog.Logger) *slog.Logger { return slog.New(errorLog{logger.Handler()}) }

// Certificate is the room server's certificate at a time.
func Certificate(cfg Config, now time.Time) (tls.Certificate, error) {
	t, err := openRoomTLS(cfg.withDefaults(), now)
	if err != nil {
		return tls.Certificate{}, err
	}
	return t.current.Certificates[0], nil
}

// LastAlive is what a server knows from the directory of lives.
func LastAlive(dir string, at time.Time) time.Time {
	a := &alive{dir: dir, log: slog.New(slog.DiscardHandler)}
	a.load()
	return a.lastAfter(at)
}

// Registry has the metrics of a server.
func Registry(s *Server) *prometheus.Registry { return s.metrics.registry }

// Wired tells which field of its counts each metric shows, by "name label"; "" where it is computed of several.
func Wired() map[string]string {
	list := map[string]string{}
	wired(list, sessionReadings())
	wired(list, platformReadings())
	return list
}

func wired[T any](list map[string]string, readings []reading[T]) {
	var stats T
	fields := map[float64]string{}
	number(reflect.ValueOf(&stats).Elem(), "", fields)
	for _, r := range readings {
		name := strings.Split(r.desc.String(), `"`)[1]
		r.value(stats, func(v float64, labels ...string) {
			field := fields[v]
			if strings.Contains(name, "_seconds_") {
				field = fields[math.Round(v*1e9)]
			}
			list[strings.Join(append([]string{name}, labels...), " ")] = field
		})
	}
}

// number gives each number a number of its own, and notes them.
func number(v reflect.Value, name string, fields map[float64]string) {
	switch next := 1_000_000 - 1000*int64(len(fields)); v.Kind() { // what is a part of the field before it is less
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				number(v.Field(i), strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), fields)
			}
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return
		}
		one := reflect.New(v.Type().Elem()).Elem()
		number(one, name+"[limit]", fields)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("limit").Convert(v.Type().Key()), one)
	case reflect.Int, reflect.Int64:
		v.SetInt(next)
		fields[float64(next)] = name
	case reflect.Uint64:
		v.SetUint(uint64(next))
		fields[float64(next)] = name
	case reflect.Bool:
		v.SetBool(true)
	default:
	}
}

// WithinDescriptors opens withinDescriptors, with the defaults applied.
func WithinDescriptors(c Config, limit uint64) (Config, bool) {
	return c.withDefaults().withinDescriptors(limit)
}
