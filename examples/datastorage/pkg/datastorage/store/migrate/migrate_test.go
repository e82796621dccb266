package migrate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func files(names ...string) fstest.MapFS {
	fs := fstest.MapFS{}
	for _, name := range names {
		fs["m/"+name] = &fstest.MapFile{Data: []byte("-- " + name)}
	}
	return fs
}

func TestLoad(t *testing.T) {
	steps, err := Load(files("0002_b.sql", "0001_a.sql"), "m")
	if err != nil || len(steps) != 2 || steps[0].Name != "a" || steps[1].Version != 2 {
		t.Errorf("got %+v, %v", steps, err)
	}
	for _, bad := range [][]string{{"0001_a.sql", "0003_c.sql"}, {"1_a.sql"}, {"0001_a.sql", "0001_b.sql"}, {"README"}} {
		if _, err := Load(files(bad...), "m"); err == nil {
			t.Errorf("no error for %v", bad)
		}
	}
}

type fake struct {
	applied map[int]string
	ran     []int
}

func (f *fake) Applied(context.Context) (map[int]string, error) { return f.applied, nil }

func (f *fake) Apply(_ context.Context, m Migration) error {
	if m.Name == "bad" {
		return errors.New("syntax")
	}
	f.ran = append(f.ran, m.Version)
	return nil
}

func TestRun(t *testing.T) {
	a, b := Migration{1, "a", "", "x"}, Migration{2, "b", "", "y"}
	cases := map[string]struct {
		applied map[int]string
		steps   []Migration
		count   int
		err     string
	}{
		"new database":   {nil, []Migration{a, b}, 2, ""},
		"old database":   {map[int]string{1: "x"}, []Migration{a, b}, 1, ""},
		"up to date":     {map[int]string{1: "x", 2: "y"}, []Migration{a, b}, 0, ""},
		"newer database": {map[int]string{1: "x", 2: "y"}, []Migration{a}, 0, "newer build"},
		"changed file":   {map[int]string{1: "z"}, []Migration{a, b}, 0, "other content"},
		"failing step":   {nil, []Migration{a, {2, "bad", "", ""}}, 1, "apply migration 2 (bad): syntax"},
	}
	for name, tc := range cases {
		count, err := Run(context.Background(), &fake{applied: tc.applied}, tc.steps)
		if count != tc.count || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: got %d, %v", name, count, err)
		}
	}
}
