# SPDX-License-Identifier: Apache-2.0
#
# What a program needs to use a GPU that is outside of its container: the loader, the guest driver,
# and tools to look whether it works. From the top of the sources, after scripts/package:
#
#   docker build -f docker/guest.Dockerfile -t vesper-guest .
#
# Images of your own can begin from this one, or copy the driver from docker/icd.Dockerfile's.
ARG BASE=debian:trixie-slim

FROM scratch AS packages
COPY build/packages/vesper-icd_*.deb build/packages/vesper-tools_*.deb /

FROM ${BASE}
# What seldom changes comes first.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libvulkan1 vulkan-tools \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
RUN --mount=type=bind,from=packages,source=/,target=/packages \
    dpkg -i /packages/*.deb \
 && rm -f /var/log/dpkg.log \
 # Where the socket's volume is mounted.
 && install -d -m 1777 /run/vesper

ENV VESPER_SERVER=unix:/run/vesper/vesper.sock
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=20s --start-period=5s CMD ["vesper", "ping"]
CMD ["vesper", "doctor"]
