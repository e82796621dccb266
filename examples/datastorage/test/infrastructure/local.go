package infrastructure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// local is the service as a process of this machine.
type local struct {
	root     string
	progress io.Writer
	log      io.Writer
	dir      string // binary, database, log and address file
	life     *life
}

// life is one process of the service, from its start to its end.
type life struct {
	process  *os.Process
	addrFile string
	logFile  string
	ended    chan struct{} // closed at the end
	state    *os.ProcessState
	waitErr  error
}

// Start implements Target.
func (l *local) Start(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "datastorage-e2e-")
	if err != nil {
		return err
	}
	l.dir = dir
	if err := l.build(ctx); err != nil {
		return fmt.Errorf("build service: %w", err)
	}
	return l.launch()
}

// build runs the Dockerfile's own build command here.
func (l *local) build(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(l.root, Dockerfile))
	if err != nil {
		return err
	}
	script, err := LocalBuild(string(text), l.binary())
	if err != nil {
		return err
	}
	command := Command{Dir: l.root, Args: []string{"sh", "-ec", script}, Env: buildEnvironment()}
	// coverage wiring: begin
	announceBuild(l.progress)
	command.Env = coverageBuildEnvironment(command.Env)
	// coverage wiring: end
	if _, err := command.Output(ctx, l.log); err != nil {
		return err
	}
	// coverage wiring: begin
	say(l.progress, "Build completed successfully")
	// coverage wiring: end
	return nil
}

// buildEnvironment gives the Dockerfile's arguments their values.
func buildEnvironment() []string {
	return append(os.Environ(), "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
}

// LocalBuild takes the build command out of a Dockerfile and makes it write to
// output. The command is the same up to -a, which would build every package of
// every dependency again for each run of the tests; it does not change what
// the binary does.
func LocalBuild(dockerfile, output string) (string, error) {
	joined := strings.ReplaceAll(dockerfile, "\\\n", " ")
	var found []string
	for line := range strings.SplitSeq(joined, "\n") {
		if command, ok := strings.CutPrefix(line, "RUN "); ok && strings.Contains(command, "go build") {
			found = append(found, command)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the Dockerfile has %d build commands, not one", len(found))
	}
	command := strings.Join(strings.Fields(found[0]), " ")
	for _, edit := range [][2]string{{" -a ", " "}, {" -o data-storage ", " -o '" + output + "' "}} {
		if strings.Count(command, edit[0]) != 1 {
			return "", fmt.Errorf("the Dockerfile's build command has no%s", edit[0])
		}
		command = strings.Replace(command, edit[0], edit[1], 1)
	}
	return command, nil
}

func (l *local) binary() string {
	return filepath.Join(l.dir, "data-storage")
}

// launch starts the process. It picks a free port itself and tells it in a
// file that it writes when it listens.
func (l *local) launch() error {
	dir, err := os.MkdirTemp(l.dir, "life-")
	if err != nil {
		return err
	}
	x := &life{
		addrFile: filepath.Join(dir, "address"),
		logFile:  filepath.Join(dir, "log"),
		ended:    make(chan struct{}),
	}
	log, err := os.Create(x.logFile)
	if err != nil {
		return err
	}
	cmd := exec.Command(l.binary())
	cmd.Dir = l.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(),
		"DATASTORAGE_ADDR=127.0.0.1:0",
		"DATASTORAGE_ADDR_FILE="+x.addrFile,
		"DATASTORAGE_SQLITE_PATH="+filepath.Join(l.dir, "data-storage.db"),
	)
	for _, s := range ServiceSettings() {
		cmd.Env = append(cmd.Env, s.Name+"="+s.Value)
	}
	// coverage wiring: begin
	if cmd.Env, err = coverageRunEnvironment(cmd.Env); err != nil {
		return errors.Join(err, log.Close())
	}
	// coverage wiring: end
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start service: %w", err), log.Close())
	}
	x.process = cmd.Process
	say(l.log, fmt.Sprintf("DataStorage started as process %d", x.process.Pid))
	go func() {
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = nil // the state has the code
		}
		x.state, x.waitErr = cmd.ProcessState, errors.Join(err, log.Close())
		close(x.ended)
	}()
	l.life = x
	return nil
}

// hasEnded tells whether the process is gone.
func (x *life) hasEnded() bool {
	select {
	case <-x.ended:
		return true
	default:
		return false
	}
}

// BaseURL implements Target.
func (l *local) BaseURL(ctx context.Context) (string, error) {
	if l.life.hasEnded() {
		log, err := l.Logs(ctx)
		return "", errors.Join(fmt.Errorf("the service has ended, its log is:\n%s", log), err)
	}
	address, err := os.ReadFile(l.life.addrFile)
	if err != nil {
		return "", err
	}
	return "http://" + strings.TrimSpace(string(address)), nil
}

// Exec implements Target.
func (l *local) Exec(ctx context.Context, env []string, args ...string) (Result, error) {
	base := os.Environ()
	// coverage wiring: begin
	base, err := coverageRunEnvironment(base)
	if err != nil {
		return Result{}, err
	}
	// coverage wiring: end
	command := Command{Dir: l.dir, Env: append(base, env...), Args: append([]string{l.binary()}, args...)}
	return command.Run(ctx, l.log)
}

// Logs implements Target.
func (l *local) Logs(context.Context) (string, error) {
	text, err := os.ReadFile(l.life.logFile)
	return string(text), err
}

// BeginShutdown implements Target.
func (l *local) BeginShutdown(context.Context) error {
	return l.life.process.Signal(syscall.SIGTERM)
}

// awaitEnd waits for the process's end and judges it.
func (x *life) awaitEnd(ctx context.Context) error {
	select {
	case <-x.ended:
	case <-ctx.Done():
		return fmt.Errorf("process %d has not ended: %w", x.process.Pid, ctx.Err())
	}
	if x.waitErr != nil {
		return fmt.Errorf("wait for process %d: %w", x.process.Pid, x.waitErr)
	}
	if code := x.state.ExitCode(); code != 0 {
		return fmt.Errorf("process %d ended with %s, not with code 0", x.process.Pid, x.state)
	}
	return nil
}

// Replace implements Target.
func (l *local) Replace(ctx context.Context) error {
	if err := l.life.awaitEnd(ctx); err != nil {
		return err
	}
	return l.launch()
}

// KeepsData implements Target.
func (l *local) KeepsData() bool { return true }

// ScaleToZero implements Target: a signal, as the kubelet sends it, and then
// the real end of the process.
func (l *local) ScaleToZero(ctx context.Context) error {
	if err := l.BeginShutdown(ctx); err != nil {
		return fmt.Errorf("send SIGTERM: %w", err)
	}
	return l.life.awaitEnd(ctx)
}

// Destroy implements Target.
func (l *local) Destroy(ctx context.Context) error {
	var err error
	if l.life != nil && !l.life.hasEnded() {
		err = l.life.process.Kill()
		<-l.life.ended
	}
	if l.dir != "" {
		err = errors.Join(err, os.RemoveAll(l.dir))
	}
	return err
}
