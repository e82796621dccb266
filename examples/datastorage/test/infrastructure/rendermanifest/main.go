// Command rendermanifest prints the manifest that the end-to-end tests apply,
// for the environment it is run in.
package main

import (
	"fmt"
	"os"

	"covtap.example/datastorage/test/infrastructure"
)

func main() {
	text, err := infrastructure.RenderManifest()
	if err == nil {
		_, err = fmt.Print(text)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "rendermanifest: %v\n", err)
		os.Exit(1)
	}
}
