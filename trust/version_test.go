package trust_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/trust"
)

func TestCompareVersions(t *testing.T) {
	ascending := []string{
		"0.9", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.2.1",
		"1.0.0-alpha.10", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-rc.1", "1.0.0", "1.0.0.1", "1.0.1", "1.2", "1.10", "2", "2026.11.23",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			got, err := trust.CompareVersions(a, b)
			require.NoError(t, err)
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			require.Equal(t, want, got, "%s %s", a, b)
		}
	}
	for _, same := range [][2]string{{"1", "1.0.0.0"}, {"v1.2", "1.2"}, {"1.0+abc", "1.0+def"}, {"1.0.0.0-rc", "1.0.0-rc"}, {"1.0.0-01", "1.0.0-1"}} {
		got, err := trust.CompareVersions(same[0], same[1])
		require.NoError(t, err)
		require.Zero(t, got, same)
	}
	for _, bad := range []string{"", "latest", "1.0/2", "-1", "1..2", "99999999999999999999", "../1"} {
		require.ErrorIs(t, trust.CheckVersion(bad), trust.ErrMalformed, bad)
		_, err := trust.CompareVersions("1.0", bad)
		require.ErrorIs(t, err, trust.ErrMalformed)
		_, err = trust.CompareVersions(bad, "1.0")
		require.ErrorIs(t, err, trust.ErrMalformed)
	}
}

// FuzzCompareVersions holds the order to the laws of one: without them "older
// than the installed one" could be walked around.
func FuzzCompareVersions(f *testing.F) {
	f.Add("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta")
	f.Add("1.0.0", "1.0.0.0-rc", "1.0-rc.1")
	f.Add("v1.2+x", "1.2-~", "1.2-0a")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, err := trust.CompareVersions(a, b)
		if err != nil {
			return
		}
		if ba, _ := trust.CompareVersions(b, a); ba != -ab {
			t.Fatalf("%q %q: %d one way, %d the other", a, b, ab, ba)
		}
		bc, err := trust.CompareVersions(b, c)
		if err != nil {
			return
		}
		if ac, _ := trust.CompareVersions(a, c); ab >= 0 && bc >= 0 && ac < max(ab, bc) {
			t.Fatalf("%q >= %q >= %q, but %d", a, b, c, ac)
		}
	})
}
