#!/bin/sh
# post-image.sh BINARIES_DIR BOARD BOOTLOADER: the image of a whole disk, and the
# bundle that updates a box, signed where there is a key for it.
set -eu

binaries=$1
board=$2
bootloader=$3
here=$(dirname "$0")

setting() { sed -n "s/^$1=\"\\(.*\\)\"\$/\\1/p" "$BR2_CONFIG"; }

case $bootloader in
grub)
	"$here/../efi/grubenv" >"$binaries/efi-part/EFI/BOOT/grubenv"
	console=$(cat "$here/../$board/console")
	sed -e "s|@CONSOLE@|$console|" "$here/../efi/grub.cfg" >"$binaries/efi-part/EFI/BOOT/grub.cfg"
	;;
uboot)
	mkimage -A arm -T script -C none -n "Sluice" -d "$here/../$board/boot.cmd" "$binaries/boot.scr"
	;;
esac

rm -rf "$BUILD_DIR/genimage.tmp" "$BUILD_DIR/genimage.root"
mkdir -p "$BUILD_DIR/genimage.root"
genimage --rootpath "$BUILD_DIR/genimage.root" --tmppath "$BUILD_DIR/genimage.tmp" \
	--inputpath "$binaries" --outputpath "$binaries" --config "$here/../$board/genimage.cfg"

key=$(setting BR2_PACKAGE_SLUICE_UPDATE_KEY)
cert=$(setting BR2_PACKAGE_SLUICE_UPDATE_CERT)
if [ -z "$key" ] || [ -z "$cert" ]; then
	echo "sluice: no key and certificate for updates: only the image of the disk is made"
	exit 0
fi
version=$(git -C "$BR2_EXTERNAL_SLUICE_PATH" describe --tags --always --dirty 2>/dev/null || echo unknown)
bundle=$BUILD_DIR/sluice-bundle
rm -rf "$bundle" "$binaries/sluice-$board.raucb"
mkdir -p "$bundle"
cp "$binaries/rootfs.squashfs" "$bundle/rootfs.img"
cat >"$bundle/manifest.raucm" <<MANIFEST
[update]
compatible=sluice-$board
version=$version

[bundle]
format=verity

[image.rootfs]
filename=rootfs.img
MANIFEST
rauc bundle --cert="$cert" --key="$key" "$bundle" "$binaries/sluice-$board.raucb"
