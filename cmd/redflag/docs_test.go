package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

const repository = "../.."

// pages returns every document of the repository by its path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range []string{"docs", "examples"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(repository, dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".md") {
				var text []byte
				text, err = os.ReadFile(path)
				out[path] = string(text)
			}
			return err
		}))
	}
	for _, name := range []string{"README.md", "SECURITY.md"} {
		text, err := os.ReadFile(filepath.Join(repository, name))
		require.NoError(t, err)
		out[filepath.Join(repository, name)] = string(text)
	}
	require.Greater(t, len(out), 10)
	return out
}

// codeLines returns the lines of fenced and of indented blocks, where a line
// that goes on is one with the next.
func codeLines(text string) (lines []string) {
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, " ")
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if fenced || strings.HasPrefix(line, "    ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// words splits a line as a shell does, as far as documents need it: each of the
// line's commands is a list of words, and what stands in $(…) is one as well.
func words(line string) (commands [][]string) {
	var now []string
	var word strings.Builder
	open, quote := false, rune(0)
	endWord := func() {
		if open {
			now = append(now, word.String())
		}
		word.Reset()
		open = false
	}
	endCommand := func() {
		endWord()
		if len(now) > 0 {
			commands = append(commands, now)
		}
		now = nil
	}
	for i, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'', quote == '"' && !strings.HasPrefix(line[i:], "$(redflag") && (c != '(' || !strings.HasPrefix(line[i:], "(redflag")):
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, open = c, true
		case c == '#' && !open:
			endCommand()
			return commands
		case strings.ContainsRune("|&;()<>", c):
			if (c == '<' || c == '>') && regexp.MustCompile(`^\d$`).MatchString(word.String()) {
				word.Reset() // the number of what is redirected
				open = false
			}
			if text := strings.TrimSuffix(word.String(), "$"); c == '(' {
				word.Reset()
				word.WriteString(text)
			}
			quote = 0
			endCommand()
		case c == ' ' || c == '\t':
			endWord()
		default:
			word.WriteRune(c)
			open = true
		}
	}
	endCommand()
	return commands
}

// redflagOf takes the call of redflag out of a command, and reports whether it
// is one: after a host's prompt, sudo, a variable or docker's way to it.
func redflagOf(command []string) ([]string, bool) {
	for i, w := range command {
		if w == "redflag" || w == "/redflag" || w == "bin/redflag" {
			return command[i+1:], true
		}
		if i > 6 {
			break
		}
		prefix := strings.HasSuffix(w, "$") || strings.Contains(w, "=") ||
			strings.Contains(" sudo export until while do then if exec docker compose eu1 -f packaging/compose.yaml ", " "+w+" ")
		if !prefix {
			break
		}
	}
	return nil, false
}

// parse fails for a call of a command or a flag that does not exist, and for
// arguments that the command does not take.
func parse(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if help, _ := cmd.Flags().GetBool("help"); help {
		return nil
	}
	if _, group := cmd.Annotations[isGroup]; group {
		return usageError{cobra.NoArgs(cmd, append(cmd.Flags().Args(), "?"))}
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// TestDocumentsCallWhatThereIs: every call of redflag in a block of a document
// has a command, flags and arguments of this version.
func TestDocumentsCallWhatThereIs(t *testing.T) {
	calls := 0
	for path, text := range pages(t) {
		for _, line := range codeLines(text) {
			for _, command := range words(line) {
				args, ok := redflagOf(command)
				if !ok || slices.Contains(args, "$@") {
					continue
				}
				calls++
				args = slices.DeleteFunc(args, func(arg string) bool { return arg == "…" }) // more flags
				require.NoError(t, parse(args), "%s: %s", path, line)
			}
		}
	}
	require.Greater(t, calls, 150)
	for path, text := range pages(t) { // what stands in a sentence may lack arguments, but not be something else
		for _, m := range regexp.MustCompile("`(redflag [^`]+)`").FindAllStringSubmatch(text, -1) {
			for _, command := range words(strings.Join(strings.Fields(m[1]), " ")) {
				if args, ok := redflagOf(command); ok && !slices.Contains(args, "--help") {
					args = slices.DeleteFunc(args, func(arg string) bool { return arg == "…" })
					cmd, rest, err := newRoot().Find(args)
					require.NoError(t, err, "%s: %s", path, m[1])
					if err := cmd.ParseFlags(rest); err != nil {
						require.ErrorContains(t, err, "needs an argument", "%s: %s", path, m[1])
					}
				}
			}
		}
	}
	require.Error(t, parse([]string{"rollout", "craete"}))
	require.Error(t, parse([]string{"snapshot"}))
	require.Error(t, parse([]string{"nodes", "--jsno"}))
	require.Equal(t, [][]string{{"export", "A="}, {"redflag", "token", "list"}, {"echo", "a b"}}, words(`export A=$(redflag token list) && echo "a b" # c`))
}

// TestDocumentsLinkToWhatThereIs: a link inside the repository has a target, and
// every document of docs/ is reached from the index.
func TestDocumentsLinkToWhatThereIs(t *testing.T) {
	all := pages(t)
	linked := map[string]bool{}
	for path, text := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := filepath.Join(filepath.Dir(path), m[1])
			_, err := os.Stat(target)
			require.NoError(t, err, "%s links to %s", path, m[1])
			if filepath.Base(path) == "README.md" && filepath.Base(filepath.Dir(path)) == "docs" {
				linked[target] = true
			}
		}
	}
	for path := range all {
		if index := filepath.Join(repository, "docs", "README.md"); path != index && strings.HasPrefix(path, filepath.Join(repository, "docs")+"/") {
			require.True(t, linked[path], "%s does not lead to %s", index, path)
		}
	}
}

// TestDeploymentConfigurations: the configurations of the deployment page and of
// the compose file have flags of this version.
func TestDeploymentConfigurations(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs", "operations", "deployment.md"))
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 3)
	for _, m := range blocks {
		role := "node"
		if strings.Contains(m[1], "node:") {
			role = "agent"
		}
		cmd, _, err := newRoot().Find([]string{role})
		require.NoError(t, err)
		var keys map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(m[1]), &keys))
		for key := range keys {
			require.NotNil(t, cmd.Flag(key), "%s: %s", role, key)
		}
	}

	file, err := os.ReadFile(filepath.Join(repository, "packaging", "compose.yaml"))
	require.NoError(t, err)
	var compose struct {
		Services map[string]struct{ Command []string }
	}
	require.NoError(t, yaml.Unmarshal(file, &compose))
	require.Len(t, compose.Services, 2)
	for name, service := range compose.Services {
		require.NoError(t, parse(service.Command), name)
	}
}
