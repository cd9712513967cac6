package node

import (
	"encoding"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// schemas turns Go types into JSON Schema (2020-12, as OpenAPI 3.1 wants it),
// the way encoding/json writes them. Named structs are described once.
type schemas struct{ named map[string]any }

func newSchemas() *schemas { return &schemas{named: map[string]any{}} }

var (
	typeTime = reflect.TypeFor[time.Time]()
	typeRaw  = reflect.TypeFor[json.RawMessage]()
	typeText = reflect.TypeFor[encoding.TextMarshaler]()
)

func (d *schemas) of(v any) map[string]any { return d.typ(reflect.TypeOf(v)) }

func (d *schemas) typ(t reflect.Type) map[string]any {
	switch {
	case t == typeTime:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == typeRaw || t.Kind() == reflect.Interface:
		return map[string]any{}
	case t.Implements(typeText):
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.typ(t.Elem())
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": []string{"string", "null"}, "contentEncoding": "base64"}
		}
		return map[string]any{"type": []string{"array", "null"}, "items": d.typ(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": d.typ(t.Elem())}
	case reflect.Struct:
		return d.structure(t)
	default:
		return map[string]any{"type": "integer"}
	}
}

// instance takes the packages out of the name of a generic type.
var instance = regexp.MustCompile(`[^A-Za-z0-9]+`)

func (d *schemas) structure(t reflect.Type) map[string]any {
	name := t.Name()
	if base, of, generic := strings.Cut(name, "["); generic {
		name = base + "_" + of[strings.LastIndexByte(of, '.')+1:]
	}
	name = strings.Trim(instance.ReplaceAllString(name, "_"), "_")
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if _, known := d.named[name]; known {
		return ref
	}
	schema := map[string]any{"type": "object"}
	d.named[name] = schema // first, for types that hold themselves
	properties, required := map[string]any{}, []string{}
	d.fields(t, properties, &required)
	schema["properties"] = properties
	if len(required) > 0 {
		schema["required"] = required
	}
	return ref
}

func (d *schemas) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || (!f.IsExported() && !f.Anonymous):
			continue
		case f.Anonymous && name == "":
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			d.fields(inner, properties, required)
			continue
		case name == "":
			name = f.Name
		}
		schema := d.typ(f.Type)
		if f.Type.Kind() == reflect.Pointer && !strings.Contains(options, "omit") {
			schema = map[string]any{"anyOf": []any{schema, map[string]any{"type": "null"}}}
		}
		properties[name] = schema
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}
