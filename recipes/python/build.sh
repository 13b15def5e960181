#!/usr/bin/env bash
# Compile CPython so that two runs give the same bytes and the result runs on a host without the
# libraries it was linked with.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022
# The linker would write it into every extension module, as an absolute path that hides the interpreter's.
unset LD_RUN_PATH
# An interpreter that only does a step of the build leaves no traces of having imported modules.
export PYTHONDONTWRITEBYTECODE=1

stdlib="$PREFIX/lib/python3.11"
bundled="$stdlib/lib-bundled"

fail() {
  echo "error: $*" >&2
  exit 1
}

# --- compile ---------------------------------------------------------------------------------------

# What is optional and would depend on what this host happens to have is left out everywhere.
cat > Modules/Setup.local <<SETUP
*disabled*
_dbm _gdbm _tkinter _uuid nis ossaudiodev
SETUP

# DT_RPATH of the executable, not DT_RUNPATH: only the former also holds for what the bundled libraries
# need themselves. A library of the environment goes before the bundled one of the same name.
rpath='$$ORIGIN/../lib:$$ORIGIN/../lib/python3.11/lib-bundled'
export LINKFORSHARED="-Xlinker -export-dynamic -Wl,--disable-new-dtags -Wl,-rpath,'$rpath'"
# The build id is a digest over the build's own path, among other things.
reproducible="-g0 -ffile-prefix-map=$SRC_DIR=."
./configure \
  --prefix="$PREFIX" \
  --without-ensurepip \
  --disable-test-modules \
  CFLAGS_NODIST="$reproducible" LDFLAGS_NODIST="-Wl,--build-id=none"
# Compiling every module three times is replaced by the step further down. Everything depends on the
# Makefile, so it is changed before the first run.
sed -i 's|-Wi .*compileall\.py \\$|-c "" \\|' Makefile
make -j"${CPU_COUNT:-2}"
make install

# --- leave out what nobody imports ------------------------------------------------------------------

cd "$PREFIX"
rm -rf bin/2to3* bin/idle3* "$stdlib"/{idlelib,tkinter,turtledemo,turtle.py,test,lib2to3/tests}
find "$stdlib" -type d \( -name test -o -name tests \) -prune -exec rm -rf {} +
find lib \( -name '*.a' -o -name 'python.o' -o -name 'xxlimited*' \) -delete
find "$stdlib" -name __pycache__ -type d -prune -exec rm -rf {} +
ln -sf python3.11 bin/python
find bin lib -type f \( -name 'python3.11' -o -name '*.so' \) -exec strip --strip-unneeded {} +

# --- nothing of the build's own directories stays ----------------------------------------------------

grep -rlIF -e "$SRC_DIR" -e "$reproducible" . | while read -r file; do
  sed -i -e "s| *$reproducible||g" -e "s|$SRC_DIR|/usr/src/python3.11|g" "$file"
done
if grep -rqF "$SRC_DIR" .; then
  fail "the build directory is named in: $(grep -rlF "$SRC_DIR" . | tr '\n' ' ')"
fi

# --- bundle the host's libraries ---------------------------------------------------------------------

license_of() {
  # The licence file that the host's package manager installed with a library.
  local real package
  real="$(readlink -f "$1")"
  if command -v dpkg-query > /dev/null; then
    package="$({ dpkg-query -S "$1" || dpkg-query -S "$real" || dpkg-query -S "${real#/usr}"; } 2> /dev/null \
      | head -n 1 | cut -d: -f1)"
    [ -f "/usr/share/doc/$package/copyright" ] && echo "/usr/share/doc/$package/copyright" && return
  fi
  if command -v rpm > /dev/null; then
    rpm -qf --licensefiles "$real" 2> /dev/null | grep -m 1 '^/' && return
  fi
  local own="$RECIPE_DIR/licenses/$(basename "$1")"
  [ -f "$own" ] && echo "$own"
}

mkdir -p "$bundled" "$SRC_DIR/library_licenses"
# Of the C library and the compiler's runtime there must be exactly one in a process: the host's.
core='^(linux-vdso|ld-linux.*|libc|libm|libdl|libpthread|librt|libutil|libresolv|libgcc_s|libstdc\+\+)\.so'
find bin/python3.11 "$stdlib/lib-dynload" -type f -exec ldd {} + \
  | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u \
  | while read -r soname path; do
      if [[ "$soname" =~ $core ]]; then continue; fi
      install -m 755 "$path" "$bundled/$soname"
      license="$(license_of "$path")" \
        || fail "no licence file found for $path; put one at recipes/python/licenses/$soname"
      install -m 644 "$license" "$SRC_DIR/library_licenses/$soname.txt"
    done

# --- compile the modules ------------------------------------------------------------------------------

# Unchecked hashes instead of times, and names relative to the prefix: equal wherever they are made. The
# interpreter replaces such a name by the real one when it imports the module. What names the prefix itself
# is left uncompiled: an installer can rewrite text and C strings, but neither a compiled module nor the
# hash of its source inside.
PYTHONHASHSEED=0 bin/python3.11 -I -B -m compileall -q -f -j "${CPU_COUNT:-2}" \
  --invalidation-mode unchecked-hash -s "$PREFIX/" "$stdlib" \
  -x 'bad_coding|badsyntax|site-packages'
grep -rlF --include='*.py' "$PREFIX" lib | while read -r file; do
  rm -f "$(dirname "$file")/__pycache__/$(basename "$file" .py)".*.pyc
done

if grep -rqF --include='*.pyc' "$PREFIX" lib; then
  fail "compiled modules name the prefix: $(grep -rlF --include='*.pyc' "$PREFIX" lib | tr '\n' ' ')"
fi

# --- check ----------------------------------------------------------------------------------------------

newest="$(find bin lib -type f \( -name 'python3.11' -o -name '*.so*' \) -exec objdump -T {} + \
  | grep -o 'GLIBC_2\.[0-9]*' | sort -t. -k2 -n -u | tail -n 1)"
echo "newest C library symbol used: $newest (declared: $GLIBC)"
if [ "${newest#GLIBC_2.}" -gt "${GLIBC#2.}" ]; then
  fail "symbols up to $newest are used, but the recipe declares glibc $GLIBC; set SLUICE_GLIBC=${newest#GLIBC_}"
fi
missing="$(bin/python3.11 -I -B -c '
import importlib.util
needed = "_bz2 _crypt _ctypes _curses _curses_panel _decimal _hashlib _lzma _sqlite3 _ssl readline zlib"
print(*[name for name in needed.split() if importlib.util.find_spec(name) is None])')"
[ -z "$missing" ] || fail "these modules were not built: $missing; run deploy/system-packages.sh and build again"
