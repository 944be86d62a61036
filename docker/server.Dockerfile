# SPDX-License-Identifier: Apache-2.0
#
# vesperd with lavapipe, Mesa's Vulkan on the CPU, and with what the NVIDIA runtime's libraries need
# (docs/containers.md). From the top of the sources, after scripts/package:
#
#   docker build -f docker/server.Dockerfile -t vesper-server .
#
# It needs no capability, no writable file system but the socket's folder, and no user of its own:
# any number will do.
ARG BASE=debian:trixie-slim

FROM scratch AS packages
COPY build/packages/vesper-server_*.deb build/packages/vesper-tools_*.deb /

FROM ${BASE}
# What seldom changes comes first.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libvulkan1 libxext6 mesa-vulkan-drivers systemd-standalone-sysusers \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
RUN --mount=type=bind,from=packages,source=/,target=/packages \
    dpkg -i /packages/*.deb \
 && rm -f /var/log/dpkg.log \
 # Where other containers find the socket, and where drivers keep compiled shaders: like /tmp, so that
 # the server can have any number.
 && install -d -m 1777 /run/vesper /var/cache/vesper

ENV VESPER_SERVER=unix:/run/vesper/vesper.sock \
    XDG_CACHE_HOME=/var/cache/vesper \
    NVIDIA_DRIVER_CAPABILITIES=graphics,utility
VOLUME /run/vesper /var/cache/vesper
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=20s --start-period=5s CMD ["vesper", "ping"]
ENTRYPOINT ["vesperd"]
# Whoever has the folder mounted may use the GPU.
CMD ["--listen", "unix:/run/vesper/vesper.sock", "--socket-mode", "0666"]
