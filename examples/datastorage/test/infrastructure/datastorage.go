// Package infrastructure brings the data storage service up for end-to-end
// tests, as a process of this machine or in a Kind cluster, and takes it down
// again.
package infrastructure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// Names of everything that the tests create.
const (
	ClusterName = "datastorage-e2e"
	Namespace   = "datastorage-e2e"
	Deployment  = "datastorage"
	Selector    = "app=datastorage"
	Image       = "data-storage:e2e"
	NodePort    = "30080"
	Dockerfile  = "docker/data-storage.Dockerfile"
	KindConfig  = "test/infrastructure/kind-datastorage-config.yaml"
	Binary      = "/usr/local/bin/data-storage"
)

// Environment variables that the tests read.
const (
	EnvTarget       = "E2E_TARGET"        // local (default) or kind
	EnvBuilderImage = "E2E_BUILDER_IMAGE" // base image with Go, for kind
	EnvRuntimeImage = "E2E_RUNTIME_IMAGE" // base image of the service, for kind
	EnvNodeImage    = "E2E_NODE_IMAGE"    // image of the cluster's nodes, for kind
	EnvKeepCluster  = "E2E_KEEP_CLUSTER"  // true leaves the cluster for a look
)

// Target is a place where the service runs.
type Target interface {
	// Start brings the service up. It does not wait until it is ready.
	Start(ctx context.Context) error
	// BaseURL is where the service answers. It is an error that can pass as
	// long as the service has not told its address.
	BaseURL(ctx context.Context) (string, error)
	// Exec runs the service's program once more beside it, with additional
	// environment variables.
	Exec(ctx context.Context, env []string, args ...string) (Result, error)
	// Logs returns what the running service has logged.
	Logs(ctx context.Context) (string, error)
	// BeginShutdown asks the running service to end and does not wait.
	BeginShutdown(ctx context.Context) error
	// Replace waits for the end that BeginShutdown asked for, and starts the
	// service again over what it has stored, if that outlives it.
	Replace(ctx context.Context) error
	// KeepsData says whether stored events outlive the process.
	KeepsData() bool
	// ScaleToZero ends the service and waits until it is really gone. It is
	// an error if it did not end cleanly.
	ScaleToZero(ctx context.Context) error
	// Destroy removes everything that Start created.
	Destroy(ctx context.Context) error
}

// NewTarget returns the target that E2E_TARGET names. The steps are told to
// progress; commands and what they print go to log.
func NewTarget(progress, log io.Writer) (Target, error) {
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	switch name := os.Getenv(EnvTarget); name {
	case "", "local":
		return &local{root: root, progress: progress, log: log}, nil
	case "kind":
		if os.Getenv("DATABASE_URL") != "" {
			return nil, errors.New("DATABASE_URL is of no use with E2E_TARGET=kind: E2E_POSTGRES_IMAGE starts a database in the cluster")
		}
		return &kind{root: root, progress: progress, log: log}, nil
	default:
		return nil, fmt.Errorf("%s=%s: must be local or kind", EnvTarget, name)
	}
}

// ModuleRoot is the folder of go.mod, above the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}

// Setting is one environment variable of the service under test.
type Setting struct {
	Name, Value string
}

// ServiceSettings are the same for every target: limits small enough to be
// reached by a test.
func ServiceSettings() []Setting {
	return []Setting{
		{"DATASTORAGE_LOG_LEVEL", "debug"},
		{"DATASTORAGE_MAX_BATCH", "50"},
		{"DATASTORAGE_MAX_BODY_BYTES", "65536"},
		{"DATASTORAGE_RATE_LIMIT", "25"},
		{"DATASTORAGE_RATE_BURST", "60"},
	}
}

// manifest is the deployment in the cluster.
var manifest = template.Must(template.New("manifest").Parse(`apiVersion: v1
kind: Namespace
metadata:
  name: {{.Namespace}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{.Deployment}}
  namespace: {{.Namespace}}
  labels:
    app: datastorage
spec:
  replicas: 1
  selector:
    matchLabels:
      app: datastorage
  template:
    metadata:
      labels:
        app: datastorage
    spec:
      terminationGracePeriodSeconds: 30
      containers:
        - name: datastorage
          image: {{.Image}}
          imagePullPolicy: Never
          ports:
            - name: http
              containerPort: 8080
          env:
{{- range .Settings}}
            - name: {{.Name}}
              value: "{{.Value}}"
{{- end}}
{{- /* coverage wiring: begin */}}
{{- if .Coverage}}
            - name: GOCOVERDIR
              value: /coverdata
{{- end}}
{{- /* coverage wiring: end */}}
          readinessProbe:
            httpGet:
              path: /readyz
              port: http
            periodSeconds: 1
          livenessProbe:
            httpGet:
              path: /healthz
              port: http
          securityContext:
            allowPrivilegeEscalation: false
            capabilities:
              drop: ["ALL"]
          volumeMounts:
            - name: data
              mountPath: /var/lib/data-storage
{{- /* coverage wiring: begin */}}
{{- if .Coverage}}
            - name: coverdata
              mountPath: /coverdata
{{- end}}
{{- /* coverage wiring: end */}}
      volumes:
        - name: data
          emptyDir: {}
{{- /* coverage wiring: begin */}}
{{- if .Coverage}}
        - name: coverdata
          hostPath:
            path: /coverdata
            type: DirectoryOrCreate
{{- end}}
{{- /* coverage wiring: end */}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{.Deployment}}
  namespace: {{.Namespace}}
  labels:
    app: datastorage
spec:
  type: NodePort
  selector:
    app: datastorage
  ports:
    - name: http
      port: 8080
      targetPort: http
      nodePort: {{.NodePort}}
`))

// RenderManifest returns the manifest for the environment of this process.
func RenderManifest() (string, error) {
	values := map[string]any{
		"Namespace":  Namespace,
		"Deployment": Deployment,
		"Image":      Image,
		"NodePort":   NodePort,
		"Settings":   append(ServiceSettings(), clusterSettings()...),
	}
	// coverage wiring: begin
	values["Coverage"] = CoverageEnabled()
	// coverage wiring: end
	var out bytes.Buffer
	if err := manifest.Execute(&out, values); err != nil {
		return "", fmt.Errorf("render manifest: %w", err)
	}
	return out.String(), nil
}

// ImageBuild is the command that builds the service's image.
func ImageBuild(root string) Command {
	args := []string{"docker", "build", "-f", Dockerfile, "-t", Image}
	if image := os.Getenv(EnvBuilderImage); image != "" {
		args = append(args, "--build-arg", "BUILDER_IMAGE="+image)
	}
	if image := os.Getenv(EnvRuntimeImage); image != "" {
		args = append(args, "--build-arg", "RUNTIME_IMAGE="+image)
	}
	// coverage wiring: begin
	if CoverageEnabled() {
		args = append(args, "--build-arg", "GOFLAGS=-cover")
	}
	// coverage wiring: end
	return Command{Dir: root, Args: append(args, ".")}
}

// kind is the service in a Kind cluster.
type kind struct {
	root       string
	progress   io.Writer
	log        io.Writer
	dir        string // removed by Destroy
	kubeconfig string
	oldPods    []string
}

// Start implements Target. Kind is run in the module's root, because it reads
// relative host paths of its configuration from its working directory.
func (k *kind) Start(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "datastorage-e2e-")
	if err != nil {
		return err
	}
	k.dir = dir
	k.kubeconfig = filepath.Join(dir, "kubeconfig")
	// coverage wiring: begin
	announceBuild(k.progress)
	// coverage wiring: end
	if err := k.run(ctx, ImageBuild(k.root)); err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	// coverage wiring: begin
	say(k.progress, "Build completed successfully")
	// coverage wiring: end
	if err := k.run(ctx, k.create()); err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	if err := k.run(ctx, k.kind("load", "docker-image", Image)); err != nil {
		return fmt.Errorf("load image: %w", err)
	}
	// coverage wiring: begin
	if err := k.prepareCoverage(ctx); err != nil {
		return err
	}
	// coverage wiring: end
	if err := k.startPostgres(ctx); err != nil {
		return err
	}
	text, err := RenderManifest()
	if err != nil {
		return err
	}
	if err := k.apply(ctx, text); err != nil {
		return fmt.Errorf("apply manifest: %w", err)
	}
	return k.rollout(ctx, Deployment)
}

// create is the command that creates the cluster.
func (k *kind) create() Command {
	args := []string{"create", "cluster", "--config", KindConfig, "--kubeconfig", k.kubeconfig, "--wait", "180s"}
	if image := os.Getenv(EnvNodeImage); image != "" {
		args = append(args, "--image", image)
	}
	return k.kind(args...)
}

func (k *kind) apply(ctx context.Context, manifest string) error {
	command := k.kubectl("apply", "-f", "-")
	command.Stdin = manifest
	return k.run(ctx, command)
}

func (k *kind) rollout(ctx context.Context, deployment string) error {
	if err := k.run(ctx, k.kubectl("rollout", "status", "deployment/"+deployment, "--timeout=180s")); err != nil {
		return fmt.Errorf("wait for deployment %s: %w", deployment, err)
	}
	return nil
}

// BaseURL implements Target.
func (k *kind) BaseURL(ctx context.Context) (string, error) {
	command := Command{Dir: k.root, Args: []string{"docker", "port", ClusterName + "-control-plane", NodePort + "/tcp"}}
	out, err := command.Output(ctx, io.Discard)
	if err != nil {
		return "", fmt.Errorf("find port of the cluster: %w", err)
	}
	address, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	return "http://" + address, nil
}

// Exec implements Target.
func (k *kind) Exec(ctx context.Context, env []string, args ...string) (Result, error) {
	command := []string{"exec", "deployment/" + Deployment, "--", "env"}
	command = append(command, env...)
	command = append(command, Binary)
	return k.kubectl(append(command, args...)...).Run(ctx, k.log)
}

// Logs implements Target.
func (k *kind) Logs(ctx context.Context) (string, error) {
	pods := k.oldPods
	if len(pods) == 0 {
		var err error
		if pods, err = k.pods(ctx); err != nil {
			return "", err
		}
	}
	return k.kubectl("logs", pods[0]).Output(ctx, io.Discard)
}

// pods names the pods of the service; none is an error, because a wait for no
// pod would end at once and prove nothing.
func (k *kind) pods(ctx context.Context) ([]string, error) {
	out, err := k.kubectl("get", "pods", "-l", Selector, "-o", "name").Output(ctx, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	names := strings.Fields(out)
	if len(names) == 0 {
		return nil, fmt.Errorf("namespace %s has no pod with label %s", Namespace, Selector)
	}
	return names, nil
}

// BeginShutdown implements Target.
func (k *kind) BeginShutdown(ctx context.Context) error {
	pods, err := k.pods(ctx)
	if err != nil {
		return err
	}
	k.oldPods = pods
	return k.run(ctx, k.kubectl(append([]string{"delete", "--wait=false"}, pods...)...))
}

// Replace implements Target: the deployment makes the new pod by itself.
func (k *kind) Replace(ctx context.Context) error {
	if err := k.awaitGone(ctx, k.oldPods); err != nil {
		return err
	}
	k.oldPods = nil
	return k.rollout(ctx, Deployment)
}

// KeepsData implements Target: SQLite's database lies in an emptyDir.
func (k *kind) KeepsData() bool { return postgresImage() != "" }

// ScaleToZero implements Target.
func (k *kind) ScaleToZero(ctx context.Context) error {
	pods, err := k.pods(ctx)
	if err != nil {
		return err
	}
	if err := k.run(ctx, k.kubectl("scale", "deployment/"+Deployment, "--replicas=0")); err != nil {
		return fmt.Errorf("scale to 0: %w", err)
	}
	return k.awaitGone(ctx, pods)
}

func (k *kind) awaitGone(ctx context.Context, pods []string) error {
	args := append([]string{"wait", "--for=delete", "--timeout=120s"}, pods...)
	if err := k.run(ctx, k.kubectl(args...)); err != nil {
		return errors.Join(fmt.Errorf("wait for the end of %s: %w", strings.Join(pods, ", "), err), k.describe(ctx))
	}
	return nil
}

// describe logs what is needed to see why a pod does not end: what Kubernetes
// says of it, and the state of every process of the nodes (a T or t that stays
// is stopped or traced, a Z has not been waited for).
func (k *kind) describe(ctx context.Context) error {
	err := k.run(ctx, k.kubectl("describe", "pods"))
	nodes, listed := k.kind("get", "nodes").Output(ctx, k.log)
	err = errors.Join(err, listed)
	for _, node := range strings.Fields(nodes) {
		ps := Command{Args: []string{"docker", "exec", node, "ps", "-eo", "pid,ppid,stat,wchan:24,lstart,cmd"}}
		err = errors.Join(err, k.run(ctx, ps))
	}
	return err
}

// Destroy implements Target.
func (k *kind) Destroy(ctx context.Context) error {
	if k.dir == "" {
		return nil
	}
	if os.Getenv(EnvKeepCluster) == "true" {
		say(k.progress, "Cluster "+ClusterName+" is kept, its kubeconfig is "+k.kubeconfig)
		return nil
	}
	err := k.run(ctx, k.kind("delete", "cluster", "--kubeconfig", k.kubeconfig))
	return errors.Join(err, os.RemoveAll(k.dir))
}

// kind is a command of kind for our cluster.
func (k *kind) kind(args ...string) Command {
	return Command{Dir: k.root, Args: append(append([]string{"kind"}, args...), "--name", ClusterName)}
}

// kubectl is a command of kubectl for our namespace.
func (k *kind) kubectl(args ...string) Command {
	return Command{Dir: k.root, Args: append([]string{"kubectl", "--kubeconfig", k.kubeconfig, "-n", Namespace}, args...)}
}

func (k *kind) run(ctx context.Context, c Command) error {
	_, err := c.Output(ctx, k.log)
	return err
}

// say writes a line; a place that cannot be written to must not end a test.
func say(to io.Writer, line string) {
	if _, err := fmt.Fprintln(to, line); err != nil {
		fmt.Fprintln(os.Stderr, line)
	}
}
