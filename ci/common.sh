# Sourced by the scripts in ci/: packages, the build directory, and how things are said.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Outside the checkout, so that the next run, also of another checkout, finds RocksDB compiled.
export CARGO_TARGET_DIR="${CONEY_BUILD_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/coney/target}"
# Compilers and libraries that the build itself needs.
BUILD_PACKAGES=(clang-19 libclang-19-dev libbpf-dev libelf-dev zlib1g-dev pkg-config g++ make)

say() { printf '== %s\n' "$*"; }

# Ends with one line: what is wrong, and the cure.
die() {
	printf 'coney: %s\n' "$*" >&2
	exit 1
}

# Installs the Debian packages that are missing.
need_packages() {
	local package missing=()
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || die "these packages are needed: ${missing[*]}; cure: install what your system calls them"
	local sudo=()
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || die "packages are missing; cure: run as root: apt-get install ${missing[*]}"
		sudo=(sudo)
	fi
	say "installing Debian packages: ${missing[*]}"
	local log
	log=$(mktemp)
	# No package may start a service of its own: a redis-server on our port would be in the way.
	if ! { "${sudo[@]}" apt-get update -q && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		die "apt-get could not install ${missing[*]}; cure: see the lines above, mend the package sources, run again"
	fi
	rm -f "$log"
}

need_rust() {
	command -v cargo >/dev/null || die "cargo is missing; cure: install Rust 1.90 or newer (https://rustup.rs) and run again"
	local version wanted
	version=$(rustc --version | cut -d' ' -f2)
	wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
	[ "$(printf '%s\n%s\n' "$wanted" "$version" | sort -V | head -n 1)" = "$wanted" ] ||
		die "Rust $version is too old; cure: rustup update (at least $wanted is needed)"
}

say_build_time() {
	compgen -G "$CARGO_TARGET_DIR/release/build/librocksdb-sys-*/out/librocksdb.a" >/dev/null ||
		say "RocksDB is compiled once into $CARGO_TARGET_DIR: about 17 minutes on two cores"
}

# Installs ci/requirements.txt into a virtual environment beside the build directory, and puts its programs first in PATH.
need_python_tools() {
	local venv wanted
	venv=$(dirname "$CARGO_TARGET_DIR")/venv
	wanted=$(cat ci/requirements.txt)
	if [ "$(cat "$venv/requirements" 2>/dev/null)" != "$wanted" ]; then
		say "installing from PyPI:" $wanted
		python3 -m venv --clear "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r ci/requirements.txt ||
			die "pip could not install ci/requirements.txt; cure: see the lines above"
		printf '%s\n' "$wanted" >"$venv/requirements"
	fi
	PATH="$venv/bin:$PATH"
}

# Installs QEMU and unpacks Debian's kernel for virtual machines into $GUEST_KERNEL, beside the build directory. Where that
# is impossible it says why, and fails.
need_emulator() {
	GUEST_KERNEL=$(dirname "$CARGO_TARGET_DIR")/guest-kernel
	if [ "$(uname -m)" != x86_64 ] || ! command -v apt-get >/dev/null; then
		say "the emulated machine needs Debian on x86-64"
		return 1
	fi
	if ! (need_packages qemu-system-x86 busybox-static e2fsprogs binutils); then
		say "QEMU cannot be installed here"
		return 1
	fi
	[ ! -d "$GUEST_KERNEL" ] || return 0
	say "unpacking Debian's kernel for virtual machines into $GUEST_KERNEL"
	if ! unpack_kernel "$GUEST_KERNEL"; then
		say "the package linux-image-cloud-amd64 cannot be downloaded here"
		return 1
	fi
}

# Unpacks Debian's kernel for virtual machines into a directory; nothing is installed.
unpack_kernel() {
	local package scratch
	scratch=$(mktemp -d)
	: >"$scratch/log"
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
	if [ -n "$package" ] && (cd "$scratch" && apt-get download -q "$package") >"$scratch/log" 2>&1 &&
		dpkg-deb -x "$scratch"/*.deb "$scratch/tree" && mv "$scratch/tree" "$1"; then
		rm -r "$scratch"
		return 0
	fi
	cat "$scratch/log" >&2
	rm -r "$scratch"
	return 1
}
