package api

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Schedule is caps by the hour of the week. It reads and writes as text, such
// as
//
//	mon-fri 08:00-18:00 down=2mbit up=1mbit; sat,sun 10:00-22:00 down=8mbit; zone=Europe/Berlin
//
// Without a zone the hours are those of the machine that applies it. The zero
// value has no hours.
type Schedule struct {
	hours []hours
	zone  *time.Location // nil is the machine's own
	text  string
}

// hours is one part of a schedule.
type hours struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes of the day; to is excluded
	down, up Rate
}

const maxSchedule = 2048 // bytes of text

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseSchedule reads what Schedule writes.
func ParseSchedule(text string) (Schedule, error) {
	s := Schedule{text: strings.TrimSpace(text)}
	if len(text) > maxSchedule {
		return s, fmt.Errorf("a schedule has at most %d characters", maxSchedule)
	}
	for part := range strings.SplitSeq(s.text, ";") {
		part = strings.TrimSpace(part)
		name, isZone := strings.CutPrefix(part, "zone=")
		switch {
		case part == "":
		case isZone:
			zone, err := time.LoadLocation(name)
			if err != nil {
				return s, fmt.Errorf("zone %q is not known: want a name such as Europe/Berlin", name)
			}
			s.zone = zone
		default:
			h, err := parseHours(part)
			if err != nil {
				return s, err
			}
			s.hours = append(s.hours, h)
		}
	}
	return s, nil
}

func parseHours(part string) (h hours, err error) {
	fields := strings.Fields(strings.ToLower(part))
	if len(fields) < 3 {
		return h, fmt.Errorf("%q: want days, hours and rates, such as mon-fri 08:00-18:00 down=2mbit", part)
	}
	if h.days, err = parseDays(fields[0]); err != nil {
		return h, err
	}
	from, to, ok := strings.Cut(fields[1], "-")
	if !ok {
		return h, fmt.Errorf("hours %q: want two times, such as 08:00-18:00", fields[1])
	}
	if h.from, err = parseMinute(from); err != nil {
		return h, err
	}
	if h.to, err = parseMinute(to); err != nil {
		return h, err
	}
	if h.from >= h.to {
		return h, fmt.Errorf("hours %q end before they begin: split them at 24:00", fields[1])
	}
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		rate, err := ParseRate(value)
		switch {
		case err != nil:
			return h, err
		case key == "down":
			h.down = rate
		case key == "up":
			h.up = rate
		default:
			return h, fmt.Errorf("%q: want down=RATE or up=RATE", f)
		}
	}
	return h, nil
}

func parseDays(text string) (days [7]bool, err error) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		a, b := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if a < 0 || b < 0 {
			return days, fmt.Errorf("days %q: want names such as mon or mon-fri", part)
		}
		for i := a; ; i = (i + 1) % 7 {
			days[i] = true
			if i == b {
				break
			}
		}
	}
	return days, nil
}

func parseMinute(text string) (int, error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("time %q: want hours and minutes, such as 08:00", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// At returns the caps of a moment. Hours that are named first count; outside
// of all hours, and for a direction that they do not name, nothing is capped.
func (s Schedule) At(now time.Time) (down, up Rate) {
	if s.zone != nil {
		now = now.In(s.zone)
	} else {
		now = now.Local()
	}
	minute := now.Hour()*60 + now.Minute()
	for _, h := range s.hours {
		if h.days[now.Weekday()] && minute >= h.from && minute < h.to {
			return h.down, h.up
		}
	}
	return Unlimited, Unlimited
}

// String implements fmt.Stringer.
func (s Schedule) String() string { return s.text }

// MarshalText implements encoding.TextMarshaler.
func (s Schedule) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Schedule) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSchedule(string(b))
	return err
}
