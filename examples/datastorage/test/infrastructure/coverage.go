package infrastructure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// This file is the coverage wiring as a whole; the other files call it in
// marked places. Without it and them the tree is as it was before coverage.

// Environment variables of the coverage wiring.
const (
	EnvCoverage = "E2E_COVERAGE" // true measures the coverage of the service
	// EnvPrepare set to false leaves the directory in the cluster's nodes as
	// Kind and the kubelet make it: owned by root, so that the service's user
	// cannot write to it.
	EnvPrepare = "E2E_PREPARE_COVERDATA"
	EnvProfile = "E2E_COVERAGE_PROFILE" // where to write the text profile
)

// CoverageMount is where the cluster's nodes and the container have the
// coverage directory.
const CoverageMount = "/coverdata"

// ServiceUser is the uid of data-storage-user.
const ServiceUser = 1001

// CoverageEnabled tells whether this run measures coverage.
func CoverageEnabled() bool {
	return os.Getenv(EnvCoverage) == "true"
}

// CoverageDir is where the service's coverage files end up on this machine:
// GOCOVERDIR if the environment has it, else coverdata in the module's root.
// In a cluster it is always the latter, because Kind's configuration says so.
func CoverageDir() (string, error) {
	if dir := os.Getenv("GOCOVERDIR"); dir != "" && os.Getenv(EnvTarget) != "kind" {
		return filepath.Abs(dir)
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "coverdata"), nil
}

// PrepareCoverageDir makes the directory. Files of an earlier run are removed
// from our own directory, not from one that the environment has named.
func PrepareCoverageDir() (string, error) {
	dir, err := CoverageDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make coverage directory: %w", err)
	}
	if os.Getenv("GOCOVERDIR") != "" {
		return dir, nil
	}
	files, err := coverageFiles(dir)
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			return "", fmt.Errorf("remove file of an earlier run: %w", err)
		}
	}
	return dir, nil
}

func coverageFiles(dir string) ([]string, error) {
	var files []string
	for _, pattern := range []string{"covmeta.*", "covcounters.*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

func announceBuild(progress io.Writer) {
	if CoverageEnabled() {
		say(progress, "Setting E2E_COVERAGE=true to enable GOFLAGS=-cover in Dockerfile")
		say(progress, "Building with coverage instrumentation (GOFLAGS=-cover)")
	}
}

// coverageBuildEnvironment adds -cover to the GOFLAGS that are there.
func coverageBuildEnvironment(env []string) []string {
	if !CoverageEnabled() {
		return env
	}
	flags := strings.TrimSpace(os.Getenv("GOFLAGS") + " -cover")
	return append(env, "GOFLAGS="+flags)
}

// coverageRunEnvironment adds the directory to the service's environment.
func coverageRunEnvironment(env []string) ([]string, error) {
	if !CoverageEnabled() {
		return env, nil
	}
	dir, err := CoverageDir()
	if err != nil {
		return nil, err
	}
	return append(env, "GOCOVERDIR="+dir), nil
}

// prepareCoverage makes the directory in every node writable for the service's
// user, and readable for the group of whoever runs the tests.
func (k *kind) prepareCoverage(ctx context.Context) error {
	if !CoverageEnabled() || os.Getenv(EnvPrepare) == "false" {
		return nil
	}
	out, err := k.kind("get", "nodes").Output(ctx, k.log)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, node := range strings.Fields(out) {
		if err := k.run(ctx, prepareNode(node)); err != nil {
			return fmt.Errorf("prepare coverage directory in node %s: %w", node, err)
		}
	}
	return nil
}

func prepareNode(node string) Command {
	return Command{Args: []string{
		"docker", "exec", node, "install", "-d",
		"-o", strconv.Itoa(ServiceUser), "-g", strconv.Itoa(os.Getgid()), "-m", "0750", CoverageMount,
	}}
}

// ReportCoverage prints what Go's own tool says about the directory. An empty
// directory is said loudly, but it is no error: the tests have passed.
func ReportCoverage(ctx context.Context, log io.Writer) error {
	dir, err := CoverageDir()
	if err != nil {
		return err
	}
	files, err := coverageFiles(dir)
	if err != nil {
		return err
	}
	say(log, fmt.Sprintf("Coverage directory %s has %d files", dir, len(files)))
	percent := Command{Args: []string{"go", "tool", "covdata", "percent", "-i=" + dir}}
	if _, err := percent.Output(ctx, log); err != nil {
		return fmt.Errorf("report coverage: %w", err)
	}
	if len(files) == 0 {
		say(log, "WARNING: no coverage was collected")
		return nil
	}
	profile, err := profilePath()
	if err != nil {
		return err
	}
	text := Command{Args: []string{"go", "tool", "covdata", "textfmt", "-i=" + dir, "-o", profile}}
	if _, err := text.Output(ctx, log); err != nil {
		return fmt.Errorf("write coverage profile: %w", err)
	}
	covered, total, err := countStatements(profile)
	if err != nil {
		return err
	}
	share := 0.0
	if total > 0 {
		share = 100 * float64(covered) / float64(total)
	}
	say(log, fmt.Sprintf("E2E coverage of DataStorage: %.1f%% of statements (%d of %d), profile %s", share, covered, total, profile))
	return nil
}

func profilePath() (string, error) {
	if path := os.Getenv(EnvProfile); path != "" {
		return path, nil
	}
	root, err := ModuleRoot()
	return filepath.Join(root, "coverage.txt"), err
}

// countStatements sums a text profile, whose lines end with the number of
// statements of a block and how often it ran.
func countStatements(path string) (covered, total int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		line := scanner.Text()
		if strings.HasPrefix(line, "mode: ") {
			continue
		}
		var statements, count int
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return 0, 0, fmt.Errorf("coverage profile %s: line %q is not a block", path, line)
		}
		if _, err := fmt.Sscan(fields[len(fields)-2]+" "+fields[len(fields)-1], &statements, &count); err != nil {
			return 0, 0, fmt.Errorf("coverage profile %s: line %q: %w", path, line, err)
		}
		total += statements
		if count > 0 {
			covered += statements
		}
	}
	return covered, total, scanner.Err()
}
