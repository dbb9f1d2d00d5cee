# published CLONE CACHE: from here on go finds the modules of this repository in a
# git clone, by its tags, as if that were published. It knows no workspace, and
# keeps in the directory CACHE what it reads, so that nothing of it stays.
published() {
  local modules
  modules="$(go env GOMODCACHE)"
  export GOWORK=off GOMODCACHE=$2 GOFLAGS="${GOFLAGS:-} -modcacherw"
  export GOPROXY="file://$modules/cache/download,$(go env GOPROXY)"
  export GOPRIVATE=github.com/berth-registry/berth GOSUMDB=off
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$1.insteadOf" GIT_CONFIG_VALUE_0=https://github.com/berth-registry/berth
}
