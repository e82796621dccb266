package infrastructure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnvPostgres decides about PostgreSQL: "required" starts a server for the
// tests and fails without one, "optional" skips the tests without one, and
// empty leaves the choice of the database to DATABASE_URL.
const EnvPostgres = "E2E_POSTGRES"

// ErrNoPostgres says that the machine has no PostgreSQL.
var ErrNoPostgres = errors.New("PostgreSQL is not installed: install the Debian package postgresql")

// Postgres is a PostgreSQL server that a test has started.
type Postgres struct {
	URL  string
	dir  string
	done chan error
	proc *os.Process
}

// StartPostgres starts a server over an empty database in a temporary
// directory, on a free port of this machine. As root it runs the server as
// another user, because PostgreSQL refuses to run as root.
func StartPostgres(ctx context.Context, log io.Writer) (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "datastorage-postgres-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{dir: dir}
	attributes, err := p.becomeUnprivileged()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"),
		"-D", data, "-U", "datastorage", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	initdb.Dir = dir
	initdb.Stdout, initdb.Stderr = log, log
	initdb.SysProcAttr = attributes
	if err := initdb.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w", err), os.RemoveAll(dir))
	}
	// Another program can take the free port before the server does.
	for attempt := 1; ; attempt++ {
		err = p.serve(ctx, filepath.Join(bin, "postgres"), data, attributes, log)
		if err == nil {
			return p, nil
		}
		if attempt == 3 || ctx.Err() != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
}

// postgresBin finds the newest server's programs: Debian keeps them out of
// PATH, by version.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", ErrNoPostgres
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return majorVersion(a) - majorVersion(b) })
	return filepath.Dir(newest), nil
}

// majorVersion reads the version out of Debian's path, or 0.
func majorVersion(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}

// becomeUnprivileged returns the attributes of the server's processes and
// gives them the directory.
func (p *Postgres) becomeUnprivileged() (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("find a user for PostgreSQL: %w", err)
		}
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(p.dir, int(uid), int(gid)); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// serve starts the server and waits until it answers.
func (p *Postgres) serve(ctx context.Context, program, data string, attributes *syscall.SysProcAttr, log io.Writer) error {
	port, err := freePort()
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	server := exec.Command(program, "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+p.dir,
		// The data live as long as the test: nothing must survive a crash.
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	server.Dir = p.dir
	server.Stdout, server.Stderr = log, log
	server.SysProcAttr = attributes
	if err := server.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.proc = server.Process
	p.done = make(chan error, 1)
	go func() { p.done <- server.Wait() }()
	p.URL = fmt.Sprintf("postgres://datastorage@127.0.0.1:%d/postgres?sslmode=disable", port)
	say(log, fmt.Sprintf("PostgreSQL started as process %d on port %d", p.proc.Pid, port))

	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		refused := ping(ctx, p.URL)
		if refused == nil {
			return nil
		}
		select {
		case err := <-p.done:
			return fmt.Errorf("PostgreSQL ended at once: %w", errors.Join(err, refused))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("PostgreSQL does not answer: %w", refused), p.end())
		case <-tick.C:
		}
	}
}

func ping(ctx context.Context, url string) error {
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(connection.Ping(ctx), connection.Close(ctx))
}

// end asks for a fast shutdown and waits for it.
func (p *Postgres) end() error {
	if err := p.proc.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	if err := <-p.done; err != nil {
		return fmt.Errorf("PostgreSQL did not end cleanly: %w", err)
	}
	return nil
}

// Stop ends the server and removes its directory.
func (p *Postgres) Stop() error {
	return errors.Join(p.end(), os.RemoveAll(p.dir))
}
