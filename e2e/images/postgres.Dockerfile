# PostgreSQL from Debian's packages, for a database that lives as long as its
# container. It takes as much of the official image's settings as a test needs:
# see postgres-start.
ARG BASE
FROM ${BASE}
# Without create_main_cluster the package makes no database of its own.
RUN apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends postgresql-common >/dev/null \
	&& sed -i 's/^#create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends postgresql >/dev/null \
	&& rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
	&& install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data
COPY postgres-start /usr/local/bin/postgres-start
USER postgres
EXPOSE 5432
ENTRYPOINT ["/usr/local/bin/postgres-start"]
