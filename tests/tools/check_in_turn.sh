# Sourced by tests of options and sizes: what they are about is the plan, which all versions of the code share.
#
#   check MODEL OPTION...    hmoec check MODEL OPTION... --cpu V: each call has one of the versions that this machine can run, each version some of
#                            the calls. What every version makes of every kernel, epilogue and remainder is the concern of tests/numeric.
#
# The options choose, so that a call by itself is the same as among others. HMOE_TEST_VERSIONS_F32 and _BF16: lit.cfg.py.
check() {
  local versions sum
  case "$*" in
    *"--dtype bf16"*) read -ra versions <<<"$HMOE_TEST_VERSIONS_BF16" ;;
    *) read -ra versions <<<"$HMOE_TEST_VERSIONS_F32" ;;
  esac
  sum=$(printf '%s ' "${@:2}" | cksum)
  hmoec check "$@" --cpu "${versions[${sum%% *} % ${#versions[@]}]}"
}
