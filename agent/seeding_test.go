package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestSeedingPolicy(t *testing.T) {
	const length = 1000
	cases := map[string]struct {
		settings map[api.SettingKey]string
		given    int64
		age      time.Duration
		metered  bool
		want     bool
	}{
		"as it comes":              {given: 1 << 40, age: 1000 * time.Hour, want: true},
		"a metered link":           {metered: true, want: false},
		"a metered link, allowed":  {settings: map[api.SettingKey]string{api.SettingSeedMetered: "true"}, metered: true, want: true},
		"below the ratio":          {settings: map[api.SettingKey]string{api.SettingSeedRatio: "150"}, given: 1499, want: true},
		"at the ratio":             {settings: map[api.SettingKey]string{api.SettingSeedRatio: "150"}, given: 1500, want: false},
		"in time":                  {settings: map[api.SettingKey]string{api.SettingSeedTime: "1h"}, age: time.Hour - 1, want: true},
		"too late":                 {settings: map[api.SettingKey]string{api.SettingSeedTime: "1h"}, age: time.Hour, want: false},
		"allowed, but too late":    {settings: map[api.SettingKey]string{api.SettingSeedTime: "1h", api.SettingSeedMetered: "true"}, age: time.Hour, metered: true},
		"the quota does not count": {settings: map[api.SettingKey]string{api.SettingSeedQuota: "1B"}, want: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := &Config{}
			cfg.setDefaults()
			l := newLimits(cfg)
			l.apply(api.AgentSettings{Values: c.settings})
			require.Equal(t, c.want, l.seeding().gives(c.given, length, c.age, c.metered))
		})
	}
}
