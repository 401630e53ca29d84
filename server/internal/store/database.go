// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// DatabaseName is the SQLite database's file in its directory.
const DatabaseName = "classrec.db"

const (
	// readers is how many connections read the SQLite database at once; one writes.
	readers = 4
	// connections is how many a process opens to PostgreSQL, beside the one that listens.
	connections = 16
	// connectTimeout bounds how long one host of PostgreSQL is waited for.
	connectTimeout = 2 * time.Second
	// migrateTimeout is for how long another process's migration is waited for.
	migrateTimeout = time.Minute
)

//go:embed migrations/*.sql
var migrations embed.FS

// database is a SQL database of one of two dialects. All SQL here is written
// for both, with $1 for parameters.
type database struct {
	read, write *sql.DB // the same but for a SQLite file
	postgres    *pgx.ConnConfig
	lock        *os.File // of the directory of a SQLite file; else nil

	mu         sync.Mutex
	statements map[statementKey]*sql.Stmt // SQLite's, which are dear to prepare
}

type statementKey struct {
	db    *sql.DB
	query string
}

func openDatabase(ctx context.Context, cfg Config) (_ *database, err error) {
	d := &database{statements: make(map[statementKey]*sql.Stmt)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	switch {
	case cfg.URL != "":
		err = d.openPostgres(cfg)
	case cfg.Memory:
		err = d.openSQLite("file::memory:?" + pragmas(cfg).Encode())
	default:
		if d.lock, err = lockDir(cfg.Dir); err == nil {
			err = checkMarker(cfg.Dir)
		}
		if err == nil {
			err = d.openSQLite(fileDSN(filepath.Join(cfg.Dir, DatabaseName), pragmas(cfg)))
		}
	}
	if err != nil {
		return nil, err
	}
	if cfg.MaxBytes > 0 && d.postgres == nil {
		const pageBytes = 4096
		if _, err := d.write.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", cfg.MaxBytes/pageBytes)); err != nil {
			return nil, failed(err)
		}
	}
	return d, d.migrate(ctx)
}

func pragmas(cfg Config) url.Values {
	synchronous := "FULL"
	if cfg.SyncInterval > 0 {
		synchronous = "NORMAL" // and [Store.syncEvery]
	}
	return url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(" + synchronous + ")",
			"cell_size_check(1)", "cache_size(-4096)", "journal_size_limit(67108864)",
		},
	}
}

func fileDSN(path string, query url.Values) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

func (d *database) openSQLite(dsn string) (err error) {
	if d.write, err = sql.Open("sqlite", dsn); err != nil {
		return failed(err)
	}
	d.write.SetMaxOpenConns(1)
	d.read = d.write
	if strings.HasPrefix(dsn, "file::memory:") {
		d.write.SetMaxIdleConns(1)
		d.write.SetConnMaxLifetime(0)
		return nil
	}
	if d.read, err = sql.Open("sqlite", dsn+"&_pragma=query_only(1)"); err != nil {
		return failed(err)
	}
	d.read.SetMaxOpenConns(readers)
	d.read.SetMaxIdleConns(readers)
	return nil
}

func (d *database) openPostgres(cfg Config) error {
	c, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return fmt.Errorf("%w: the database's URL cannot be understood", ErrInvalid) // pgx repeats it
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "classrec"
	}
	d.postgres = c
	d.write = stdlib.OpenDB(*c)
	d.read = d.write
	d.write.SetMaxOpenConns(connections)
	d.write.SetMaxIdleConns(connections)
	return nil
}

// migrate brings the schema up to date. Of several processes that do so at
// once, all but one fail, and find it done when they try again.
func (d *database) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	for {
		err := d.migrateOnce(ctx)
		if err == nil {
			return nil
		}
		if !isPostgres(err) || !sleep(ctx, 200*time.Millisecond) {
			return fmt.Errorf("bring the schema up to date: %w", failed(err))
		}
	}
}

func (d *database) migrateOnce(ctx context.Context) error {
	dialect := goose.DialectSQLite3
	if d.postgres != nil {
		dialect = goose.DialectPostgres
	}
	steps, err := d.migrations()
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, d.write, nil, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(steps...))
	if err != nil {
		return err
	}
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	if version > int64(len(steps)) {
		return fmt.Errorf("%w: the database was made by a newer version", ErrInvalid)
	}
	_, err = p.Up(ctx)
	return err
}

// migrations returns the steps, whose files are named by their numbers, from 1
// on without a gap.
func (d *database) migrations() (steps []*goose.Migration, err error) {
	sequence := "INTEGER" // which SQLite keeps a table by
	if d.postgres != nil {
		sequence = "BIGINT"
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		script := strings.ReplaceAll(string(text), "/*sequence*/", sequence)
		steps = append(steps, goose.NewGoMigration(int64(i+1), &goose.GoFunc{
			RunTx: func(ctx context.Context, t *sql.Tx) error {
				_, err := t.ExecContext(ctx, script)
				return err
			},
		}, nil))
	}
	return steps, nil
}

func (d *database) close() error {
	var errs []error
	d.mu.Lock()
	for _, statement := range d.statements {
		errs = append(errs, statement.Close())
	}
	d.mu.Unlock()
	if d.read != nil && d.read != d.write {
		errs = append(errs, d.read.Close())
	}
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	for _, db := range []*sql.DB{d.read, d.write} { // one that is in use is closed when it is given back
		for until := time.Now().Add(lockTimeout); db != nil && db.Stats().OpenConnections > 0 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// drop closes connections that are of no use: to a server that only reads now.
func (d *database) drop() {
	d.write.SetMaxIdleConns(0)
	d.write.SetMaxIdleConns(connections)
}

// statement prepares a query of SQLite, once for each connection.
func (d *database) statement(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := statementKey{db, query}
	if s := d.statements[key]; s != nil {
		return s, nil
	}
	s, err := db.PrepareContext(context.WithoutCancel(ctx), strings.ReplaceAll(query, "$", "?"))
	if err == nil {
		d.statements[key] = s
	}
	return s, err
}

// scanner is what a row is read from.
type scanner interface{ Scan(dest ...any) error }

// query calls scan with each row. Errors: scan's; ErrUnavailable, ErrDataLoss.
func (d *database) query(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	rows, err := d.rows(ctx, query, args...)
	if err != nil {
		return failed(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return failed(rows.Err())
}

func (d *database) rows(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if d.postgres != nil || d.read == d.write { // in memory, a transaction may hold the connection
		if d.postgres == nil {
			query = strings.ReplaceAll(query, "$", "?")
		}
		return d.read.QueryContext(ctx, query, args...)
	}
	s, err := d.statement(ctx, d.read, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// row reads the one row into dest. Errors: ErrNotFound; as query.
func (d *database) row(ctx context.Context, dest []any, query string, args ...any) error {
	return one(func(scan func(scanner) error) error { return d.query(ctx, scan, query, args...) }, dest)
}

func one(query func(func(scanner) error) error, dest []any) error {
	found := false
	err := query(func(row scanner) error {
		found = true
		return failed(row.Scan(dest...))
	})
	if err == nil && !found {
		return ErrNotFound
	}
	return err
}

// tx is a transaction that changes something.
type tx struct {
	*database
	ctx context.Context
	sql *sql.Tx
}

// transact runs fn in a transaction. ambiguous: it may have been committed
// though there is an error.
func (d *database) transact(ctx context.Context, fn func(*tx) error) (ambiguous bool, err error) {
	begun, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return false, failed(err)
	}
	if err := fn(&tx{d, ctx, begun}); err != nil {
		_ = begun.Rollback() // if it fails, the connection is gone, and the transaction with it
		return false, err
	}
	if err := begun.Commit(); err != nil {
		if d.postgres == nil { // the one connection must not stay in it
			_, _ = d.write.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
		return true, failed(err)
	}
	return false, nil
}

// exec changes rows and returns how many.
func (t *tx) exec(query string, args ...any) (int64, error) {
	var result sql.Result
	var err error
	if t.postgres != nil {
		result, err = t.sql.ExecContext(t.ctx, query, args...)
	} else {
		var s *sql.Stmt
		if s, err = t.prepared(query); err == nil {
			result, err = s.ExecContext(t.ctx, args...)
		}
	}
	if err != nil {
		return 0, failed(err)
	}
	n, err := result.RowsAffected()
	return n, failed(err)
}

func (t *tx) query(scan func(scanner) error, query string, args ...any) error {
	var rows *sql.Rows
	var err error
	if t.postgres != nil {
		rows, err = t.sql.QueryContext(t.ctx, query, args...)
	} else {
		var s *sql.Stmt
		if s, err = t.prepared(query); err == nil {
			rows, err = s.QueryContext(t.ctx, args...)
		}
	}
	if err != nil {
		return failed(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return failed(rows.Err())
}

func (t *tx) row(dest []any, query string, args ...any) error {
	return one(func(scan func(scanner) error) error { return t.query(scan, query, args...) }, dest)
}

// prepared returns the statement for the transaction. Its own connection is the
// only one that writes: preparing on the pool would wait for it for ever.
func (t *tx) prepared(query string) (*sql.Stmt, error) {
	t.mu.Lock()
	s := t.statements[statementKey{t.write, query}]
	t.mu.Unlock()
	if s != nil {
		return t.sql.StmtContext(t.ctx, s), nil
	}
	return t.sql.PrepareContext(t.ctx, strings.ReplaceAll(query, "$", "?"))
}

// warm prepares the statements of changes, which later transactions share.
func (d *database) warm(ctx context.Context, queries ...string) error {
	if d.postgres != nil {
		return nil
	}
	for _, query := range queries {
		if _, err := d.statement(ctx, d.write, query); err != nil {
			return failed(err)
		}
	}
	return nil
}

// failed makes an error of a driver one of the store's. It stays what it is if
// it is one already.
func failed(err error) error {
	var lite *sqlite.Error
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, ErrDataLoss), isRefusal(err):
		return err
	case errors.As(err, &lite):
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT:
			return fmt.Errorf("%w: %w", ErrDataLoss, err)
		}
	case strings.Contains(err.Error(), "converting driver.Value type"), strings.Contains(err.Error(), "Scan error"):
		return fmt.Errorf("%w: %w", ErrDataLoss, err) // a column of another type than was stored
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func isPostgres(err error) bool {
	var known *pgconn.PgError
	return errors.As(err, &known)
}

// postgresCode returns the SQLSTATE of an error; "" where it has none.
func postgresCode(err error) string {
	var known *pgconn.PgError
	if errors.As(err, &known) {
		return known.Code
	}
	return ""
}

// refusal returns what an error of the database says of the values of a row: an
// index has another one, or they cannot be stored at all. nil: it says nothing
// of that kind.
func refusal(err error) error {
	var lite *sqlite.Error
	code := postgresCode(err)
	switch {
	case errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_CONSTRAINT, code == "23505":
		return ErrConflict
	case errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_TOOBIG,
		strings.HasPrefix(code, "22"), strings.HasPrefix(code, "54"):
		return ErrInvalid
	}
	return nil
}

// sleep waits; false when ctx has ended.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
