package figure

import "testing"

func TestScaled(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 b/s", 999: "999 b/s", 1000: "1.0 kb/s", 99_900: "99.9 kb/s", 100_000: "100 kb/s",
		999_499: "999 kb/s", 999_600: "1.0 Mb/s", 5_120_000: "5.1 Mb/s", 12_345_678_901: "12.3 Gb/s", 5_000_000_000_000: "5000 Gb/s",
	} {
		if got := Bitrate(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		n, of uint64
		want  string
	}{
		{0, 0, "0"},
		{3, 0, "0"},
		{0, 1000, "0"},
		{31, 1_000_000, "0.00"},
		{1, 5000, "0.02"},
		{99, 10_000, "0.99"},
		{1, 100, "1"},
		{42, 2000, "2.1"},
		{1, 8, "13"},
		{1, 1, "100"},
		{3, 1, "300"},
	} {
		if got := Percent(c.n, c.of); got != c.want {
			t.Errorf("%d of %d: %s, want %s", c.n, c.of, got, c.want)
		}
	}
}

func TestShort(t *testing.T) {
	for f, want := range map[float64]string{0: "0", -0.04: "0", 0.42: "0.4", 6: "6", 9.96: "10", 58.2: "58", -12.6: "-13", 1322.2: "1322"} {
		if got := Short(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}

func TestDecimals(t *testing.T) {
	for f, want := range map[float64]string{25: "25", 29.97: "29.97", 59.9405: "59.94", 23.976: "23.98", 100: "100", 12.5: "12.5"} {
		if got := Decimals(f, 2); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}
