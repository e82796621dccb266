# The builder stage of a Go service's Dockerfile, where registries cannot be
# reached. Its context is made by `cargo xtask cluster images`: a Go toolchain
# and this machine's certificates. The lines with this machine's module proxy
# are added there too.
ARG BASE
FROM ${BASE}
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY go /usr/local/go
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV GOTOOLCHAIN=local
