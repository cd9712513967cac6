package system

import (
	"os"
	"strconv"
)

// Power says whether the machine runs on battery, and how full its batteries
// are on average, in percent. What cannot be known is nil.
func (s *System) Power() (onBattery *bool, percent *int) {
	supplies, err := os.ReadDir(s.path("sys/class/power_supply"))
	if err != nil {
		return nil, nil
	}
	var mains, plugged, discharging bool
	sum, batteries := 0, 0
	for _, d := range supplies {
		dir := "sys/class/power_supply/" + d.Name() + "/"
		kind, _ := s.fact(dir + "type")
		switch kind {
		case "Mains", "USB":
			mains = true
			online, _ := s.fact(dir + "online")
			plugged = plugged || online == "1"
		case "Battery":
			scope, _ := s.fact(dir + "scope")
			present, known := s.fact(dir + "present")
			if scope == "Device" || (known && present == "0") {
				continue // a mouse's, or an empty bay
			}
			status, _ := s.fact(dir + "status")
			discharging = discharging || status == "Discharging"
			capacity, _ := s.fact(dir + "capacity")
			if v, err := strconv.Atoi(capacity); err == nil && v >= 0 && v <= 100 {
				sum, batteries = sum+v, batteries+1
			}
		}
	}
	if batteries == 0 {
		return new(false), nil
	}
	average := sum / batteries
	return new(!plugged && (mains || discharging)), &average
}
