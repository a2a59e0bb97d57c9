package firmware

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The scripts of the boot loaders are close enough to a shell's for one to run
// them: what is a command of the boot loader is a function here.

const uboot = `
setenv() { n=$1; shift; eval "$n=\$*"; }
setexpr() {
	if [ "$2" = gsub ]; then
		eval "$1=$(printf %s "$5" | sed "s/$3/$4/g")"
	else
		eval "$1=$(($2 $3 $4))"
	fi
}
saveenv() { saved="order=$BOOT_ORDER a=$BOOT_A_LEFT b=$BOOT_B_LEFT"; }
load() { [ "$READABLE" = yes ]; }
booti() { echo "start $bootargs; saved $saved"; exit; }
bootz() { booti; }
reset() { echo "reset; saved $saved"; exit; }
echo() { case $1 in start*|reset*) command echo "$@" ;; esac; }
devtype=mmc devnum=0 kernel_addr_r=1 fdt_addr=2 fdt_addr_r=3 ethaddr=02:00:5e:00:53:01
`

func TestUBootChoosesASlot(t *testing.T) {
	t.Parallel()
	for _, board := range []string{"rpi4", "armv7"} {
		script := read(t, tree+"/board/"+board+"/boot.cmd")
		for _, c := range []struct{ what, env, want string }{
			{"a new card", "", "start root=PARTLABEL=rootfs-a | order=A B a=2 b=0"},
			{"A has proved itself", "BOOT_ORDER='A B' BOOT_A_LEFT=3 BOOT_B_LEFT=3", "start root=PARTLABEL=rootfs-a | order=A B a=2 b=3"},
			{"B is new", "BOOT_ORDER='B A' BOOT_A_LEFT=3 BOOT_B_LEFT=3", "start root=PARTLABEL=rootfs-b | order=B A a=3 b=2"},
			{"B has failed", "BOOT_ORDER='B A' BOOT_A_LEFT=3 BOOT_B_LEFT=0", "start root=PARTLABEL=rootfs-a | order=B A a=2 b=0"},
			{"A is marked bad", "BOOT_ORDER=B BOOT_A_LEFT=0 BOOT_B_LEFT=3", "start root=PARTLABEL=rootfs-b | order=B a=0 b=2"},
			{"A has failed", "BOOT_ORDER='A B' BOOT_A_LEFT=0 BOOT_B_LEFT=1", "start root=PARTLABEL=rootfs-b | order=A B a=0 b=0"},
			{"both have failed", "BOOT_ORDER='A B' BOOT_A_LEFT=0 BOOT_B_LEFT=0", "reset | order=A B a=3 b=3"},
			{"nothing can be read", "READABLE=no", "reset | order=A B a=2 b=0"},
		} {
			said := runScript(t, "READABLE=yes "+c.env+"\n"+uboot+script)
			begin, saved, _ := strings.Cut(c.want, " | ")
			if !strings.HasPrefix(said, begin) || !strings.HasSuffix(said, "saved "+saved+"\n") {
				t.Errorf("%s, %s: %q, want %q", board, c.what, said, c.want)
			}
			if strings.HasPrefix(said, "start") && !regexp.MustCompile(` ro .* rauc\.slot=[AB] systemd\.machine_id=0{20}02005e005301 console=\S+; `).MatchString(said) {
				t.Errorf("%s, %s: the kernel is told %q", board, c.what, said)
			}
		}
	}
}

const grub = `
load_env() { eval "$ENVIRONMENT"; }
save_env() { saved="a=$A_TRY b=$B_TRY"; }
regexp() { disk=$(printf %s "$3" | sed 's/^(\([^,]*\),.*/\1/'); }
linux() { [ "$READABLE" = yes ] || return 1; line=$*; }
boot() { echo "start $line; saved $saved"; exit; }
reboot() { echo "reboot; saved $saved"; exit; }
sleep() { :; }
cmdpath='(hd0,gpt1)/EFI/BOOT'
`

func TestGRUBChoosesASlot(t *testing.T) {
	t.Parallel()
	script := regexp.MustCompile(`(?m)^(\s*)set (\w+=)`).ReplaceAllString(read(t, tree+"/board/efi/grub.cfg"), "$1$2")
	script = strings.ReplaceAll(script, `echo "Sluice`, `: "Sluice`)
	for _, c := range []struct{ what, env, want string }{
		{"a new disk", strings.Join(firstEnvironment(t), "\n"), "(hd0,gpt2)/boot/Image root=PARTLABEL=rootfs-a | a=1 b=0"},
		{"no environment", "", "(hd0,gpt2)/boot/Image root=PARTLABEL=rootfs-a | a=1 b=0"},
		{"B is new", "ORDER='B A' A_OK=1 A_TRY=0 B_OK=1 B_TRY=0", "(hd0,gpt3)/boot/Image root=PARTLABEL=rootfs-b | a=0 b=1"},
		{"B has not proved itself", "ORDER='B A' A_OK=1 A_TRY=0 B_OK=1 B_TRY=1", "(hd0,gpt2)/boot/Image root=PARTLABEL=rootfs-a | a=1 b=1"},
		{"B is marked bad", "ORDER='B A' A_OK=1 A_TRY=0 B_OK=0 B_TRY=0", "(hd0,gpt2)/boot/Image root=PARTLABEL=rootfs-a | a=1 b=0"},
		{"neither has proved itself", "ORDER='A B' A_OK=1 A_TRY=1 B_OK=1 B_TRY=1", "(hd0,gpt2)/boot/Image root=PARTLABEL=rootfs-a | a=0 b=0"},
		{"neither has, and A is bad", "ORDER='A B' A_OK=0 A_TRY=1 B_OK=1 B_TRY=1", "(hd0,gpt3)/boot/Image root=PARTLABEL=rootfs-b | a=0 b=0"},
	} {
		kernel, saved, _ := strings.Cut(c.want, " | ")
		said := runScript(t, "READABLE=yes ENVIRONMENT="+quote(c.env)+"\n"+grub+script)
		if !strings.HasPrefix(said, "start "+kernel+" ") || !strings.HasSuffix(said, "saved "+saved+"\n") {
			t.Errorf("%s: %q, want %q", c.what, said, c.want)
		}
	}
	if said := runScript(t, "READABLE=no ENVIRONMENT=\n"+grub+script); said != "reboot; saved a=1 b=0\n" {
		t.Errorf("nothing can be read: %q", said)
	}
}

// firstEnvironment returns what the environment of a new disk holds, as lines
// of a shell.
func firstEnvironment(t *testing.T) []string {
	t.Helper()
	out, err := shell(t, tree+"/board/efi/grubenv")
	if err != nil || len(out) != 1024 || !strings.HasPrefix(out, "# GRUB Environment Block\n") {
		t.Fatalf("the environment of GRUB: %v\n%s", err, out)
	}
	var lines []string
	for line := range strings.Lines(strings.TrimRight(out, "#")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			lines = append(lines, name+"="+quote(value))
		}
	}
	return lines
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func runScript(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return string(out)
}
