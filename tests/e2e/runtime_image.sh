#!/usr/bin/env bash
# Builds a substitute for AWS's image of the Python 3.13 runtime, for machines that cannot pull it. The image consists of
# Debian packages and AWS's runtime interface client. Like AWS's image, it starts /var/runtime/bootstrap and finds code in
# /var/task and /opt/python. Unlike AWS's image, it does not contain boto3, because the layer contains it.
#
#   runtime_image.sh IMAGE PYTHON     as root, on x86_64, with debootstrap and Docker; PYTHON has pip
set -euo pipefail
image=$1
python=$2

work=$(mktemp -d)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
debootstrap --variant=minbase --include=python3,ca-certificates trixie "$root" >"$work/log" 2>&1 || {
  tail -20 "$work/log" >&2
  exit 1
}
mkdir -p "$root"/var/{task,runtime,rapid,lang/bin} "$root/opt"
"$python" -m pip install --quiet --disable-pip-version-check --target "$root/var/runtime" \
  --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 --implementation cp --python-version 3.13 \
  --only-binary=:all: awslambdaric==4.2.2
ln -s /usr/bin/python3.13 "$root/var/lang/bin/python3.13"
cat >"$root/var/runtime/bootstrap" <<'BOOTSTRAP'
#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_python3.13
export PYTHONPATH="/var/task:/opt/python/lib/python3.13/site-packages:/opt/python:/var/runtime${PYTHONPATH:+:$PYTHONPATH}"
exec /var/lang/bin/python3.13 -m awslambdaric "$_HANDLER"
BOOTSTRAP
chmod 755 "$root/var/runtime/bootstrap"
tar -C "$root" --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
  --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' -c . |
  docker import \
    --change 'ENV PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin LANG=C.UTF-8 LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime' \
    --change 'WORKDIR /var/task' - "$image" >/dev/null
