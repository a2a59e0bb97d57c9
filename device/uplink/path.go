package uplink

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// IDPath returns a NIC's place in the machine as udev names it (ID_PATH): from
// udev's database, or else worked out from sysfs as udev's path_id does for
// PCI, USB and platform devices. Empty where it cannot be known.
func IDPath(index int, name string) string {
	if db, err := os.ReadFile(fmt.Sprintf("/run/udev/data/n%d", index)); err == nil {
		lines := bufio.NewScanner(bytes.NewReader(db))
		for lines.Scan() {
			if path, ok := strings.CutPrefix(lines.Text(), "E:ID_PATH="); ok {
				return path
			}
		}
	}
	device, err := filepath.EvalSymlinks("/sys/class/net/" + name + "/device")
	if err != nil {
		return "" // a virtual NIC has no place
	}
	return sysPath(device)
}

var (
	pciAddress   = regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
	otherBus     = regexp.MustCompile(`^(pci[0-9a-f]+:|usb[0-9]|virtio[0-9])`)
	usbInterface = regexp.MustCompile(`^[0-9]+-([0-9.]+:[0-9]+\.[0-9]+)$`)
)

// sysPath turns a device's directory in sysfs into an ID_PATH. Of each bus only
// the innermost device counts.
func sysPath(device string) string {
	var platform, pci, usb string
	onPlatform := false
	for part := range strings.SplitSeq(device, "/") {
		if part == "platform" {
			onPlatform = true
			continue
		}
		onPlatform = onPlatform && !otherBus.MatchString(part)
		switch {
		case onPlatform:
			platform = "platform-" + part
		case pciAddress.MatchString(part):
			pci = "pci-" + part
		default:
			if m := usbInterface.FindStringSubmatch(part); m != nil {
				usb = "usb-0:" + m[1]
			}
		}
	}
	var path []string
	for _, p := range []string{platform, pci, usb} {
		if p != "" {
			path = append(path, p)
		}
	}
	return strings.Join(path, "-")
}
