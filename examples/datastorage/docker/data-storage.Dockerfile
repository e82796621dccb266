# The image of the data storage service. Both base images are arguments, so
# that it can be built where no registry is reachable.
ARG BUILDER_IMAGE=golang:1.26-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILDER_IMAGE} AS builder

ARG GOOS=linux
ARG GOARCH
# coverage wiring: begin
# GOFLAGS=-cover builds a binary that counts what it executes.
ARG GOFLAGS
# coverage wiring: end

WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd ./cmd
COPY pkg ./pkg

RUN CGO_ENABLED=0 GOOS=${GOOS} GOARCH=${GOARCH} GOFLAGS=${GOFLAGS} go build \
	-ldflags='-w -s -extldflags "-static"' \
	-a -installsuffix cgo \
	-o data-storage \
	./cmd/datastorage/main.go

FROM ${RUNTIME_IMAGE}

RUN groupadd --gid 1001 data-storage-user \
	&& useradd --uid 1001 --gid 1001 --no-create-home --shell /usr/sbin/nologin data-storage-user \
	&& install -d -o 1001 -g 1001 -m 0750 /var/lib/data-storage

COPY --from=builder /src/data-storage /usr/local/bin/data-storage

USER data-storage-user
WORKDIR /var/lib/data-storage
ENV DATASTORAGE_SQLITE_PATH=/var/lib/data-storage/data-storage.db
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/data-storage"]
