package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseRate(t *testing.T) {
	for in, want := range map[string]Rate{
		"8mbit": 8e6, "1.5gbit": 15e8, "640kbit/s": 640e3, "9600bit": 9600,
		"unlimited": 0, "0": 0, " 8Mbit ": 8e6, "8mbps": 0,
	} {
		got, err := ParseRate(in)
		if in == "8mbps" { // bytes or bits? refuse to guess
			require.Error(t, err, in)
			continue
		}
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
		again, err := ParseRate(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, in := range []string{"", "mbit", "-1mbit", "NaNmbit", "8", "8mb", "1e300gbit"} {
		_, err := ParseRate(in)
		require.Error(t, err, in)
	}
}

func TestSelector(t *testing.T) {
	kiosk := &Agent{ID: "a1", Region: "eu-west", Labels: map[string]string{"role": "kiosk"}}
	for _, tc := range []struct {
		terms []string
		match bool
		bad   bool
	}{
		{terms: []string{"all"}, match: true},
		{terms: []string{"region:eu-west,us-east"}, match: true},
		{terms: []string{"region:us-east"}},
		{terms: []string{"label:role=kiosk", "region:eu-west"}, match: true},
		{terms: []string{"label:role=kiosk", "region:us-east"}},
		{terms: []string{"agent:a1"}, match: true},
		{terms: nil, bad: true},
		{terms: []string{"everything"}, bad: true},
		{terms: []string{"label:role"}, bad: true},
		{terms: []string{"region:"}, bad: true},
		{terms: []string{"agent:../x"}, bad: true},
	} {
		s, err := ParseSelector(tc.terms...)
		if tc.bad {
			require.Equal(t, CodeInvalid, CodeOf(err), tc.terms)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, tc.match, s.Matches(kiosk), tc.terms)
	}
	require.False(t, Selector{}.Matches(kiosk), "an empty selector hits nobody")
}

func TestSettings(t *testing.T) {
	for _, s := range SettingSpecs {
		require.NoError(t, CheckSetting(s.Key, s.Default), s.Key)
	}
	require.Error(t, CheckSetting("poll.idle", "1ms"))
	require.Error(t, CheckSetting("poll.idle", "yes"))
	require.Error(t, CheckSetting("nonsense", "1"))
	s := Settings{Values: map[SettingKey]string{SettingPollIdle: "30s"}}
	require.Equal(t, 30*time.Second, s.Duration(SettingPollIdle))
	require.Equal(t, 5*time.Second, s.Duration(SettingPollPending))
}

func TestTraceparent(t *testing.T) {
	h := http.Header{}
	ctx := WithCorrelation(t.Context(), "not an id")
	require.True(t, ValidCorrelationID(Correlation(ctx)))
	SetTraceparent(ctx, h)
	require.Equal(t, Correlation(ctx), CorrelationFromHeader(h))
	h.Set(HeaderTraceparent, "00-zz")
	require.Empty(t, CorrelationFromHeader(h))
}

func TestCommandID(t *testing.T) {
	r, a, ok := SplitCommandID(CommandID("r1", "a1"))
	require.True(t, ok)
	require.Equal(t, []string{"r1", "a1"}, []string{r, a})
	_, _, ok = SplitCommandID("r1")
	require.False(t, ok)
}

func FuzzUnits(f *testing.F) {
	f.Add("8mbit")
	f.Add("512MiB")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRate(s); err == nil && r < 0 {
			t.Fatalf("rate %q is negative: %d", s, r)
		}
		if b, err := ParseBytes(s); err == nil && b < 0 {
			t.Fatalf("size %q is negative: %d", s, b)
		}
	})
}
