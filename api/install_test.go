package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInstallIsChecked(t *testing.T) {
	var none *Install
	require.NoError(t, none.Validate())
	require.Equal(t, InstallFile, none.Kind())
	require.NoError(t, (&Install{
		Type: InstallArchive, UnpackedSize: 1, UnpackedFiles: 1, CheckWithin: Duration(time.Minute),
		Params: map[string]string{"dest_dir": "/srv"}, Checks: []HealthCheck{{CheckUnit, "getty@tty1.service"}},
	}).Validate())
	require.NoError(t, (&Install{Type: InstallModule, Module: "single-file"}).Validate())
	for name, bad := range map[string]Install{
		"unknown type":       {Type: "magic"},
		"boundless archive":  {Type: InstallArchive},
		"boundless scripts":  {Type: InstallExec, UnpackedSize: 1},
		"no module":          {Type: InstallModule},
		"module with a path": {Type: InstallModule, Module: "../../bin/sh"},
		"module of a file":   {Module: "single-file"},
		"negative":           {CheckWithin: -1},
		"too patient":        {StepTimeout: Duration(48 * time.Hour)},
		"parameter's name":   {Params: map[string]string{"a b": ""}},
		"parameter's value":  {Params: map[string]string{"a": "\x00"}},
		"check":              {Checks: []HealthCheck{{CheckTCP, "nowhere"}}},
	} {
		require.Equal(t, CodeInvalid, CodeOf(bad.Validate()), name)
	}
}

func TestParseHealthCheck(t *testing.T) {
	for _, s := range []string{
		"command:test -e /run/app.ready", "http:https://localhost:8443/healthz", "tcp:[::1]:80", "unit:nginx.service",
	} {
		c, err := ParseHealthCheck(s)
		require.NoError(t, err, s)
		require.Equal(t, s, c.String())
	}
	for _, s := range []string{
		"", "command:", "ftp:x", "http:localhost", "http:file:///etc/passwd", "tcp:80", "unit:--now", "unit:a b", "command",
	} {
		_, err := ParseHealthCheck(s)
		require.Equal(t, CodeInvalid, CodeOf(err), "%q", s)
	}
}
