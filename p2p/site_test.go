package p2p

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSiteOf(t *testing.T) {
	for addr, want := range map[string]string{
		"10.1.2.3:7000":          "10.1.2.0/24",
		"[::ffff:10.1.2.9]:7000": "10.1.2.0/24",
		"[2001:db8:1:2::7]:7000": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:7000":    "fe80::/64",
		"127.0.0.1:7000":         "",
		"[::1]:7000":             "",
		"agent.example:7000":     "",
	} {
		require.Equal(t, want, SiteOf(addr), addr)
	}
}
