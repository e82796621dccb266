// Package twin_test proves that the coverage wiring has no impact on normal
// end-to-end tests: while it is switched off, manifest, build command and
// binary are those of a tree that never had any wiring.
package twin_test

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"covtap.example/datastorage/test/infrastructure"
)

// makeTwin returns the root of this tree and that of its un-wired twin.
func makeTwin(t *testing.T) (wired, twin string) {
	t.Helper()
	wired, err := infrastructure.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	twin = filepath.Join(t.TempDir(), "twin")
	run(t, wired, nil, filepath.Join(wired, "hack", "unwire-twin.sh"), twin)
	return wired, twin
}

// run runs a program in a folder, without the variables that switch coverage
// on and with the given ones, and returns its output.
func run(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "E2E_COVERAGE", "GOCOVERDIR", "GOFLAGS":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func TestManifestIsTheSameWhileSwitchedOff(t *testing.T) {
	wired, twin := makeTwin(t)
	render := []string{"go", "run", "./test/infrastructure/rendermanifest"}
	off := run(t, wired, nil, render...)
	without := run(t, twin, nil, render...)
	if off != without {
		t.Errorf("the manifests differ.\nwired, switched off:\n%s\nun-wired:\n%s", off, without)
	}
	// Without this, a manifest that never changes would pass as well.
	on := run(t, wired, []string{"E2E_COVERAGE=true"}, render...)
	if on == off || !strings.Contains(on, "GOCOVERDIR") {
		t.Errorf("E2E_COVERAGE=true does not reach the manifest:\n%s", on)
	}
	if twinOn := run(t, twin, []string{"E2E_COVERAGE=true"}, render...); twinOn != without {
		t.Errorf("E2E_COVERAGE=true reaches the manifest of the un-wired tree:\n%s", twinOn)
	}
}

// TestBinaryIsTheSameWhileSwitchedOff runs the build command of each tree's
// Dockerfile and compares what comes out. A binary holds the path of its
// sources (the image builds both in /src), and the two trees lie in different
// folders here: -trimpath takes the paths out. The wired command gets it
// through GOFLAGS, which it passes on; that is the very variable which -cover
// comes in when coverage is on.
func TestBinaryIsTheSameWhileSwitchedOff(t *testing.T) {
	wired, twin := makeTwin(t)
	off := buildBinary(t, wired, "-trimpath")
	without := buildBinary(t, twin, "-trimpath")
	if off != without {
		t.Errorf("the binaries differ: sha256 %x (wired, switched off) and %x (un-wired)", off, without)
	}
	if on := buildBinary(t, wired, "-trimpath -cover"); on == off {
		t.Error("GOFLAGS=-cover does not reach the binary of the wired tree")
	}
}

// TestNoFlagsIsTheSameAsEmptyFlags closes the gap that the test above leaves:
// in the image the wired command runs with GOFLAGS= and the un-wired one
// without GOFLAGS. Both are built in one folder, so -trimpath is not needed.
func TestNoFlagsIsTheSameAsEmptyFlags(t *testing.T) {
	wired, _ := makeTwin(t)
	empty := buildBinary(t, wired, "")
	script := buildScript(t, wired, filepath.Join(t.TempDir(), "unset"))
	withoutFlags := strings.Replace(script, " GOFLAGS=${GOFLAGS}", "", 1)
	if withoutFlags == script {
		t.Fatalf("the build command does not use GOFLAGS: %s", script)
	}
	if unset := buildWith(t, wired, withoutFlags, nil); unset != empty {
		t.Errorf("an empty GOFLAGS changes the binary: sha256 %x and %x", empty, unset)
	}
}

func buildBinary(t *testing.T, root, goflags string) [sha256.Size]byte {
	t.Helper()
	script := buildScript(t, root, filepath.Join(t.TempDir(), "data-storage"))
	return buildWith(t, root, script, []string{"GOFLAGS=" + goflags})
}

// buildScript is the Dockerfile's build command, writing to output.
func buildScript(t *testing.T, root, output string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, infrastructure.Dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	script, err := infrastructure.LocalBuild(string(text), output)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

func buildWith(t *testing.T, root, script string, env []string) [sha256.Size]byte {
	t.Helper()
	env = append(env, "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	run(t, root, env, "sh", "-ec", script)
	_, output, _ := strings.Cut(script, " -o '")
	output, _, _ = strings.Cut(output, "'")
	binary, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(binary)
}
