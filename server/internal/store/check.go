// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// MarkerName is the file beside the SQLite database that says that there is one,
// by the identity of its history: a database that is gone, or was cut or
// emptied, is not taken for one that never was.
const MarkerName = "history"

// headerBytes is the least that a SQLite database has.
const headerBytes = 512

// checkMarker refuses to make a database where there was one.
func checkMarker(dir string) error {
	_, err := os.Stat(filepath.Join(dir, MarkerName))
	info, errDB := os.Stat(filepath.Join(dir, DatabaseName))
	empty := errDB != nil || info.Size() == 0
	switch {
	case errDB != nil && !errors.Is(errDB, os.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrUnavailable, errDB)
	case err == nil && empty:
		return fmt.Errorf("%w: %s is gone or empty; put a backup in its place, or remove %s and %s* beside it to begin anew",
			ErrDataLoss, filepath.Join(dir, DatabaseName), MarkerName, DatabaseName)
	case !empty && (info.IsDir() || info.Size() < headerBytes):
		return fmt.Errorf("%w: %s is no database", ErrDataLoss, filepath.Join(dir, DatabaseName))
	}
	return nil
}

// saveMarker keeps which history the database has.
func saveMarker(dir, id string) error {
	path := filepath.Join(dir, MarkerName)
	if old, err := os.ReadFile(path); err == nil && string(old) == id+"\n" {
		return nil
	}
	return os.WriteFile(path, []byte(id+"\n"), 0o600)
}

// mend compares the row of the history with the events, which say the same, and
// believes these: no sequence is ever given twice.
func (s *Store) mend(ctx context.Context) error {
	p, err := s.progress(ctx)
	if err != nil {
		return err
	}
	var first, last uint64
	if err := s.db.row(ctx, []any{&first, &last}, `SELECT coalesce(min(sequence), 0), coalesce(max(sequence), 0) FROM event`); err != nil {
		return err
	}
	if last == p.last && (last == 0 || first == p.forgotten+1) {
		return nil
	}
	if last == p.last && first > 0 && first <= p.forgotten { // an earlier life has not come to remove them
		return nil
	}
	s.damaged("how far the history has come", "said", p.last, "found", last, "oldest", first)
	_, err = s.db.transact(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE history SET last = $1, forgotten = $2`, max(last, p.last), max(first, 1)-1)
		return err
	})
	return err
}

const (
	// scrubAfter is how long after the start the database begins to be read, and
	// scrubPause is between two pages of it.
	scrubAfter = 10 * time.Second
	scrubPause = 50 * time.Millisecond
)

// scrub reads the whole database once, in the background, and tells what is
// damaged.
func (s *Store) scrub() {
	if !sleep(s.lifetime, scrubAfter) {
		return
	}
	c := checker{db: s.db, pause: scrubPause, found: func(problem string) { s.damaged(problem) }}
	if _, err := c.run(s.lifetime); err != nil && s.lifetime.Err() == nil {
		s.log.Warn("the database could not be read as a whole", "error", err)
	}
}

// Summary is what a check has read.
type Summary struct {
	Recordings, Events, Deliveries int
	// History is the identity of the history, Last its last sequence.
	History string
	Last    uint64
}

// Check reads all of the database that cfg says, which may be open elsewhere,
// and calls found with each damage, in words. It changes nothing.
//
// Errors: ErrDataLoss when it cannot be read any further; ErrUnavailable; ctx's.
func Check(ctx context.Context, cfg Config, found func(problem string)) (Summary, error) {
	d, err := openToRead(cfg)
	if err != nil {
		return Summary{}, fmt.Errorf("check: %w", err)
	}
	c := checker{db: d, found: found}
	summary, err := c.run(ctx)
	if err = errors.Join(err, d.close()); err != nil {
		return summary, fmt.Errorf("check: %w", err)
	}
	return summary, nil
}

// openToRead opens a database that is there, without its lock.
func openToRead(cfg Config) (*database, error) {
	d := &database{statements: make(map[statementKey]*sql.Stmt)}
	if cfg.URL != "" {
		return d, d.openPostgres(cfg)
	}
	if err := checkMarker(cfg.Dir); err != nil {
		return d, err
	}
	path := filepath.Join(cfg.Dir, DatabaseName)
	if _, err := os.Stat(path); err != nil {
		return d, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	query := pragmas(cfg)
	query.Del("_pragma")
	query["_pragma"] = []string{"busy_timeout(5000)", "cell_size_check(1)"}
	return d, d.openSQLite(fileDSN(path, query))
}

// Backup makes a consistent copy of the SQLite database that cfg says, which may
// be open elsewhere, in a new file. Its history is another one: whoever resumes
// in it is told so.
//
// Errors: ErrInvalid for PostgreSQL, which has tools of its own; ErrDataLoss,
// ErrUnavailable; ctx's. There is no file then.
func Backup(ctx context.Context, cfg Config, file string) (err error) {
	if cfg.URL != "" {
		return fmt.Errorf("backup: %w: PostgreSQL is backed up by its own tools, as pg_dump", ErrInvalid)
	}
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("backup: %s is there already", file)
	}
	d, err := openToRead(cfg)
	if err == nil {
		_, err = d.write.ExecContext(ctx, "VACUUM INTO ?1", file)
	}
	if err = errors.Join(failed(err), d.close()); err == nil {
		err = renew(ctx, file)
	}
	if err != nil {
		_ = os.Remove(file) // it may not be there
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// renew gives a copy a history of its own, and syncs it.
func renew(ctx context.Context, file string) error {
	if err := os.Chmod(file, 0o600); err != nil {
		return err
	}
	d := &database{statements: make(map[statementKey]*sql.Stmt)}
	query := pragmas(Config{})
	query["_pragma"] = []string{"journal_mode(DELETE)", "synchronous(FULL)"}
	err := d.openSQLite(fileDSN(file, query))
	if err == nil {
		_, err = d.transact(ctx, func(t *tx) error {
			_, err := t.exec(`UPDATE history SET id = $1`, newHistoryID())
			return err
		})
	}
	if err == nil { // a copy of what is damaged is no backup
		c := checker{db: d, found: func(problem string) { err = fmt.Errorf("%w: %s", ErrDataLoss, problem) }}
		_, errCheck := c.run(ctx)
		err = errors.Join(err, errCheck)
	}
	return errors.Join(err, d.close())
}

// checker reads everything.
type checker struct {
	db    *database
	pause time.Duration // between pages
	found func(problem string)
}

func (c *checker) run(ctx context.Context) (sum Summary, err error) {
	if err := c.db.row(ctx, []any{&sum.History, &sum.Last}, `SELECT id, last FROM history WHERE one = 1`); err != nil {
		return sum, missing(err)
	}
	if c.db.postgres == nil {
		if err := c.integrity(ctx); err != nil {
			return sum, err
		}
	}
	if sum.Recordings, err = c.recordings(ctx); err != nil {
		return sum, err
	}
	if sum.Events, err = c.events(ctx); err != nil {
		return sum, err
	}
	sum.Deliveries, err = c.deliveries(ctx)
	return sum, err
}

// integrity is SQLite's own check of its pages and indexes, one table at a time.
func (c *checker) integrity(ctx context.Context) error {
	var tables []string
	err := c.db.query(ctx, func(row scanner) error {
		var name string
		err := row.Scan(&name)
		tables = append(tables, name)
		return failed(err)
	}, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		return err
	}
	for _, table := range tables {
		err := c.db.query(ctx, func(row scanner) error {
			var problem string
			if err := row.Scan(&problem); err != nil {
				return failed(err)
			}
			if problem != "ok" {
				c.found("table " + table + ": " + problem)
			}
			return nil
		}, `PRAGMA integrity_check("`+table+`")`)
		if err != nil {
			return err
		}
		c.rest(ctx)
	}
	return nil
}

func (c *checker) rest(ctx context.Context) {
	if c.pause > 0 {
		sleep(ctx, c.pause)
	}
}

// recordings reads all recordings.
func (c *checker) recordings(ctx context.Context) (n int, err error) {
	for last := (recordingKey{}); ; c.rest(ctx) {
		read := 0
		err := c.db.query(ctx, func(row scanner) error {
			e, err := scanRecording(row)
			if err != nil {
				return err
			}
			read++
			last = e.key()
			if e.Damaged {
				c.found(fmt.Sprintf("recording %s of room %q, tenant %s: it cannot be read", last.id, last.room, last.tenant))
			}
			return nil
		}, `SELECT `+recordingColumns+` FROM recording WHERE (tenant, room, id) > ($1, $2, $3) ORDER BY tenant, room, id LIMIT $4`,
			last.tenant, last.room, last.id, page)
		n += read
		if err != nil || read < page {
			return n, err
		}
	}
}

// events reads all events, which are as many as their sequences.
func (c *checker) events(ctx context.Context) (n int, err error) {
	reader := &Store{db: c.db, log: slog.New(slog.DiscardHandler)}
	p, err := reader.progress(ctx)
	if err != nil {
		return 0, err
	}
	for last := p.forgotten; last < p.last; c.rest(ctx) {
		found, err := reader.events(ctx, last, p.last)
		if err != nil {
			return n, err
		}
		for _, m := range found {
			if m.sequence != last+1 && n > 0 {
				c.found(fmt.Sprintf("events %d to %d are missing", last+1, m.sequence-1))
			}
			last = m.sequence
			n++
			if m.entry == nil && m.lease == nil {
				c.found(fmt.Sprintf("event %d of room %q, tenant %s: it cannot be read", m.sequence, m.key.room, m.key.tenant))
			}
		}
		if len(found) < page {
			if last != p.last {
				c.found(fmt.Sprintf("events %d to %d are missing", last+1, p.last))
			}
			return n, nil
		}
	}
	return n, nil
}

func (c *checker) deliveries(ctx context.Context) (n int, err error) {
	for last := uint64(0); ; c.rest(ctx) {
		read := 0
		err := c.db.query(ctx, func(row scanner) error {
			var endpoint, id string
			var body []byte
			var crc int64
			if err := row.Scan(&last, &endpoint, &id, &body, &crc); err != nil {
				return failed(err)
			}
			read++
			rec := new(storev1.WebhookDeliveryRecord)
			if crc != checksum(body, last) || proto.Unmarshal(body, rec) != nil || rec.GetEndpoint() != endpoint || rec.GetId() != id {
				c.found(fmt.Sprintf("delivery %s to endpoint %s: it cannot be read", id, endpoint))
			}
			return nil
		}, `SELECT revision, endpoint, id, body, crc FROM delivery WHERE revision > $1 ORDER BY revision LIMIT $2`, last, page)
		n += read
		if err != nil || read < page {
			return n, err
		}
	}
}
