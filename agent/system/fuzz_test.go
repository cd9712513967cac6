package system

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// checkUpdates reads what a package manager might have said: whatever comes of
// it can be sent, shown and commanded.
func checkUpdates(t *testing.T, parse func(io.Reader) ([]api.PackageUpdate, error), said string) {
	t.Helper()
	updates, _ := parse(strings.NewReader(said))
	for _, u := range updates {
		require.True(t, api.ValidPackage(u.Name))
		require.True(t, api.ValidPackageVersion(u.Candidate))
		require.NoError(t, api.KindUpdatePackage.CheckSubject(u.Name, u.Candidate))
	}
}

func FuzzParseApt(f *testing.F) {
	f.Add(aptSaid)
	f.Fuzz(func(t *testing.T, said string) { checkUpdates(t, parseApt, said) })
}

func FuzzParseDnf(f *testing.F) {
	f.Add(dnfSaid)
	f.Fuzz(func(t *testing.T, said string) { checkUpdates(t, parseDnf, said) })
}

func FuzzParseRelease(f *testing.F) {
	f.Add("ID=debian\nPRETTY_NAME=\"Debian \\\"12\\\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, v := range parseRelease(text) {
			require.True(t, utf8.ValidString(clip(v)))
			require.LessOrEqual(t, len(clip(v)), maxText)
		}
	})
}
