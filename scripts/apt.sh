# SPDX-License-Identifier: Apache-2.0
# Packages of another suite of Debian than the machine's own, fetched from the same mirror with the same
# keyring and with apt's signature checks; the machine's own sources stay as they are. Sourced, never
# run, after lib.sh. It expects of its caller $codename (of the machine's own suite), $log (a file for
# apt's chatter), and scratch="" with a trap that removes that folder at the end.

# The options of apt with which a script waits and tries again.
patience=(-y -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)

# Runs apt-get with the options in private_apt, for what needs no root.
run_private_apt() {
  printf '+ apt-get %s\n' "$*" >>"$log"
  (cd "$scratch" && apt-get "${patience[@]}" "${private_apt[@]}" "$@") >>"$log" 2>&1 9>&-
}

# Prints, as a deb822 stanza for the suite $1, where this machine gets the main packages of its
# own release from: the same mirror and the same keyring.
stanza_for_suite() {
  local files=()
  shopt -s nullglob
  files=(/etc/apt/sources.list.d/*.sources)
  shopt -u nullglob
  if ((${#files[@]} > 0)); then
    awk -v own="$codename" -v suite="$1" '
      function has(list, word,    words, i, n) {
        n = split(list, words, /[ \t]+/)
        for (i = 1; i <= n; i++) if (words[i] == word) return 1
        return 0
      }
      function forget() { split("", field); key = "" }
      function finish() {
        if (!done && has(field["types"], "deb") && has(field["suites"], own) &&
            has(field["components"], "main") && field["enabled"] !~ /^no/) {
          split(field["uris"], uri, /[ \t\n]+/)
          print "Types: deb\nURIs: " uri[1] "\nSuites: " suite "\nComponents: main"
          if (field["signed-by"] != "") print "Signed-By: " field["signed-by"]
          done = 1
        }
        forget()
      }
      FNR == 1 { finish() }
      /^[ \t]*$/ { finish(); next }
      /^#/ { next }
      /^[ \t]/ { if (key != "") field[key] = field[key] "\n" $0; next }
      {
        key = tolower(substr($0, 1, index($0, ":") - 1))
        value = substr($0, index($0, ":") + 1)
        gsub(/^[ \t]+|[ \t]+$/, "", value)
        field[key] = value
      }
      END { finish(); exit !done }' "${files[@]}" && return
  fi
  shopt -s nullglob
  files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list)
  shopt -u nullglob
  awk -v own="$codename" -v suite="$1" '
    done || !/^deb[ \t]/ { next }
    {
      signed_by = ""
      if (match($0, /\[[^]]*\]/)) {
        options = substr($0, RSTART + 1, RLENGTH - 2)
        $0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
        if (match(options, /signed-by=[^ \t]+/)) {
          signed_by = substr(options, RSTART + 10, RLENGTH - 10)
          gsub(",", " ", signed_by)
        }
      }
      if ($3 != own || !/[ \t]main([ \t]|$)/) next
      print "Types: deb\nURIs: " $2 "\nSuites: " suite "\nComponents: main"
      if (signed_by != "") print "Signed-By: " signed_by
      done = 1
    }
    END { exit !done }' "${files[@]}" 2>/dev/null
}

# Makes a private apt world in $scratch that knows the suite $1, and with $2 = with-own also the
# machine's own sources; apt's options for it are left in the array private_apt.
make_private_apt() {
  [[ -z "$scratch" ]] || rm -rf "$scratch"
  scratch="$(mktemp -d)"
  chmod 755 "$scratch"
  mkdir -p "$scratch"/{sources.d,lists/partial,cache/archives/partial}
  if [[ "$2" == with-own ]]; then
    local file
    for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
      [[ ! -f "$file" ]] || cp "$file" "$scratch/sources.d/"
    done
    [[ ! -f /etc/apt/sources.list ]] || cp /etc/apt/sources.list "$scratch/sources.d/own.list"
  fi
  stanza_for_suite "$1" >"$scratch/sources.d/vesper.sources" ||
    fail "no source of '$codename main' was found in /etc/apt, so its mirror is not known;" \
         "add one (types deb, suite $codename) and run this script again."
  private_apt=(
    -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$scratch/sources.d"
    -o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch/cache"
    -o "Dir::Cache::archives=$scratch/cache/archives" -o "Acquire::Languages=none"
    -o "APT::Sandbox::User=root"
  )
  run_private_apt update ||
    fail "the mirror of this machine did not give the package lists of $1;" \
         "apt's output is in $log."
}

# Fetches packages through the private apt and unpacks them into the folder $1.
unpack_packages() {
  local into="$1" deb
  shift
  run_private_apt download "$@" ||
    fail "could not download $*; apt's output is in $log."
  for deb in "$scratch"/*.deb; do
    dpkg -x "$deb" "$into" || fail "could not unpack $(basename "$deb") into $into."
    rm -f "$deb"
  done
}
