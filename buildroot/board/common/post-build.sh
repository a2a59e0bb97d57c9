#!/bin/sh
# post-build.sh TARGET_DIR BOARD BOOTLOADER: what the root file system needs
# besides its packages: places to mount on, and what RAUC is told.
set -eu

target=$1
board=$2
bootloader=$3
here=$(dirname "$0")

# setting NAME: a string of the configuration, without its quotes.
setting() { sed -n "s/^$1=\"\\(.*\\)\"\$/\\1/p" "$BR2_CONFIG"; }

mkdir -p "$target/etc/sluice" "$target/etc/systemd/network" "$target/etc/rauc" "$target/boot/efi"

grubenv=
[ "$bootloader" != grub ] || grubenv=grubenv=/boot/efi/EFI/BOOT/grubenv
sed -e "s|@COMPATIBLE@|sluice-$board|" -e "s|@BOOTLOADER@|$bootloader|" -e "s|@GRUBENV@|$grubenv|" \
	"$here/system.conf.in" >"$target/etc/rauc/system.conf"

keyring=$(setting BR2_PACKAGE_SLUICE_UPDATE_KEYRING)
if [ -n "$keyring" ]; then
	install -m 644 "$keyring" "$target/etc/rauc/keyring.pem"
	printf '\n[keyring]\npath=/etc/rauc/keyring.pem\n' >>"$target/etc/rauc/system.conf"
else
	rm -f "$target/etc/rauc/keyring.pem"
	echo "sluice: BR2_PACKAGE_SLUICE_UPDATE_KEYRING is empty: this box will take no update"
fi

# An id that is not there yet is made at the start; a file must be there for it.
: >"$target/etc/machine-id"
