// Command data-storage keeps audit events and serves them over HTTP. All
// settings are environment variables; see package config.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"covtap.example/datastorage/pkg/datastorage/app"
	"covtap.example/datastorage/pkg/datastorage/buildinfo"
	"covtap.example/datastorage/pkg/datastorage/config"
)

func main() {
	os.Exit(run())
}

// run returns the exit code: 0 after a clean shutdown, 1 after a failure.
func run() int {
	version := flag.Bool("version", false, "print the version and exit")
	check := flag.Bool("check-config", false, "check the configuration and exit")
	probe := flag.String("probe", "", "ask this URL for status 200 and exit; for images without a shell")
	flag.Parse()

	var err error
	switch {
	case *version:
		err = json.NewEncoder(os.Stdout).Encode(buildinfo.Read())
	case *check:
		_, err = config.FromEnvironment()
	case *probe != "":
		err = ask(*probe)
	default:
		err = serve()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "data-storage: %v\n", err)
		return 1
	}
	return 0
}

// serve runs the service until SIGTERM or SIGINT.
func serve() error {
	c, err := config.FromEnvironment()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return app.Run(ctx, c, os.Stderr)
}

func ask(url string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
