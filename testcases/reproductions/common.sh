# What the reproductions share. To source; it leaves the script in an empty folder, which goes at the end.
#
# Exit status of each: 0 the defect is there, 1 it is not (mended), 2 it could not be tried.
# With FIX=1 in the environment a script that knows a fix tries it, too; its .out has that once it was run.
# shellcheck shell=sh disable=SC2034,SC2329,SC3045

set -eu

QEMU=${QEMU:-qemu-system-x86_64}
# guest RAM that outlives an exec; the firmware runs, and finds nothing to boot
MACHINE='-accel kvm -nodefaults -display none -m 64M
    -object memory-backend-memfd,id=ram0,size=64M,share=on
    -machine q35,aux-ram-share=on,memory-backend=ram0 -qmp unix:qmp.sock,server=on,wait=off'
# below the VGA window
LOW=655360

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
cd "$work"
ulimit -c 0
pid='' verdict=''

present() { verdict=0 && echo "PRESENT: $*" && exit; }
absent() { verdict=1 && echo "ABSENT: $*" && exit; }
untried() { verdict=2 && echo "UNTRIED: $*" && exit; }

undo() { :; }  # a script that changes the host defines its own

cleanup() {
    trap - EXIT
    [ -n "$verdict" ] || { verdict=2 && echo "UNTRIED: a command failed, see above"; }
    end
    undo || echo "could not undo what was changed on this host"
    cd / && rm -rf "$work"
    exit "$verdict"
}
trap cleanup EXIT
trap exit INT TERM HUP

# needs NODE...: say what is tried, if this host has what it takes
needs() {
    [ "$(id -u)" = 0 ] || untried "this needs root"
    command -v "$QEMU" >/dev/null || untried "there is no $QEMU"
    for node in "$@"; do
        [ -c "$node" ] || untried "this host has no $node"
    done
    echo "Linux $(uname -r); $("$QEMU" --version | head -n 1)"
}

qmp() { python3 -IS "$here/qmp.py" "$pid" "$@"; }

# start COMMAND...: start QEMU, and wait until it answers
start() {
    rm -f qmp.sock
    "$@" >qemu.log 2>&1 &
    pid=$!
    qmp wait || { end && untried "QEMU did not start"; }
}

# end: end QEMU; sets `status` to how it ended: 137 if it lived until now, 139 after SIGSEGV
end() {
    [ -n "$pid" ] || return 0
    status=0
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || status=$?
    if [ "$status" != 137 ]; then
        cat qemu.log
        echo "QEMU ended with $status"
        dmesg | sed -n "s/.*\[$pid\]: segfault/the host's kernel: segfault/p"
    fi
    pid=''
}

# saved FILE ADDRESS SIZE: memory of the guest, as QEMU shows it; how much of it is not zero is in `filled`
saved() {
    qmp 'do' pmemsave "{\"val\": $2, \"size\": $3, \"filename\": \"$1\"}" >/dev/null
    filled=$(tr -d '\0' <"$1" | wc -c)
}

# over_update WHAT COMMAND...: start QEMU, let the firmware write, update; how guest RAM was after it is in `ram`
over_update() {
    echo "$1:"
    shift
    start "$@"
    filled=0 tries=0
    while [ "$filled" -lt 1000 ]; do
        tries=$((tries + 1))
        [ $tries -lt 20 ] || untried "the firmware writes nothing"
        saved before 0 $LOW
    done
    qmp 'do' stop >/dev/null
    saved before 0 $LOW
    echo "before: $filled of the first $LOW bytes are not zero"
    qmp update | tee update.log
    grep -q '^afterwards: QEMU is paused' update.log || { end && ram='not to be seen' && return; }
    saved after 0 $LOW
    echo "after: $filled of them are not zero"
    if cmp -s before after; then ram=kept; else ram=lost; fi
    end
}

# assigned BACKEND BDF: the words that assign a function; none with the backend `none`
assigned() {
    case $1 in
        none) ;;
        type1) echo "-device vfio-pci,host=$2" ;;
        iommufd) echo "-object iommufd,id=iommufd0 -device vfio-pci,host=$2,iommufd=iommufd0" ;;
    esac
}

# has_pin BDF: its interrupts are what is taken from KVM and given back; the firmware uses no MSI
has_pin() {
    [ "$(od -An -j61 -N1 -tu1 "/sys/bus/pci/devices/$1/config" | tr -d ' ')" != 0 ] ||
        untried "$1 has no interrupt pin, and nothing shows without"
}

# mended [ADDRESS BYTES NEW]...: make ./mended, QEMU with other bytes in its code: a fix, tried without its source.
# Fails without FIX=1, and for another build than Debian's 1:11.1.3+ds-1~bpo13+1, whose addresses these are.
mended() {
    [ -n "${FIX-}" ] || return 1
    python3 -IS - "$(command -v "$QEMU")" "$@" <<'PYTHON'
import sys
from pathlib import Path

program, *places = sys.argv[1:]
code = bytearray(Path(program).read_bytes())
for place, *words in zip(places[::3], places[1::3], places[2::3]):
    address, (old, new) = int(place, 16), map(bytes.fromhex, words)
    if code[address : address + len(old)] != old:
        sys.exit("another build of QEMU: the fix is not tried")
    code[address : address + len(old)] = new
Path("mended").write_bytes(code)
Path("mended").chmod(0o755)
PYTHON
}

# bind BDF: give an unused PCI function to vfio-pci, until the end
bind() {
    function=/sys/bus/pci/devices/$1
    [ -d "$function" ] || untried "there is no PCI function $1"
    [ -d /sys/bus/pci/drivers/vfio-pci ] || untried "this kernel has no vfio-pci; modprobe vfio-pci"
    bound=$1 driver=''
    [ ! -e "$function/driver" ] || driver=$(readlink -f "$function/driver")
    undo() {
        [ ! -e "$function/driver" ] || echo "$bound" >"$function/driver/unbind"
        echo >"$function/driver_override"
        [ -z "$driver" ] || echo "$bound" >"$driver/bind"
    }
    echo vfio-pci >"$function/driver_override"
    [ -z "$driver" ] || echo "$bound" >"$driver/unbind"
    echo "$bound" >/sys/bus/pci/drivers_probe
    [ "$(basename "$(readlink "$function/driver")")" = vfio-pci ] || untried "vfio-pci does not take $1"
}
