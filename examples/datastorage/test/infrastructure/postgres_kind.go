package infrastructure

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"text/template"
)

// This file is PostgreSQL in the cluster.

// EnvPostgresImage names an image with PostgreSQL. With it the cluster has a
// database that the service uses, without it the service uses SQLite. The
// official image and any that takes its POSTGRES_USER will do.
const EnvPostgresImage = "E2E_POSTGRES_IMAGE"

// Names of the database in the cluster.
const (
	postgresDeployment = "postgres"
	postgresUser       = "datastorage"
)

// postgresManifest is applied before the service's own, which cannot start
// without a database. The namespace stands in both. The database lives as long
// as its pod: tests need no more.
var postgresManifest = template.Must(template.New("postgres").Parse(`apiVersion: v1
kind: Namespace
metadata:
  name: {{.Namespace}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{.Name}}
  namespace: {{.Namespace}}
  labels:
    app: {{.Name}}
spec:
  replicas: 1
  strategy:
    type: Recreate
  selector:
    matchLabels:
      app: {{.Name}}
  template:
    metadata:
      labels:
        app: {{.Name}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: postgres
          image: {{.Image}}
          imagePullPolicy: Never
          # A crash of the machine takes the data with it anyway.
          args: ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
          ports:
            - name: postgres
              containerPort: 5432
          env:
            - name: POSTGRES_USER
              value: {{.User}}
            - name: POSTGRES_DB
              value: postgres
            - name: POSTGRES_HOST_AUTH_METHOD
              value: trust
          readinessProbe:
            tcpSocket:
              port: postgres
            periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: {{.Name}}
  namespace: {{.Namespace}}
spec:
  selector:
    app: {{.Name}}
  ports:
    - name: postgres
      port: 5432
      targetPort: postgres
`))

// postgresImage is the image that the environment names, or nothing.
func postgresImage() string {
	return os.Getenv(EnvPostgresImage)
}

// clusterSettings are the settings of the service that only a cluster has.
func clusterSettings() []Setting {
	if postgresImage() == "" {
		return nil
	}
	url := fmt.Sprintf("postgres://%s@%s:5432/postgres?sslmode=disable", postgresUser, postgresDeployment)
	return []Setting{{"DATABASE_URL", url}}
}

// renderPostgres returns the database's manifest.
func renderPostgres() (string, error) {
	var out bytes.Buffer
	values := map[string]string{
		"Namespace": Namespace,
		"Name":      postgresDeployment,
		"Image":     postgresImage(),
		"User":      postgresUser,
	}
	if err := postgresManifest.Execute(&out, values); err != nil {
		return "", fmt.Errorf("render manifest of PostgreSQL: %w", err)
	}
	return out.String(), nil
}

// startPostgres brings the database up, if the environment asks for one, and
// waits until it takes connections.
func (k *kind) startPostgres(ctx context.Context) error {
	if postgresImage() == "" {
		return nil
	}
	if err := k.run(ctx, k.kind("load", "docker-image", postgresImage())); err != nil {
		return fmt.Errorf("load image of PostgreSQL: %w", err)
	}
	text, err := renderPostgres()
	if err != nil {
		return err
	}
	if err := k.apply(ctx, text); err != nil {
		return fmt.Errorf("apply manifest of PostgreSQL: %w", err)
	}
	if err := k.rollout(ctx, postgresDeployment); err != nil {
		return err
	}
	say(k.progress, "PostgreSQL ready in the cluster")
	return nil
}
