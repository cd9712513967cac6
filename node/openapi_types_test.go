package node

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The types that the dashboard is written in, and where they have another name
// in the API's document.
const dashboardTypes = "dashboard/src/api/types.ts"

var documentNames = map[string]string{
	"Page": "", "TufMetadata": "", "TufRoot": "", // generic, or a file that is signed elsewhere
	"Settings": "settingsView", "CreateRollout": "CreateRolloutRequest", "CreatedToken": "CreateTokenResponse",
	"OperatorInfo": "Operator", "Command": "CommandDetail", "LogPage": "logPage",
}

var (
	typescriptInterface = regexp.MustCompile(`(?s)export interface (\w+)[^{]*\{(.*?)\n?\}\n`)
	typescriptField     = regexp.MustCompile(`(\w+)(\??): ([^;{}]+|\{[^}]*\}(?:\[\])?)(?:;|$)`)
)

// What the pages take for granted is what the document promises: each field is
// there under that name, and what may be missing is treated as such.
func TestDashboardTypesMatchTheDocument(t *testing.T) {
	b, err := openapiDocument()
	require.NoError(t, err)
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]map[string]any
				Required   []string
			}
		}
	}
	require.NoError(t, json.Unmarshal(b, &document))
	source, err := os.ReadFile(dashboardTypes)
	require.NoError(t, err)
	checked := 0
	for _, m := range typescriptInterface.FindAllStringSubmatch(string(source), -1) {
		name, other := m[1], m[1]
		if n, renamed := documentNames[name]; renamed {
			other = n
		}
		if other == "" {
			continue
		}
		schema, ok := document.Components.Schemas[other]
		if !ok {
			t.Errorf("%s: the document has no %s", name, other)
			continue
		}
		for _, f := range typescriptField.FindAllStringSubmatch(m[2], -1) {
			field, optional, typ := f[1], f[2] == "?", strings.TrimSpace(f[3])
			property, ok := schema.Properties[field]
			if !ok {
				t.Errorf("%s.%s: the document does not have it", name, field)
				continue
			}
			if !optional && !slices.Contains(schema.Required, field) {
				t.Errorf("%s.%s may be missing: write %s?", name, field, field)
			}
			if problem := differs(property, typ); problem != "" {
				t.Errorf("%s.%s: %s is %s", name, field, typ, problem)
			}
			checked++
		}
	}
	require.Greater(t, checked, 200, "the fields were found")
}

// differs says what a TypeScript type must be for a schema, if it is not that.
func differs(schema map[string]any, typ string) string {
	kinds, _ := json.Marshal(schema["type"])
	is := func(kind string) bool { return strings.Contains(string(kinds), `"`+kind+`"`) }
	list := strings.Contains(typ, "[]")
	switch {
	case is("array") && !list:
		return "a list in the document"
	case list && !is("array"):
		return "no list in the document"
	case (is("integer") || is("number")) != (typ == "number"):
		return "another type in the document: " + string(kinds)
	case is("boolean") != (typ == "boolean"):
		return "another type in the document: " + string(kinds)
	default:
		return ""
	}
}
