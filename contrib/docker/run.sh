#!/bin/sh
# Runs docker-diag in a container with the least that a whole capture needs.
# usage: run.sh check --quiet --state /state …        (environment: IMAGE, STATE, DIAG_WEBHOOK, and its secrets)
#
# --network=host   the host's own addresses, routes and rules are what it is about
# --pid=host       /proc/PID/ns/net of the containers, to enter their network namespaces
# SYS_ADMIN        setns; SYS_PTRACE: that link and /proc/PID/root; NET_ADMIN: list rules; NET_RAW: those of
#                  iptables-legacy; DAC_READ_SEARCH: resolver files that belong to a container's user
# apparmor         Docker's own profile lets nobody look at a process of another profile
# docker.sock      `:ro` would protect nothing: whoever may talk to the engine is root on the host. DOCKER_SOCKET can
#                  be the socket of a filtering proxy instead, see docs/deploying.md
# /run/docker/netns  Docker's own namespaces, for overlay networks
# /var/lib/docker/containers   hosts and resolv.conf of containers
set -eu

exec docker run --rm \
  --network=host --pid=host \
  --cap-drop=ALL --cap-add=SYS_ADMIN --cap-add=SYS_PTRACE --cap-add=NET_ADMIN --cap-add=NET_RAW \
  --cap-add=DAC_READ_SEARCH \
  --security-opt=no-new-privileges --security-opt=apparmor=unconfined \
  --read-only --tmpfs=/tmp \
  --memory=2g --pids-limit=128 --cpu-shares=128 \
  --volume="${DOCKER_SOCKET:-/var/run/docker.sock}:/var/run/docker.sock" \
  --volume=/run/docker/netns:/run/docker/netns:ro \
  --volume=/var/lib/docker/containers:/var/lib/docker/containers:ro \
  --volume="${STATE:-docker-diag}:/state" \
  --env=DIAG_WEBHOOK --env=DIAG_WEBHOOK_TOKEN --env=DIAG_WEBHOOK_SECRET \
  ${RUN_OPTIONS:-} "${IMAGE:-docker-diag}" "$@"
