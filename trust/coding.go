package trust

import (
	"crypto/sha256"
	"fmt"

	"redflag/api"
)

// Content returns the length and the SHA-256 of the payload that is installed:
// of the target itself, unless it is packed or a delta.
func (t *Target) Content() (length int64, sha256Hex string) {
	if c := t.Custom.Coding; c != nil {
		return c.Length, c.SHA256
	}
	return t.Length, t.SHA256
}

// DeltaOf reports whether t is a delta that leads to the very payload that to
// names, from the one with the SHA-256 from. Both are signed, so this is no
// question of belief, but two signatures may be of different days.
func (t *Target) DeltaOf(to *Target, from string) bool {
	c := t.Custom.Coding
	length, sum := to.Content()
	return c != nil && c.Method == api.CodingDelta && c.From.SHA256 == from &&
		c.Length == length && c.SHA256 == sum &&
		t.Custom.Name == to.Custom.Name && t.Custom.Version == to.Custom.Version
}

// pathOf is where a target with this custom field must lie.
func pathOf(c *api.TargetCustom) string {
	if c.Coding != nil && c.Coding.From != nil {
		return api.DeltaPath(c.Name, c.Version, c.Coding.From.SHA256)
	}
	return api.TargetPath(c.Name, c.Version)
}

// checkCoding says what is wrong with a coding.
func checkCoding(c *api.Coding) string {
	switch {
	case c == nil:
		return ""
	case c.Length < 1 || c.Length > maxTargetLength:
		return fmt.Sprintf("coding: a length of %d bytes is out of range", c.Length)
	case !isHex(c.SHA256, sha256.Size):
		return "coding: SHA-256 is not 64 lower-case hex digits"
	}
	switch {
	case c.Method == api.CodingZstd && c.From == nil:
		return ""
	case c.Method == api.CodingDelta && c.From != nil:
		return checkFrom(c.From)
	default:
		return fmt.Sprintf("coding: this version does not know %.40q; update the agent first", c.Method)
	}
}

func checkFrom(f *api.CodingFrom) string {
	switch {
	case !api.ValidID(f.Version) || CheckVersion(f.Version) != nil:
		return fmt.Sprintf("coding: it is from no version: %.160q", f.Version)
	case f.Length < 1 || f.Length > maxTargetLength:
		return fmt.Sprintf("coding: it is from %d bytes", f.Length)
	case !isHex(f.SHA256, sha256.Size):
		return "coding: it is from no SHA-256"
	}
	return ""
}
