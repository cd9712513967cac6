// Package attack holds no code: its test runs a real agent against nodes that
// lie, and shows what becomes of each attack. It owns the table that
// docs/security.md speaks of.
package attack
