package infrastructure

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCoverageInTheManifest(t *testing.T) {
	links := []string{
		"            - name: GOCOVERDIR\n              value: /coverdata\n",
		"            - name: coverdata\n              mountPath: /coverdata\n",
		"        - name: coverdata\n          hostPath:\n            path: /coverdata\n            type: DirectoryOrCreate\n",
	}
	for value, want := range map[string]bool{"": false, "false": false, "1": false, "true": true} {
		t.Setenv(EnvCoverage, value)
		text, err := RenderManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if strings.Contains(text, link) != want {
				t.Errorf("E2E_COVERAGE=%s: %q in the manifest is %v", value, link, !want)
			}
		}
	}
}

func TestCoverageInTheImageBuild(t *testing.T) {
	t.Setenv(EnvCoverage, "true")
	if got := ImageBuild("/src").String(); !strings.Contains(got, " --build-arg GOFLAGS=-cover ") {
		t.Errorf("got %q", got)
	}
	t.Setenv(EnvCoverage, "")
	if got := ImageBuild("/src").String(); strings.Contains(got, "GOFLAGS") {
		t.Errorf("got %q", got)
	}
}

func TestBuildFlagsAreKept(t *testing.T) {
	t.Setenv("GOFLAGS", "-mod=readonly")
	t.Setenv(EnvCoverage, "true")
	if got := coverageBuildEnvironment(nil); !slices.Equal(got, []string{"GOFLAGS=-mod=readonly -cover"}) {
		t.Errorf("got %q", got)
	}
	t.Setenv(EnvCoverage, "")
	if got := coverageBuildEnvironment(nil); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestCoverageDir(t *testing.T) {
	root, err := ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(root, "coverdata")
	for _, tc := range []struct{ given, target, want string }{
		{"", "", own}, {"/preset", "", "/preset"}, {"/preset", "kind", own},
	} {
		t.Setenv("GOCOVERDIR", tc.given)
		t.Setenv(EnvTarget, tc.target)
		if got, err := CoverageDir(); err != nil || got != tc.want {
			t.Errorf("%+v: got %s, %v", tc, got, err)
		}
	}
}

func TestAPresetDirectoryKeepsItsFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "covmeta.1")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCOVERDIR", dir)
	t.Setenv(EnvTarget, "")
	if _, err := PrepareCoverageDir(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestNodesArePreparedForTheServicesUser(t *testing.T) {
	got := prepareNode("n").String()
	if !strings.HasPrefix(got, "docker exec n install -d -o 1001 -g ") || !strings.HasSuffix(got, " -m 0750 /coverdata") {
		t.Errorf("got %q", got)
	}
}

func TestCountStatements(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("mode: set\na b/x.go:1.2,3.4 3 1\ny.go:1.1,1.2 2 0\n")
	if covered, total, err := countStatements(path); err != nil || covered != 3 || total != 5 {
		t.Errorf("got %d of %d, %v", covered, total, err)
	}
	for _, bad := range []string{"x.go:1.2,3.4 three 1\n", "x\n"} {
		write(bad)
		if _, _, err := countStatements(path); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
