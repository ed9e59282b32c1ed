# The board in a container. Built by docker-compose.yml, or: docker build -f docker/server.Dockerfile -t kanvoy .
# Both bases can be replaced, by a mirror or by images made on the spot; the second must have the first one's libc or a newer.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release -p kanvoy

FROM ${RUN_IMAGE}
COPY --from=build /src/target/release/kanvoy /usr/local/bin/kanvoy
# By number: the base need not know a user of that name. Whoever mounts a folder at /data gives it to 10001:10001.
RUN install -d -o 10001 -g 10001 -m 0700 /data
USER 10001:10001
ENV KANVOY_DATA_DIR=/data KANVOY_LISTEN=0.0.0.0:8080 HOME=/data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# The binary asks itself over its own API, with the token in /data: no curl in the image, and no port that needs no login.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["kanvoy", "status", "--json"]
ENTRYPOINT ["kanvoy"]
CMD ["serve"]
