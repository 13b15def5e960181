#!/bin/sh
# Make sure that this machine can compile CPython: a C compiler, make, and the headers of the libraries that
# the python package bundles. `system-packages.sh test`: that it has what the tests start themselves;
# `system-packages.sh bench`: what the benchmarks measure with and against.
# Installs what is missing where it may; otherwise says what to run. Nothing missing: no network, no output.
set -eu

purpose='to compile CPython'
# header or program: Debian package: Fedora package
wanted='
cc gcc gcc
make make make
ld binutils binutils
strip binutils binutils
objdump binutils binutils
openssl/ssl.h libssl-dev openssl-devel
ffi.h libffi-dev libffi-devel
sqlite3.h libsqlite3-dev sqlite-devel
lzma.h liblzma-dev xz-devel
bzlib.h libbz2-dev bzip2-devel
zlib.h zlib1g-dev zlib-devel
readline/readline.h libreadline-dev readline-devel
ncursesw/curses.h|curses.h libncurses-dev ncurses-devel
crypt.h libcrypt-dev libxcrypt-devel
'
if [ "${1:-}" = test ]; then
  purpose='by the tests'
  wanted='
redis-server redis-server redis
faketime faketime libfaketime
'
elif [ "${1:-}" = bench ]; then
  purpose='by the benchmarks'
  wanted='
redis-server redis-server redis
wrk wrk wrk
nginx nginx nginx
java default-jre-headless java-headless
'
fi

header() {
  for folder in /usr/include /usr/local/include /usr/include/*-linux-gnu; do
    if [ -e "$folder/$1" ]; then return 0; fi
  done
  return 1
}

present() {
  case "$1" in
    *'|'*) present "${1%%|*}" || present "${1#*|}" ;;
    *.h) header "$1" ;;
    *) command -v "$1" > /dev/null 2>&1 ;;
  esac
}

missing='' debian='' fedora=''
while read -r item on_debian on_fedora; do
  if [ -n "$item" ] && ! present "$item"; then
    missing="$missing $item" debian="$debian $on_debian" fedora="$fedora $on_fedora"
  fi
done << EOT
$wanted
EOT
if [ -z "$missing" ]; then exit 0; fi

if command -v apt-get > /dev/null 2>&1; then
  if [ "$(id -u)" -eq 0 ]; then
    echo "installing$debian"
    export DEBIAN_FRONTEND=noninteractive
    # An index that is only partly reachable may still have these.
    apt-get update -qq || true
    # shellcheck disable=SC2086 # a list of names
    if apt-get install -y -qq --no-install-recommends $debian > /dev/null; then exit 0; fi
    echo "error: apt-get could not install$debian; install them by hand and run this again" >&2
    exit 1
  fi
  command="sudo apt-get install -y$debian"
elif command -v dnf > /dev/null 2>&1; then
  command="sudo dnf install -y$fedora"
else
  command="your system's package manager for:$debian (names as on Debian)"
fi
echo "error: needed $purpose and not found:$missing; run: $command" >&2
exit 1
