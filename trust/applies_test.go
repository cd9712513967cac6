package trust_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/trusttest"
)

func TestAppliesTo(t *testing.T) {
	machine := trust.Machine{
		OS: "linux", Arch: "arm64", Installed: "2.0.0",
		Labels: map[string]string{"hardware": "gateway-1", "ring": "early"},
	}
	for what, tc := range map[string]struct {
		only *api.TargetFor
		ok   bool
	}{
		"anybody":           {nil, true},
		"no constraint":     {&api.TargetFor{}, true},
		"all of them":       {&api.TargetFor{OS: []string{"linux"}, Arch: []string{"amd64", "arm64"}, Hardware: []string{"gateway-1"}, MinInstalled: "1.9", Labels: map[string]string{"ring": "early"}}, true},
		"the same version":  {&api.TargetFor{MinInstalled: "2.0.0"}, true},
		"another system":    {&api.TargetFor{OS: []string{"windows", "darwin"}}, false},
		"another processor": {&api.TargetFor{Arch: []string{"amd64"}}, false},
		"another machine":   {&api.TargetFor{Hardware: []string{"gateway-2"}}, false},
		"another label":     {&api.TargetFor{Labels: map[string]string{"ring": "late"}}, false},
		"a missing label":   {&api.TargetFor{Labels: map[string]string{"site": "x"}}, false},
		"a newer version":   {&api.TargetFor{MinInstalled: "2.0.1"}, false},
		"one of two":        {&api.TargetFor{OS: []string{"linux"}, Arch: []string{"riscv64"}}, false},
	} {
		target := trusttest.Target("app", "3.0.0", "app", []byte("x"), infoHash, 1<<18)
		target.Custom.For = tc.only
		require.NoError(t, target.Validate(), what)
		err := target.AppliesTo(machine)
		if tc.ok {
			require.NoError(t, err, what)
			continue
		}
		require.ErrorIs(t, err, trust.ErrWrongMachine, what)
	}
	fresh := machine
	fresh.Installed = ""
	target := trusttest.Target("app", "3.0.0", "app", []byte("x"), infoHash, 1<<18)
	target.Custom.For = &api.TargetFor{MinInstalled: "2.0.1"}
	require.NoError(t, target.AppliesTo(fresh), "there is nothing to update from")
	for _, bad := range []*api.TargetFor{{OS: []string{"a b"}}, {MinInstalled: "latest"}, {Labels: map[string]string{"": "x"}}, {Arch: make([]string, 33)}} {
		target.Custom.For = bad
		require.ErrorIs(t, target.Validate(), trust.ErrMalformed)
	}
}
