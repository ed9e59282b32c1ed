# Sourced by every script of the house: the same cargo, wherever HOME points.
export CARGO_TERM_COLOR=never
export DEBIAN_FRONTEND=noninteractive
# In CI nothing is built twice: incremental files would only cost time and space.
[ -n "${CI:-}" ] && export CARGO_INCREMENTAL=0

# A HOME without rustup (a service user, a sandbox) still has the toolchain of whoever installed the `cargo` in PATH.
# A HOME without any cargo in PATH may have one that its shell has not been told of.
command -v cargo >/dev/null 2>&1 || { [ -x "${HOME:-}/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"; }
if command -v cargo >/dev/null 2>&1 && [ -z "${RUSTUP_HOME:-}" ] && ! cargo --version >/dev/null 2>&1; then
  beside="$(cd "$(dirname "$(command -v cargo)")/../.." && pwd)/.rustup"
  [ -d "$beside" ] && export RUSTUP_HOME="$beside"
  unset beside
fi
true
