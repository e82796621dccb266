package infrastructure

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func dockerfile(t *testing.T) string {
	t.Helper()
	root, err := ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, Dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLocalBuildIsTheDockerfilesCommand(t *testing.T) {
	script, err := LocalBuild(dockerfile(t), "/out/data-storage")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"CGO_ENABLED=0 GOOS=${GOOS} GOARCH=${GOARCH} ",
		`go build -ldflags='-w -s -extldflags "-static"' -installsuffix cgo -o '/out/data-storage' ./cmd/datastorage/main.go`,
	} {
		if !strings.Contains(script, part) {
			t.Errorf("%q is not in %q", part, script)
		}
	}
}

func TestLocalBuildRefusesADockerfileItDoesNotUnderstand(t *testing.T) {
	text := dockerfile(t)
	for name, changed := range map[string]string{
		"no build":      strings.Replace(text, "go build", "go vet", 1),
		"two builds":    text + "\nRUN go build -a -o data-storage .\n",
		"other output":  strings.Replace(text, "-o data-storage", "-o ds", 1),
		"without -a":    strings.Replace(text, "-a -installsuffix", "-installsuffix", 1),
		"empty":         "",
		"comments only": "# RUN go build\n",
	} {
		if script, err := LocalBuild(changed, "x"); err == nil {
			t.Errorf("%s: got %q, want an error", name, script)
		}
	}
}

func TestDockerfileCreatesTheUserByName(t *testing.T) {
	text := dockerfile(t)
	for _, line := range []string{"USER data-storage-user\n", "useradd --uid 1001 ", "COPY --from=builder /src/data-storage " + Binary + "\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("the Dockerfile has no %q", line)
		}
	}
}

func TestManifestNamesEverything(t *testing.T) {
	text, err := RenderManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"\n  namespace: datastorage-e2e\n", "\n  name: datastorage\n", "\n      app: datastorage\n",
		"image: data-storage:e2e\n", "nodePort: 30080\n", "- name: DATASTORAGE_RATE_LIMIT\n              value: \"25\"\n",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the manifest has no %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "{{") || strings.Contains(text, "<no value>") {
		t.Errorf("the manifest is not rendered completely:\n%s", text)
	}
}

func TestImageBuildPassesTheBaseImages(t *testing.T) {
	t.Setenv(EnvBuilderImage, "builder:1")
	t.Setenv(EnvRuntimeImage, "")
	command := ImageBuild("/src")
	want := "docker build -f docker/data-storage.Dockerfile -t data-storage:e2e --build-arg BUILDER_IMAGE=builder:1"
	if got := command.String(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " .") || command.Dir != "/src" {
		t.Errorf("got %q in %s", got, command.Dir)
	}
}

func TestKindCommands(t *testing.T) {
	k := &kind{root: "/src", kubeconfig: "/tmp/kc"}
	for want, command := range map[string]Command{
		"kind create cluster --config test/infrastructure/kind-datastorage-config.yaml --name datastorage-e2e": k.kind("create", "cluster", "--config", KindConfig),
		"kubectl --kubeconfig /tmp/kc -n datastorage-e2e scale deployment/datastorage --replicas=0":            k.kubectl("scale", "deployment/"+Deployment, "--replicas=0"),
	} {
		if got := command.String(); got != want || command.Dir != "/src" {
			t.Errorf("got %q in %s, want %q", got, command.Dir, want)
		}
	}
	for image, want := range map[string]string{"": " --wait 180s --name datastorage-e2e", "node:1": " --image node:1 --name datastorage-e2e"} {
		t.Setenv(EnvNodeImage, image)
		if got := k.create().String(); !strings.HasSuffix(got, want) {
			t.Errorf("%s=%s: got %q", EnvNodeImage, image, got)
		}
	}
}

func TestNewTarget(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	for name, want := range map[string]bool{"": true, "local": true, "kind": true, "cloud": false} {
		t.Setenv(EnvTarget, name)
		if _, err := NewTarget(io.Discard, io.Discard); (err == nil) != want {
			t.Errorf("E2E_TARGET=%s: %v", name, err)
		}
	}
	t.Setenv(EnvTarget, "kind")
	t.Setenv("DATABASE_URL", "postgres://x")
	if _, err := NewTarget(io.Discard, io.Discard); err == nil {
		t.Error("a cluster with DATABASE_URL must be refused")
	}
}

func TestCommandTellsCodeAndLastLine(t *testing.T) {
	c := Command{Args: []string{"sh", "-c", "echo out; echo first >&2; echo last >&2; exit 7"}}
	result, err := c.Run(t.Context(), io.Discard)
	if err != nil || result.ExitCode != 7 || result.Stdout != "out\n" {
		t.Errorf("got %+v, %v", result, err)
	}
	if _, err := c.Output(t.Context(), io.Discard); err == nil || err.Error() != "sh ended with code 7: last" {
		t.Errorf("got %v", err)
	}
	var missing *exec.Error
	if _, err := (Command{Args: []string{"no-such-program"}}).Run(t.Context(), io.Discard); !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
}

func TestMajorVersion(t *testing.T) {
	for path, want := range map[string]int{"/usr/lib/postgresql/15/bin/initdb": 15, "/usr/local/bin/initdb": 0} {
		if got := majorVersion(path); got != want {
			t.Errorf("majorVersion(%s) = %d, want %d", path, got, want)
		}
	}
}
