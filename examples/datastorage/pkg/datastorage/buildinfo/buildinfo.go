// Package buildinfo tells which build of the program is running.
package buildinfo

import (
	"runtime"
	"runtime/debug"
)

// Version is set by the linker for releases.
var Version = "dev"

// Info describes a build.
type Info struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Modules  int    `json:"modules"`
}

// Read returns the running build.
func Read() Info {
	info := Info{
		Version:  Version,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		info.Modules = len(build.Deps)
	}
	return info
}
