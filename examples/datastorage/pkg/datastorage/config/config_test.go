package config

import (
	"strings"
	"testing"
	"time"
)

func load(env map[string]string) (Config, error) {
	return Load(func(name string) string { return env[name] })
}

func TestEmptyEnvironment(t *testing.T) {
	c, err := load(nil)
	if err != nil || c != Default() {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestOverrides(t *testing.T) {
	c, err := load(map[string]string{
		EnvAddr: "127.0.0.1:0", EnvMaxBatch: "7", EnvRateLimit: "0.5", EnvDrainDelay: "3s",
		EnvDatabaseURL: "postgres://u:p@h/d", EnvMaxBody: "2048", EnvSQLitePath: "/x.db",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxBatch != 7 || c.RateLimit != 0.5 || c.DrainDelay != 3*time.Second || c.MaxBody != 2048 {
		t.Errorf("got %+v", c)
	}
}

func TestEveryFaultIsNamedAndNoSecretIs(t *testing.T) {
	env := map[string]string{
		EnvAddr: "8080", EnvMaxBatch: "0", EnvMaxInFlight: "many", EnvRateLimit: "-1", EnvRequestTimeout: "1",
		EnvShutdownTimeout: "0s", EnvDatabaseURL: "postgres://u:geheim@h:port/d", EnvSQLitePath: "x?mode=ro", EnvMaxBody: "99999999999999999999",
	}
	_, err := load(env)
	if err == nil {
		t.Fatal("no error")
	}
	for name := range env {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "geheim") {
		t.Errorf("the password is in: %v", err)
	}
}
