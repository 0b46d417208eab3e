#!/usr/bin/env bash
# Runs the end-to-end tests (`make e2e`). First sets up their requirements: SAM CLI in .venv/sam, a running Docker daemon,
# and the image of the Lambda runtime. As root on Debian, it also installs missing packages. It stops a Docker daemon that
# it has started. If a requirement cannot be set up, a message is printed, and the tests that need it are skipped, or fail
# in CI.
#
#   tests/e2e/run.sh [arguments for pytest, such as -k story]
#   tests/e2e/run.sh --set-up     only sets up the requirements
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PATH:/usr/sbin:/sbin" SAM_CLI_TELEMETRY=0
# The Makefile sets PYTHONPATH for the local stack. SAM CLI must not use it.
unset PYTHONPATH
image=public.ecr.aws/lambda/python:3.13-x86_64
state=.local/e2e
mkdir -p "$state"

install() { # packages
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
  echo "Installing $*" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$state/apt.log" 2>&1 || {
    tail -20 "$state/apt.log" >&2
    return 1
  }
}

python_of_the_functions() { # `sam build` runs pip with the Python version of the functions
  local candidate
  for candidate in python3.13 /usr/bin/python3.13; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

set_up_sam() {
  local interpreter
  interpreter=$(python_of_the_functions) || {
    install python3 python3-venv
    interpreter=$(python_of_the_functions)
  } || {
    echo "Python 3.13 with venv is missing: SAM CLI builds the functions with it" >&2
    return 1
  }
  make --no-print-directory PYTHON_OF_FUNCTIONS="$(command -v "$interpreter")" .venv/sam/ready >&2
}

dockerd_pid=
end_docker() {
  [ -n "$dockerd_pid" ] || return 0
  kill "$dockerd_pid" 2>/dev/null || true
  wait "$dockerd_pid" 2>/dev/null || true
}

set_up_docker() {
  local missing=()
  command -v docker >/dev/null || missing+=(docker-cli)
  # The daemon's package is needed only if no daemon is running.
  if ! docker version >/dev/null 2>&1; then
    command -v dockerd >/dev/null || missing+=(docker.io)
  fi
  if [ "${#missing[@]}" -gt 0 ]; then
    install "${missing[@]}" || {
      echo "Docker is missing" >&2
      return 1
    }
  fi
  docker version >/dev/null 2>&1 && return
  if [ "$(id -u)" -ne 0 ] || ! command -v dockerd >/dev/null; then
    echo "Docker does not respond" >&2
    return 1
  fi
  # In its own session, so that an interrupt ends the tests before the daemon.
  setsid dockerd >"$state/dockerd.log" 2>&1 </dev/null &
  dockerd_pid=$!
  for _ in $(seq 120); do
    docker version >/dev/null 2>&1 && return
    kill -0 "$dockerd_pid" 2>/dev/null || break
    sleep 0.5
  done
  echo "dockerd does not start:" >&2
  tail -20 "$state/dockerd.log" >&2
  return 1
}

set_up_images() {
  # The tasks of the tests run busybox. If it is missing, the tests pull an image.
  command -v busybox >/dev/null || install busybox-static || true
  docker image inspect "$image" >/dev/null 2>&1 && return
  echo "Pulling $image" >&2
  timeout 600 docker pull --quiet --platform linux/amd64 "$image" >/dev/null 2>&1 && return
  command -v debootstrap >/dev/null || install debootstrap
  if [ "$(id -u)" -ne 0 ] || [ "$(uname -m)" != x86_64 ] || ! command -v debootstrap >/dev/null; then
    echo "$image cannot be pulled, and building a substitute requires root, debootstrap and x86_64" >&2
    return 1
  fi
  echo "The image cannot be pulled: building a substitute (about a minute)" >&2
  tests/e2e/runtime_image.sh "$image" .venv/sam/bin/python
}

trap end_docker EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# errexit is off within a condition, so each of the three functions reports its own errors.
if ! { set_up_sam && set_up_docker && set_up_images; } && [ -n "${CI:-}" ]; then
  exit 1
fi
[ "${1:-}" = --set-up ] || .venv/bin/pytest tests/e2e --numprocesses 2 --dist loadscope --no-loadscope-reorder "$@"
