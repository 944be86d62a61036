# SPDX-License-Identifier: Apache-2.0
#
# Nothing but the guest driver, its manifest and the tool, to be copied into images of your own:
#
#   docker build -f docker/icd.Dockerfile -t vesper-icd .      # after scripts/package
#
#   FROM debian:trixie-slim
#   RUN apt-get update && apt-get install -y --no-install-recommends libvulkan1
#   COPY --from=vesper-icd / /
#   ENV VESPER_SERVER=unix:/run/vesper/vesper.sock
#
# It runs on every distribution with glibc 2.35 or newer; the manifest names the driver relative to
# itself.
ARG BASE=debian:trixie-slim

FROM scratch AS packages
COPY build/packages/vesper-icd_*.deb build/packages/vesper-tools_*.deb /

FROM ${BASE} AS unpacked
RUN --mount=type=bind,from=packages,source=/,target=/packages \
    for package in /packages/*.deb; do dpkg-deb -x "$package" /vesper || exit 1; done

FROM scratch
COPY --from=unpacked /vesper/ /
