package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes as text ("1m30s").
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: want a number with a unit, such as 30s or 5m", b)
	}
	*d = Duration(v)
	return nil
}

// String implements fmt.Stringer.
func (d Duration) String() string { return time.Duration(d).String() }

// Rate is a bandwidth in bits per second on the wire; zero is unlimited. It
// reads and writes as text in decimal units ("8mbit", "unlimited").
type Rate int64

// Unlimited is the absence of a cap.
const Unlimited Rate = 0

var rateUnits = []struct {
	suffix string
	factor float64
}{
	{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1},
}

// ParseRate reads "8mbit", "1.5gbit", "640kbit", "9600bit" or "unlimited".
func ParseRate(s string) (Rate, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	t = strings.TrimSuffix(strings.TrimSuffix(t, "/s"), "ps")
	if t == "unlimited" || t == "0" {
		return Unlimited, nil
	}
	for _, u := range rateUnits {
		num, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || math.IsNaN(v) || v*u.factor < 1 || v*u.factor > 1e15 {
			break
		}
		return Rate(math.Round(v * u.factor)), nil
	}
	return 0, fmt.Errorf("rate %q: want a number with kbit, mbit or gbit, such as 8mbit, or unlimited", s)
}

// BytesPerSecond returns the rate in bytes, or +Inf when unlimited.
func (r Rate) BytesPerSecond() float64 {
	if r <= 0 {
		return math.Inf(1)
	}
	return float64(r) / 8
}

// String implements fmt.Stringer.
func (r Rate) String() string {
	if r <= 0 {
		return "unlimited"
	}
	for _, u := range rateUnits {
		if float64(r) >= u.factor {
			return strconv.FormatFloat(float64(r)/u.factor, 'f', -1, 64) + u.suffix
		}
	}
	return "unlimited"
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(b []byte) error {
	v, err := ParseRate(string(b))
	if err != nil {
		return err
	}
	*r = v
	return nil
}

// Lower returns the stricter of two caps.
func (r Rate) Lower(o Rate) Rate {
	if r <= 0 || (o > 0 && o < r) {
		return o
	}
	return r
}

// Bytes is a size in bytes. It reads as text in binary units ("512MiB") or as
// a plain number, and writes as a plain number.
type Bytes int64

var byteUnits = []struct {
	suffix string
	factor float64
}{
	{"tib", 1 << 40}, {"gib", 1 << 30}, {"mib", 1 << 20}, {"kib", 1 << 10}, {"b", 1},
}

// ParseBytes reads "512MiB", "10GiB", "64KiB" or a plain number of bytes.
func ParseBytes(s string) (Bytes, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	factor := 1.0
	for _, u := range byteUnits {
		if num, ok := strings.CutSuffix(t, u.suffix); ok {
			t, factor = strings.TrimSpace(num), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(t, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v*factor > 1<<60 {
		return 0, fmt.Errorf("size %q: want a number with KiB, MiB or GiB, such as 512MiB", s)
	}
	return Bytes(math.Round(v * factor)), nil
}

// UnmarshalJSON accepts a number or a text with a unit.
func (b *Bytes) UnmarshalJSON(p []byte) error {
	var s string
	if len(p) > 0 && p[0] != '"' {
		s = string(p)
	} else if err := json.Unmarshal(p, &s); err != nil {
		return err
	}
	v, err := ParseBytes(s)
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// String implements fmt.Stringer.
func (b Bytes) String() string {
	for _, u := range byteUnits[:len(byteUnits)-1] {
		if float64(b) >= u.factor {
			return strconv.FormatFloat(float64(b)/u.factor, 'f', 1, 64) + " " +
				strings.ToUpper(u.suffix[:1]) + "iB"
		}
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}

func percent(n int) string { return strconv.Itoa(n) + " %" }
