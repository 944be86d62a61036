# SPDX-License-Identifier: Apache-2.0
# What the scripts share; sourced, never run. It expects `set -euo pipefail` of its caller.

vesper_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# The oldest Vulkan headers and registry that the code generator reads (the N of 1.4.N), and the
# oldest Mesa whose lavapipe speaks Vulkan 1.4.
vesper_minimum_headers=309
vesper_minimum_mesa=25
# One version for everybody, since every version formats a little differently.
vesper_clang_format=clang-format-19

say() { printf '%s\n' "$*"; }

# Ends the script with one sentence on stderr.
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Prints the header version (the N of 1.4.N) under the prefix $1; nothing if it has no headers or
# no registry.
vulkan_header_version() {
  if [[ -f "$1/include/vulkan/vulkan_core.h" && -f "$1/share/vulkan/registry/vk.xml" ]]; then
    sed -n 's/^#define VK_HEADER_VERSION \([0-9]\+\)$/\1/p' "$1/include/vulkan/vulkan_core.h"
  fi
}

# Prints the manifest of the lavapipe to use: the one that setup unpacked beside the sources, or
# the system's.
lavapipe_manifest() {
  local manifest
  for manifest in "$vesper_root"/.deps/lavapipe/lvp_icd.json \
                  /usr/share/vulkan/icd.d/lvp_icd*.json; do
    if [[ -f "$manifest" ]]; then
      say "$manifest"
      return
    fi
  done
  fail "no manifest of lavapipe in /usr/share/vulkan/icd.d; run scripts/setup."
}

# Number of parallel compile jobs: one for each core, but never more than the memory can carry
# at about 2 GiB for each compiler.
build_jobs() {
  local cores memory_gib jobs
  cores="$(nproc)"
  memory_gib="$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)"
  jobs=$((memory_gib / 2 < cores ? memory_gib / 2 : cores))
  say $((jobs > 1 ? jobs : 1))
}

# Prints the files of the checkout that match any of the patterns, tracked or new, one a line.
project_files() {
  git -C "$vesper_root" ls-files --cached --others --exclude-standard --deduplicate -- "$@" |
    while IFS= read -r file; do
      # A file that was removed but not committed yet is still listed.
      [[ ! -f "$vesper_root/$file" ]] || say "$file"
    done
}
