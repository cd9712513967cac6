package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExamplesRunAsTheyStand starts every configuration of examples/, with
// nothing changed but the folder of its data.
func TestExamplesRunAsTheyStand(t *testing.T) {
	m := newMesh(t)
	examples, err := filepath.Abs("../examples")
	require.NoError(t, err)
	run := func(dir, role, file string, args ...string) *proc {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		p := m.start(dir, append([]string{role, "--config", filepath.Join(examples, file), "--data-dir", m.path(dir)}, args...)...)
		if role == "node" {
			m.eventually(name+" runs", func() bool { return readJSON(m.path(dir, "runtime.json"), &p.runtime) == nil })
		}
		return p
	}
	run("n1", "node", "three-regions/eu-west.yaml") // the harness looks for the credential there
	token := m.run("token", "create", "--kind", "node", "--seats", "2")
	run("n2", "node", "three-regions/us-east.yaml", "--token", token)
	run("n3", "node", "three-regions/ap-south.yaml", "--token", token)
	m.run("keys", "init")
	run("kiosk", "agent", "three-regions/agent.yaml", "--token", m.run("token", "create"))
	van := run("van", "agent", "capped-agent/agent.yaml", "--token", m.run("token", "create"))
	m.eventually("both agents poll", func() bool {
		out := m.run("agents")
		return strings.Contains(out, "role=kiosk") && strings.Contains(out, "link=metered") && strings.Count(out, " idle ") == 2
	})
	require.Contains(t, m.log("van"), `"download_limit":"2mbit"`)
	m.run("settings", "set", "agent.download_limit=1mbit", "agent.upload_limit=1mbit", "poll.idle=1s")
	van.kill()
	van.start() // its first poll brings the settings
	m.eventually("the stricter of two caps holds", func() bool {
		return strings.Contains(m.log("van"), `"download_limit":"1mbit"`) && !strings.Contains(m.log("van"), `"upload_limit":"1mbit"`)
	})
}

// TestConfigLayers: a flag wins over the environment, the environment over the
// file, and a key that is no flag is refused.
func TestConfigLayers(t *testing.T) {
	m := newMesh(t)
	file := m.path("config.yaml")
	write := func(s string) { require.NoError(t, os.WriteFile(file, []byte(s), 0o600)) }
	write("json: true\n")
	require.Contains(t, m.run("version", "--config", file), `"version"`)
	t.Setenv("REDFLAG_JSON", "false")
	require.NotContains(t, m.run("version", "--config", file), `"version"`)
	require.Contains(t, m.run("version", "--config", file, "--json"), `"version"`)

	write("jsno: true\n")
	_, errOut, err := m.try("version", "--config", file)
	require.ErrorContains(t, err, "exit status 2")
	require.Contains(t, errOut, "jsno")
	write("json: [\n")
	_, _, err = m.try("version", "--config", file)
	require.ErrorContains(t, err, "exit status 2")
}

// TestHelpTeaches: every command has an example.
func TestHelpTeaches(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	var walk func(path ...string)
	seen := 0
	walk = func(path ...string) {
		out := m.run(append(path, "--help")...)
		if len(path) > 0 {
			require.Contains(t, out, "Examples:", path)
			seen++
		}
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); strings.HasPrefix(line, "  ") && len(f) > 1 && !strings.HasPrefix(f[0], "-") &&
				f[0] != "redflag" && f[0] != "help" && f[0] != "completion" && strings.HasPrefix(line, "  "+f[0]+" ") && isCommand(out, f[0]) {
				walk(append(append([]string{}, path...), f[0])...)
			}
		}
	}
	walk()
	require.Greater(t, seen, 20)
}

// isCommand reports whether name stands in a list of commands in help.
func isCommand(help, name string) bool {
	for _, title := range []string{"Run:", "Steer:", "Trust:", "Available Commands:", "Additional Commands:"} {
		if _, list, ok := strings.Cut(help, "\n"+title+"\n"); ok {
			list, _, _ = strings.Cut(list, "\n\n")
			if strings.Contains("\n"+list, "\n  "+name+" ") {
				return true
			}
		}
	}
	return false
}
