//go:build docker

package twin_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"covtap.example/datastorage/test/infrastructure"
)

// TestImageIsTheSameWhileSwitchedOff builds the image of each tree as the
// end-to-end tests do. The images are one and the same, layers and
// configuration: docker's cache takes a copied file for the same by its
// content, so the second build ends at the first one's layers.
func TestImageIsTheSameWhileSwitchedOff(t *testing.T) {
	wired, twin := makeTwin(t)
	off := buildImage(t, wired, nil)
	without := buildImage(t, twin, nil)
	if off.binary != without.binary {
		t.Errorf("the binaries in the images differ: sha256 %x (wired, switched off) and %x (un-wired)", off.binary, without.binary)
	}
	if off.id != without.id {
		t.Errorf("the images differ: %s (wired, switched off) and %s (un-wired)", off.id, without.id)
	}
	// Without this, an image that never changes would pass as well.
	if on := buildImage(t, wired, []string{"GOFLAGS=-cover"}); on.binary == off.binary || on.id == off.id {
		t.Error("--build-arg GOFLAGS=-cover does not reach the image of the wired tree")
	}
}

// image is what a build has made.
type image struct {
	id     string
	binary [sha256.Size]byte
}

// buildImage builds the image of a tree and takes the service out of it.
func buildImage(t *testing.T, root string, arguments []string) image {
	t.Helper()
	t.Setenv(infrastructure.EnvCoverage, "")
	command := infrastructure.ImageBuild(root).Args
	last := len(command) - 1 // the context
	words := append([]string{}, command[:last]...)
	for _, argument := range arguments {
		words = append(words, "--build-arg", argument)
	}
	run(t, root, nil, append(words, command[last])...)
	id := strings.TrimSpace(run(t, root, nil, "docker", "image", "inspect", "--format", "{{.Id}}", infrastructure.Image))
	container := strings.TrimSpace(run(t, root, nil, "docker", "create", id))
	t.Cleanup(func() { run(t, root, nil, "docker", "rm", container) })
	copied := filepath.Join(t.TempDir(), "data-storage")
	run(t, root, nil, "docker", "cp", container+":"+infrastructure.Binary, copied)
	binary, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	return image{id: id, binary: sha256.Sum256(binary)}
}
