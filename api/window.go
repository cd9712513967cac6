package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // windows mean the same on machines without a zone database
)

// Window is a part of each week in which agents may be worked on. A window
// whose end is not after its start runs past midnight; its day is that of the
// start. Both are wall-clock times of Zone: on the night of a clock change a
// window is an hour shorter or longer, as the people who wrote it see it.
type Window struct {
	Days []int  `json:"days" cbor:"1,keyasint"` // 0 is Sunday
	From int    `json:"from" cbor:"2,keyasint"` // minutes since midnight
	To   int    `json:"to" cbor:"3,keyasint"`   // minutes since midnight, up to 24:00
	Zone string `json:"zone" cbor:"4,keyasint"` // such as Europe/Berlin
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWindow reads "mon-fri 22:00-04:00 Europe/Berlin" or
// "sat,sun 00:00-24:00"; the zone is UTC if none is named.
func ParseWindow(s string) (Window, error) {
	fields := strings.Fields(s)
	if len(fields) < 2 || len(fields) > 3 {
		return Window{}, badWindow(s)
	}
	w := Window{Zone: "UTC"}
	if len(fields) == 3 {
		w.Zone = fields[2]
	}
	var err error
	if w.Days, err = parseDays(fields[0]); err != nil {
		return Window{}, badWindow(s)
	}
	from, to, _ := strings.Cut(fields[1], "-")
	if w.From, err = parseClock(from); err != nil {
		return Window{}, badWindow(s)
	}
	if w.To, err = parseClock(to); err != nil {
		return Window{}, badWindow(s)
	}
	return w, w.Validate()
}

// ParseWindows reads windows with semicolons between them, or none.
func ParseWindows(s string) ([]Window, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var out []Window
	for part := range strings.SplitSeq(s, ";") {
		w, err := ParseWindow(part)
		if err != nil {
			return nil, err
		}
		if out = append(out, w); len(out) > MaxWindows {
			return nil, Errorf(CodeInvalid, "%d windows are the most", MaxWindows)
		}
	}
	return out, nil
}

func badWindow(s string) error {
	return Errorf(CodeInvalid, "window %.100q is not understood", s).
		WithHint(`write days, times and a zone, such as "mon-fri 22:00-04:00 Europe/Berlin"`)
}

func parseDays(s string) ([]int, error) {
	if s == "daily" {
		return []int{0, 1, 2, 3, 4, 5, 6}, nil
	}
	var days []int
	for part := range strings.SplitSeq(strings.ToLower(s), ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		a, b := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if a < 0 || b < 0 {
			return nil, fmt.Errorf("day %q", part)
		}
		for d := a; ; d = (d + 1) % 7 {
			if !slices.Contains(days, d) {
				days = append(days, d)
			}
			if d == b {
				break
			}
		}
	}
	slices.Sort(days)
	return days, nil
}

func parseClock(s string) (int, error) {
	h, m, ok := strings.Cut(s, ":")
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil || minute > 59 || len(m) != 2 || hour*60+minute > 24*60 {
		return 0, fmt.Errorf("time %q", s)
	}
	return int(hour*60 + minute), nil
}

// Validate returns a CodeInvalid error for a window that is none, or in a zone
// that this machine does not know.
func (w Window) Validate() error {
	if err := w.validateForm(); err != nil {
		return err
	}
	if _, err := time.LoadLocation(w.Zone); err != nil {
		return Errorf(CodeInvalid, "time zone %.64q is not known", w.Zone).WithHint("use a name such as Europe/Berlin or UTC")
	}
	return nil
}

func (w Window) validateForm() error {
	if len(w.Days) == 0 || len(w.Days) > 7 || w.From < 0 || w.From >= 24*60 || w.To < 0 || w.To > 24*60 {
		return badWindow(w.String())
	}
	for _, d := range w.Days {
		if d < 0 || d > 6 {
			return badWindow(w.String())
		}
	}
	if len(w.Zone) > 64 || w.Zone == "Local" {
		return badWindow(w.String())
	}
	return nil
}

// Open reports whether the window is open at t.
func (w Window) Open(t time.Time) bool {
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		return false
	}
	t = t.In(zone)
	minute, day := t.Hour()*60+t.Minute(), int(t.Weekday())
	if w.From < w.To {
		return minute >= w.From && minute < w.To && slices.Contains(w.Days, day)
	}
	return (minute >= w.From && slices.Contains(w.Days, day)) ||
		(minute < w.To && slices.Contains(w.Days, (day+6)%7))
}

// String renders the window as ParseWindow reads it.
func (w Window) String() string {
	var days []string
	for _, d := range w.Days {
		if d >= 0 && d < len(dayNames) {
			days = append(days, dayNames[d])
		}
	}
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d %s", strings.Join(days, ","), w.From/60, w.From%60, w.To/60, w.To%60, w.Zone)
}

// MaxWindows bounds a list of windows.
const MaxWindows = 16

// CheckWindows returns a CodeInvalid error for a list that cannot be used.
func CheckWindows(windows []Window) error { return eachWindow(windows, Window.Validate) }

func eachWindow(windows []Window, check func(Window) error) error {
	if len(windows) > MaxWindows {
		return Errorf(CodeInvalid, "%d windows are too many", len(windows)).WithHint("use %d at most", MaxWindows)
	}
	for _, w := range windows {
		if err := check(w); err != nil {
			return err
		}
	}
	return nil
}

// WindowsOpen reports whether one of windows is open at t; none at all is
// always open.
func WindowsOpen(windows []Window, t time.Time) bool {
	return len(windows) == 0 || slices.ContainsFunc(windows, func(w Window) bool { return w.Open(t) })
}
