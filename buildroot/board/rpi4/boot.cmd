# Which slot is started: the first of BOOT_ORDER that has attempts left. RAUC
# gives a slot its attempts back when the firmware has proved itself.
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 0

setenv first A
if test "${BOOT_ORDER}" = "B A" || test "${BOOT_ORDER}" = "B"; then
	setenv first B
fi
setenv slot none
if test "${first}" = "B" && test ${BOOT_B_LEFT} -gt 0; then
	setenv slot B
elif test ${BOOT_A_LEFT} -gt 0; then
	setenv slot A
elif test ${BOOT_B_LEFT} -gt 0; then
	setenv slot B
fi

if test "${slot}" = "none"; then
	echo "No slot has proved itself: both are tried again"
	setenv BOOT_A_LEFT 3
	setenv BOOT_B_LEFT 3
	saveenv
	reset
fi
if test "${slot}" = "A"; then
	setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
	setenv part 2
	setenv label rootfs-a
else
	setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
	setenv part 3
	setenv label rootfs-b
fi
saveenv

# The address of the box's own NIC is its machine id, filled up with zeros.
setexpr mac gsub : "" "${ethaddr}"
setenv bootargs "root=PARTLABEL=${label} rootfstype=squashfs ro rootwait panic=10 rauc.slot=${slot} systemd.machine_id=00000000000000000000${mac} console=ttyS0,115200"
echo "Sluice, slot ${slot}"
load ${devtype} ${devnum}:${part} ${kernel_addr_r} /boot/Image && booti ${kernel_addr_r} - ${fdt_addr}
# What is in the slot cannot be read: the next start has an attempt less.
reset
