#!/usr/bin/env bash
# Install into .venv exactly what the hashed locks list. `make setup` calls this; after an interruption, run it again.
# PYTHON names the interpreter, LOCKS the locks; TORCH=cpu takes PyTorch's small build, without the libraries for GPUs.
# MOVED=moved says that .venv does not work, because the clone was moved or copied, or its Python was replaced.
set -euo pipefail
cd "$(dirname "$0")"
TORCH="${TORCH:-gpu}"
read -ra locks <<< "${LOCKS:-requirements.lock requirements-dev.lock}"
trap 'exit 130' INT # pip handles Ctrl-C itself and returns an ordinary error, after which this script would continue

fail() {
    echo "setup: $1" >&2
    exit 1
}

# A candidate counts if it really starts (a pyenv shim may not) and is supported.
supported() { "$1" -I -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 14))' 2>/dev/null; }
candidates=(python3 python3.13 python3.12 python3.11 python)
[ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
if [ -n "${PYTHON:-}${MOVED:-}" ]; then
    PATH=${PATH//"$(pwd -P)/.venv/bin:"/} # make puts it first, but it may be what is replaced
fi
for python in "${candidates[@]}"; do
    if supported "$python"; then break; fi
    python=
done
[ -n "$python" ] || fail "needs Python 3.11 (from 3.11.4), 3.12 or 3.13, found ${PYTHON:-$(python3 --version 2>&1 || true)}; \
install one, or name it: make setup PYTHON=/path/to/python3.12"
# shellcheck disable=SC2046 # one word for each variable
unset _ $("$python" -I src/cifar10/core/environment.py) # a hook's GIT_DIR, PIP_USER, PYTHONPATH ...

needed=$([ "$TORCH" = cpu ] && echo 3 || echo 8)
free=$("$python" -I -c 'import shutil; print(shutil.disk_usage(".").free >> 30)')
# Only for the first set-up: an interrupted one may already have used that space.
[ -d .venv ] || [ "$free" -ge "$needed" ] || fail "needs $needed GB of free disk space, but only $free GB are free; \
delete something, or install the small build: make setup TORCH=cpu"

bin=.venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK=1
version() { "$1" -I -c 'import sys; print(sys.version_info[:2])'; }
if [ -n "${MOVED:-}" ] || ! supported $bin/python ||
    { [ -n "${PYTHON:-}" ] && [ "$(version "$python")" != "$(version $bin/python)" ]; }; then
    "$python" -I -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"
    rm -rf .venv
fi
[ -x $bin/pip ] || "$python" -m venv --clear .venv

# Of pip's configuration only where packages come from counts: `user = true`, for example, is for other installations.
origin='(global|install)\.((extra-)?index-url|find-links|no-index|trusted-host|(client-)?cert|proxy|cache-dir|timeout)'
while IFS='=' read -r name value; do
    name=PIP_$(tr a-z- A-Z_ <<< "${name#*.}")
    [ -n "${!name:-}" ] || export "$name=$(sed "s/^'//; s/'$//; s/\\\\n/ /g" <<< "$value")"
done < <(PIP_USER=0 $bin/python -m pip config list | grep -E "^$origin=") # `user` would leave out the system's
export PIP_CONFIG_FILE=/dev/null

# The installer writes INSTALLER last. A package without it is incomplete, but would count as installed.
site=$($bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for info in "$site"/*.dist-info; do [ -e "$info/INSTALLER" ] || rm -rf "$info"; done

# The locks without the entries of these names: the line with the name and the indented ones below it.
without() { awk -v names="^($1)==" '/^[a-z]/ {keep = $0 !~ names} keep' "${@:2}"; }

[ "$(uname)" = Linux ] || TORCH=gpu # macOS has a single build, the one in the lock
# 2.11.0+cpu satisfies ==2.11.0 but not ===2.11.0, so with === a change of build is noticed.
if [ "$TORCH" = cpu ]; then
    # The small builds have hashes of their own, so these two come by version and everything else by hash.
    options="--torch-backend cpu"
    without 'torch|torchvision|triton|nvidia-.*|cuda-.*' "${locks[@]}" > .venv/all.lock
    sed -nE 's/^(torch|torchvision)==([0-9.]+).*/\1===\2+cpu/p' requirements.lock >> .venv/all.lock
else
    options=--require-hashes
    sed -E 's/^(torch|torchvision)==/&=/' "${locks[@]}" > .venv/all.lock
fi

size=5; [ "$TORCH" != cpu ] || size=2
echo "setup: installing into .venv ($size GB)"
# Trust the system's certificates, a company's own for example; SSL_CERT_FILE still comes first.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
awk '/^[a-z]/ {keep = /^uv==/} keep' requirements-dev.lock > .venv/uv.lock
# The bytecode is written now, as pip does: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each start of a
# stage would compile PyTorch again, for seconds.
# shellcheck disable=SC2086 # two words are wanted
if ! { $bin/python -m pip install -q --require-hashes -r .venv/uv.lock &&
    $bin/uv pip sync --compile-bytecode --python $bin/python $options .venv/all.lock; }; then
    [ "$TORCH" != cpu ] || fail "TORCH=cpu could not be installed (see above): it needs uv and PyTorch's own \
package index; try again, or: make setup TORCH=gpu"
    echo "setup: uv failed (see above); pip installs the packages instead, which is slower" >&2
    without uv .venv/all.lock > .venv/pip.lock
    $bin/python -m pip install --require-hashes -r .venv/pip.lock
    # pip keeps packages that are no longer in the locks.
    stray=$($bin/python -m pip list --format=freeze | sed 's/==.*//' | tr '[:upper:]._' '[:lower:]--' |
        grep -vxFf <(echo pip && sed -nE 's/^([a-z][a-z0-9-]*)==.*/\1/p' .venv/all.lock) || true)
    # shellcheck disable=SC2086 # one word for each package
    [ -z "$stray" ] || $bin/python -m pip uninstall -q -y $stray
fi

# `import cifar10` finds src/cifar10, in a notebook for example. setuptools, which builds the package, is in the locks.
$bin/python -m pip install -q --no-deps --no-build-isolation --no-index -e .

# The page of `dvc plots` would load its drawing library from the network; this one contains it.
$bin/python > .venv/plots.html <<'END'
import vl_convert

print("<!DOCTYPE html><html><head><meta charset=utf-8><title>Plots</title>{refresh_tag}")
print("<style>body { font-family: system-ui, sans-serif; max-width: 70rem; margin: auto } img { max-width: 100% }")
print("div { vertical-align: top } .vega-embed { min-width: 30rem }")  # two charts in a row
print("div:has(> img):not(:only-of-type) { max-width: 48% }</style>")  # pictures of two experiments stand side by side
print(f"<script>{vl_convert.javascript_bundle()}</script></head><body>{{plot_divs}}</body></html>")
END
$bin/dvc config --local plots.html_template ../.venv/plots.html
# DVC keeps experiments as commits, which git refuses without a name; set one for this clone if the user has none.
identify() {
    git config "$1" > /dev/null && return
    git config "$1" "$2"
    echo "setup: git had no $1, so this clone now has $2"
}
if git rev-parse --git-dir > /dev/null 2>&1; then
    me=$(id -un 2> /dev/null || id -u)
    identify user.name "$me"
    identify user.email "$me@localhost"
fi
echo "setup: done; next: make demo, or . $bin/activate && dvc repro"
