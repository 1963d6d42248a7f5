#!/usr/bin/env bash
# Installs what Sluice is built from and tested with: Debian 12 packages only.
# Running it again is harmless and quick; it says what it adds and why.
#   --fuzz      also what test/fuzz/run.sh finds most with
#   --examples  also what examples/ needs, and so test/run.sh: Node.js, its
#               packages as examples/node/package-lock.json has them, SQLite
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz=0
examples=0
for arg in "$@"; do
  case "$arg" in
    --fuzz) fuzz=1 ;;
    --examples) examples=1 ;;
    *)
      echo "install-deps: unknown argument $arg; it knows --fuzz, --examples" >&2
      exit 2 ;;
  esac
done

packages=(
  # package                       why
  "bazel-bootstrap                the build (Bazel 4.2.3, works offline)"
  "bazel-rules-java               Bazel asks for it even for C++ alone"
  "bazel-rules-proto              the same"
  "bazel-skylib                   the same"
  "bazel-platforms                the same"
  "g++                            C++20 compiler"
  "git                            version and test seeds come from the commit"
  "pkg-config                     finds the libraries below"
  "libgrpc++-dev                  gRPC: clients, brokers and controllers talk it"
  "libprotobuf-dev                Protocol Buffers"
  "protobuf-compiler              protoc"
  "protobuf-compiler-grpc         gRPC stubs for C++ and Python"
  "golang-github-gogo-googleapis-dev  google/rpc/error_details.proto: rich errors"
  "libjemalloc-dev                what processes allocate from"
  "librocksdb-dev                 the Raft log's store"
  "libgoogle-glog-dev             logging"
  "libgflags-dev                  sluiced's flags"
  "libgtest-dev                   tests"
  "libgmock-dev                   tests"
  "libabsl-dev                    status, strings, functional"
  "libisal-dev                    CRC-32C"
  "liblz4-dev                     record batch compression"
  "libzstd-dev                    record batch compression"
  "libre2-dev                     subscriptions by pattern"
  "libcli11-dev                   the CLI's command line"
  "nlohmann-json3-dev             JSON of the CLI"
  "prometheus-cpp-dev             metrics"
  "libcpp-httplib-dev             /metrics and /healthz"
  "iproute2                       test/chaos cuts links between namespaces with it"
  "python3                        tests and checks"
  "python3-grpcio                 the README's Python program"
  "python3-protobuf               the same"
)

if [ $fuzz -eq 1 ]; then
  packages+=(
    "clang-14                       libFuzzer: coverage leads its inputs"
    "libclang-rt-14-dev             the same: its runtime and the sanitizers'"
  )
fi

if [ $examples -eq 1 ]; then
  packages+=("libsqlite3-dev                 examples/cpp/exactly_once")
  packages+=("ca-certificates                npm's registry is asked over TLS")
  packages+=("sqlite3                        looks at what exactly_once stored")
  # A Node.js that came from elsewhere brings its npm and does not go with
  # Debian's.
  command -v node >/dev/null || packages+=("nodejs  examples/node")
  command -v npm >/dev/null || packages+=("npm  examples/node's packages")
fi

missing=()
for row in "${packages[@]}"; do
  name=${row%% *}
  if ! dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$'; then
    echo "install-deps: $row"
    missing+=("$name")
  fi
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install-deps: all ${#packages[@]} packages are there"
else
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "install-deps: needs root or sudo to install: ${missing[*]}" >&2
      exit 1
    }
    sudo=sudo
  fi
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  echo "install-deps: installed ${#missing[@]} packages"
fi

if [ $examples -eq 1 ]; then
  lock=examples/node/package-lock.json
  installed=examples/node/node_modules/.installed-lock.json
  if cmp -s "$lock" "$installed"; then
    echo "install-deps: the packages of $lock are there"
  else
    # No script of a package is run: none of these needs one.
    npm ci --prefix examples/node --ignore-scripts --prefer-offline --no-audit \
      --no-fund --loglevel=error
    cp "$lock" "$installed"
    echo "install-deps: installed the packages of $lock"
  fi
fi
