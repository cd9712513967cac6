// Package online signs snapshot and timestamp metadata with the key that the
// nodes hold. It owns their versions and lifetimes. It must never sign targets
// or root: who steals this key can withhold, or name what the operator has
// signed before, and nothing else.
package online
