#!/bin/sh
# Makes the virtual environment VENV with the locked dependencies, or leaves one alone that is up to date:
#
#   setup.sh VENV [PYTHON]     PYTHON: a name or path; without it the first that needs no compiler is taken
#   setup.sh --find PYTHON     prints the path of that interpreter; exit code 1 when it is not here
#
# Exit code 3 when packages of the machine are missing, which are named.
#
# plyvel has wheels for Python 3.11 and 3.12. For 3.13 and 3.14 it is built, which needs LevelDB's headers. For 3.14 coincurve
# is built too, by CMake and from a library that its build downloads; that is left to the user's luck and told when it fails.
set -eu

SUPPORTED="3.11 3.12 3.13 3.14"
WITH_WHEELS="3.11 3.12"

OTHER_PYTHON="Python 3.12 needs no building: install it and say make setup PYTHON=python3.12"
LACKS_PACKAGES=3

die() {
  echo "setup: $*" >&2
  exit 1
}

# The machine lacks packages; .ci/run tells this from other faults.
lacks() {
  echo "setup: $*" >&2
  exit "$LACKS_PACKAGES"
}

# 3.12, of an interpreter that runs; the empty string of any other
version_of() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

is_in() {
  case " $2 " in *" $1 "*) [ -n "$1" ] ;; *) false ;; esac
}

# The interpreter by this name, also one that pyenv has but does not activate.
find_python() {
  for candidate in "$(command -v "$1" 2>/dev/null || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/"$1"; do
    if [ -n "$candidate" ] && [ -n "$(version_of "$candidate")" ]; then
      echo "$candidate"
      return
    fi
  done
  false
}

# The first interpreter of these names whose version is one of the list.
first_of() {
  versions=$1
  shift
  for name; do
    if found=$(find_python "$name") && is_in "$(version_of "$found")" "$versions"; then
      echo "$found"
      return
    fi
  done
  false
}

choose_python() {
  first_of "$WITH_WHEELS" python3 python3.12 python3.11 && return
  if command -v uv >/dev/null; then
    uv python find --quiet 3.12 2>/dev/null && return
    uv python install --quiet 3.12 2>/dev/null && uv python find --quiet 3.12 && return
  fi
  first_of "$SUPPORTED" python3.13 python3 python3.14
}

# Whether C++ finds LevelDB's and this interpreter's headers.
can_build() {
  include=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  printf '#include <leveldb/db.h>\n#include <Python.h>\n' |
    ${CXX:-c++} ${CPPFLAGS:-} -I"$include" -E -x c++ - >/dev/null 2>&1
}

# Homebrew's headers are where no compiler looks by itself.
use_homebrew() {
  if prefix=$(brew --prefix leveldb 2>/dev/null); then
    export CPPFLAGS="-I$prefix/include ${CPPFLAGS:-}" LDFLAGS="-L$prefix/lib ${LDFLAGS:-}"
  fi
}

need_headers() {
  lacks "Python $1 has no wheel of plyvel, and LevelDB's headers to build it are missing. Install them" \
    "(Debian: apt-get install g++ python3-dev libleveldb-dev; Fedora: dnf install gcc-c++ python3-devel leveldb-devel;" \
    "macOS: xcode-select --install && brew install leveldb). $OTHER_PYTHON"
}

# Whether C finds GMP's and this interpreter's headers, which a part of the extra libp2p is built with.
can_build_libp2p() {
  include=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  printf '#include <gmp.h>\n#include <Python.h>\n' | ${CC:-cc} ${CPPFLAGS:-} -I"$include" -E -x c - >/dev/null 2>&1
}

# The node runs without it. WITHOUT_LIBP2P=1 does not try.
try_libp2p() {
  if can_build_libp2p "$python" && PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints \
    $pip install --require-hashes --no-deps -r contrib/libp2p.lock; then
    return
  fi
  echo "setup: without libp2p, which needs building: install gcc, Python's headers and GMP's" \
    "(Debian: apt-get install gcc python3-dev libgmp-dev), then: rm $ready && make setup"
}

if [ "$1" = --find ]; then
  find_python "$2"
  exit
fi

venv=$1
asked=${2:-}
cd "$(dirname "$0")/.."

if [ -n "$asked" ]; then
  python=$(find_python "$asked") || die "$asked is no Python that runs here"
  if [ -x "$venv/bin/python" ] && [ "$(version_of "$venv/bin/python")" != "$(version_of "$python")" ]; then
    echo "$venv is of Python $(version_of "$venv/bin/python"): it is made anew."
    rm -rf "$venv"
  fi
fi
ready=$venv/.ready
if [ -e "$ready" ] && [ -z "$(find requirements.lock contrib/libp2p.lock pyproject.toml -newer "$ready")" ]; then
  exit
fi

if [ -x "$venv/bin/python" ]; then
  python=$venv/bin/python
elif [ -z "$asked" ]; then
  python=$(choose_python) || die "no Python 3.11 to 3.14 here; install one, or name it: make setup PYTHON=<path>"
fi
version=$(version_of "$python")
is_in "$version" "$SUPPORTED" || die "$python is Python $version; ckb-node runs on 3.11 to 3.14"
use_homebrew
if ! is_in "$version" "$WITH_WHEELS"; then
  can_build "$python" || need_headers "$version"
fi
if [ ! -x "$venv/bin/python" ]; then
  "$python" -c 'import ensurepip' 2>/dev/null || lacks "Python $version has no ensurepip (Debian: apt-get install python3-venv)"
  "$python" -m venv "$venv"
fi
echo "Installing the locked dependencies into $venv (Python $version) ..."
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check"
# What dependencies are built with, where they have no wheel. The second variable is that of pip 25.3 and later.
constraints=$PWD/contrib/build-constraints.txt
if ! PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints $pip install --require-hashes -r requirements.lock; then
  can_build "$python" || need_headers "$version"
  is_in "$version" "$WITH_WHEELS" || die "building for Python $version failed, pip's words are above. $OTHER_PYTHON"
  die "pip could not install the dependencies: its words are above"
fi
$pip install --no-build-isolation --no-deps -e .
[ -n "${WITHOUT_LIBP2P:-}" ] || try_libp2p
touch "$ready"
