#!/bin/sh -e
# enter-root.sh ROOT WORK COMMAND...: run a command inside ROOT, with WORK as /build.
# Called in a mount namespace of its own, so nothing has to be unmounted.
# Recursive binds: in a user namespace the kernel refuses plain ones of /dev and /proc.
root=$1 work=$2
shift 2
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$work" "$root/build"
# a clean environment, and no name of a user or machine in the kernel
exec env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 TMPDIR=/build \
    KBUILD_BUILD_USER=cprlab KBUILD_BUILD_HOST=cprlab chroot "$root" "$@"
