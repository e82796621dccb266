package infrastructure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Command is a program to run, with everything that decides what it does.
type Command struct {
	Dir   string
	Env   []string // the whole environment; nil means that of this process
	Stdin string
	Args  []string
}

// String is the command as a person would type it.
func (c Command) String() string {
	parts := make([]string, len(c.Args))
	for i, arg := range c.Args {
		parts[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n'\"$\\*") {
			parts[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(parts, " ")
}

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// Run runs the command and copies its output to log while it comes. A command
// that ends with another code than 0 is a Result, not an error.
func (c Command) Run(ctx context.Context, log io.Writer) (Result, error) {
	if _, err := fmt.Fprintf(log, "+ %s\n", c); err != nil {
		return Result{}, err
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = c.Env
	if c.Stdin != "" {
		cmd.Stdin = strings.NewReader(c.Stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout = io.MultiWriter(&stdout, log)
	cmd.Stderr = io.MultiWriter(&stderr, log)
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result, fmt.Errorf("run %s: %w", c.Args[0], err)
	}
	if ctx.Err() != nil {
		return result, fmt.Errorf("run %s: %w", c.Args[0], ctx.Err())
	}
	return result, nil
}

// Output runs the command and returns its standard output. A command that
// ends with another code than 0 is an error here.
func (c Command) Output(ctx context.Context, log io.Writer) (string, error) {
	result, err := c.Run(ctx, log)
	if err != nil {
		return "", err
	}
	if result.ExitCode != 0 {
		return "", fmt.Errorf("%s ended with code %d: %s", c.Args[0], result.ExitCode, lastLine(result.Stderr))
	}
	return result.Stdout, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
