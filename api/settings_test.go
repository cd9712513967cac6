package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEverySettingHasAGoodDefault(t *testing.T) {
	for _, s := range SettingSpecs {
		require.NoError(t, CheckSetting(s.Key, s.Default))
		require.NotEmpty(t, s.Unit, s.Key)
		require.NotEmpty(t, s.Scope, s.Key)
		require.NotEmpty(t, s.Description, s.Key)
	}
}

func FuzzParseSettingsLayer(f *testing.F) {
	for _, s := range []string{"", "cluster", "region:eu", "label:a=b,c=d", "agent:a1", "node:n1", "label:", "region:a:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseSettingsLayer(s)
		if err != nil {
			require.Equal(t, CodeInvalid, CodeOf(err))
			return
		}
		again, err := ParseSettingsLayer(l.String())
		require.NoError(t, err)
		require.Equal(t, l.String(), again.String())
	})
}
