package api

import (
	"fmt"
	"strings"
	"time"
)

// Schedule is caps by the hour of the week. It reads and writes as text, such
// as
//
//	mon-fri 08:00-18:00 Europe/Berlin down=2mbit up=1mbit; daily 00:00-24:00 down=8mbit
//
// The zero value has no hours.
type Schedule struct {
	hours []hours
	text  string
}

// hours is one part of a schedule.
type hours struct {
	window   Window
	down, up Rate
}

// ParseSchedule reads what Schedule writes.
func ParseSchedule(text string) (Schedule, error) {
	s := Schedule{text: strings.TrimSpace(text)}
	if s.text == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(s.text, ";") {
		h, err := parseHours(part)
		if err != nil {
			return Schedule{}, err
		}
		if s.hours = append(s.hours, h); len(s.hours) > MaxWindows {
			return Schedule{}, fmt.Errorf("a schedule has at most %d parts", MaxWindows)
		}
	}
	return s, nil
}

func parseHours(part string) (h hours, err error) {
	var window []string
	capped := false
	for f := range strings.FieldsSeq(part) {
		key, value, named := strings.Cut(f, "=")
		if !named {
			window = append(window, f)
			continue
		}
		rate, err := ParseRate(value)
		if err != nil {
			return h, err
		}
		switch key {
		case "down":
			h.down = rate
		case "up":
			h.up = rate
		default:
			return h, fmt.Errorf("%.100q: want down=RATE or up=RATE", f)
		}
		capped = true
	}
	if !capped {
		return h, fmt.Errorf("%.100q names no rate: add down=RATE or up=RATE", part)
	}
	h.window, err = ParseWindow(strings.Join(window, " "))
	return h, err
}

// At returns the caps of a moment. Hours that are named first count; outside
// of all hours, and for a direction that they do not name, nothing is capped.
func (s Schedule) At(now time.Time) (down, up Rate) {
	for _, h := range s.hours {
		if h.window.Open(now) {
			return h.down, h.up
		}
	}
	return Unlimited, Unlimited
}

// String implements fmt.Stringer.
func (s Schedule) String() string { return s.text }
