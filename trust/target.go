package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
)

// The range of a target's fields.
const (
	maxTargetLength = 1 << 40  // bytes, the largest payload.max_size
	minPieceLength  = 16 << 10 // bytes, one block of BEP 3
	maxPieceLength  = 64 << 20
)

// Target is a payload that the operator has signed.
type Target struct {
	Path   string // api.TargetPath of Custom.Name and Custom.Version
	Length int64  // bytes, at least 1
	SHA256 string // of the whole payload, lower-case hex
	Custom api.TargetCustom
}

// Equal reports whether t and o were signed over the same content.
func (t Target) Equal(o Target) bool { return reflect.DeepEqual(t, o) }

// Validate returns an ErrMalformed error for a target that must be neither
// signed nor installed.
func (t *Target) Validate() error {
	c := &t.Custom
	switch {
	case !api.ValidID(c.Name):
		return t.malformed("name %.160q is not valid", c.Name)
	case !api.ValidID(c.Version):
		return t.malformed("version %.160q is not valid", c.Version)
	case t.Path != pathOf(c):
		return t.malformed("it describes %s", pathOf(c))
	case !api.ValidID(c.FileName):
		return t.malformed("file name %.160q is not a plain name", c.FileName)
	case !isHex(c.InfoHash, 20):
		return t.malformed("info hash is not 40 lower-case hex digits")
	case !isHex(t.SHA256, sha256.Size):
		return t.malformed("SHA-256 is not 64 lower-case hex digits")
	case t.Length < 1 || t.Length > maxTargetLength:
		return t.malformed("a length of %d bytes is out of range", t.Length)
	case c.PieceLength < minPieceLength || c.PieceLength > maxPieceLength || c.PieceLength&(c.PieceLength-1) != 0:
		return t.malformed("a piece length of %d bytes is not a power of two from 16 KiB to 64 MiB", c.PieceLength)
	}
	if err := c.Install.Validate(); err != nil {
		return t.malformed("install: %v", err)
	}
	if wrong := checkFor(c.For); wrong != "" {
		return t.malformed("%s", wrong)
	}
	if wrong := checkCoding(c.Coding); wrong != "" {
		return t.malformed("%s", wrong)
	}
	return CheckVersion(c.Version)
}

func (t *Target) malformed(format string, args ...any) error {
	return fmt.Errorf("target %.300q: %w: %s", t.Path, ErrMalformed, fmt.Sprintf(format, args...))
}

// targetOf reads what TUF says of a path. go-tuf leaves the custom field to us.
func targetOf(path string, file *metadata.TargetFiles) (Target, error) {
	t := Target{Path: path, Length: file.Length, SHA256: hex.EncodeToString(file.Hashes["sha256"])}
	if file.Custom == nil {
		return Target{}, t.malformed("it has no custom field")
	}
	if err := json.Unmarshal(*file.Custom, &t.Custom); err != nil {
		return Target{}, t.malformed("custom field: %v", err)
	}
	if err := t.Validate(); err != nil {
		return Target{}, err
	}
	return t, nil
}

// isHex reports whether s is n bytes in lower-case hex.
func isHex(s string, n int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == n && hex.EncodeToString(b) == s
}
