package infrastructure

import (
	"strings"
	"testing"
)

func TestPostgresInTheCluster(t *testing.T) {
	t.Setenv(EnvPostgresImage, "")
	text, err := RenderManifest()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "DATABASE_URL") {
		t.Errorf("without an image of PostgreSQL the service must use SQLite:\n%s", text)
	}
	t.Setenv(EnvPostgresImage, "pg:1")
	if text, err = RenderManifest(); err != nil {
		t.Fatal(err)
	}
	setting := "            - name: DATABASE_URL\n              value: \"postgres://datastorage@postgres:5432/postgres?sslmode=disable\"\n"
	if !strings.Contains(text, setting) {
		t.Errorf("the manifest has no %q:\n%s", setting, text)
	}
	if !(&kind{}).KeepsData() {
		t.Error("a database in a pod of its own outlives the service")
	}
	database, err := renderPostgres()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"image: pg:1\n", "  name: postgres\n", "value: datastorage\n", "port: 5432\n"} {
		if !strings.Contains(database, part) {
			t.Errorf("the manifest of PostgreSQL has no %q:\n%s", part, database)
		}
	}
}
